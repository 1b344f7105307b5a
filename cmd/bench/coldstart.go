package main

import (
	"context"
	"fmt"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// mostMemory is what the agent may take.
const mostMemory = 64 << 20

// coldStarts measures what it costs to begin with nothing: processes included, from their first instruction to the
// files in memory (gitrota) or the clone on disk (the others).
func coldStarts(ctx context.Context, w *world) ([]section, error) {
	repo := w.largeRepo()
	files := w.folders * w.perFolder
	w.progress("starting with nothing, %d times", w.runs)
	var costs [3][]cost
	var few []cost
	for range w.runs {
		of, err := w.started(ctx, repo)
		if err != nil {
			return nil, err
		}
		for i := range of[:3] {
			costs[i] = append(costs[i], of[i])
		}
		few = append(few, of[3])
	}
	all := [3]cost{middle(costs[0]), middle(costs[1]), middle(costs[2])}
	some := all
	some[ofGitrota] = middle(few)
	return []section{
		{title: fmt.Sprintf("cold start, all of %s files watched", thousands(files)), rows: []row{
			costRow("time", asTime, all, elapsed).atMost(2*elapsed(all[ofGit]), "twice git's at most"),
			costRow("CPU", asTime, all, cpu),
			costRow("bytes in", asBytes, all, bytesIn),
			costRow("memory, peak", asBytes, all, peak).atMost(mostMemory, "64 MB at most"),
		}},
		{title: fmt.Sprintf("cold start, %d of %s files watched", w.perFolder, thousands(files)), rows: []row{
			costRow("time", asTime, some, elapsed),
			costRow("CPU", asTime, some, cpu),
			costRow("bytes in", asBytes, some, bytesIn).atMost(bytesIn(all[ofGit])/10, "a tenth of git's"),
			costRow("memory, peak", asBytes, some, peak).atMost(mostMemory, "64 MB at most"),
		}},
	}, nil
}

// started lets each client begin once, and after them a gitrota that watches one folder.
func (w *world) started(ctx context.Context, repo *gittest.Repo) (costs [4]cost, err error) {
	clients, err := w.three(repo)
	if err != nil {
		return costs, err
	}
	defer clients.close()
	for i, c := range clients {
		r, err := w.do(ctx, c, step{Do: doRead, Dirs: []string{watched, statuses}})
		if err != nil {
			return costs, err
		}
		costs[i] = r.Cost
		if all := w.folders * w.perFolder; i == ofGitrota && r.Files != all {
			return costs, fmt.Errorf("gitrota has read %d files of %d", r.Files, all)
		}
	}
	again, err := w.three(repo)
	if err != nil {
		return costs, err
	}
	defer again.close()
	r, err := w.do(ctx, again[ofGitrota], step{Do: doRead, Dirs: []string{folderPath(w.folders / 2), statuses}})
	if err == nil && r.Files != w.perFolder {
		err = fmt.Errorf("gitrota has read %d files of %d", r.Files, w.perFolder)
	}
	costs[3] = r.Cost
	return costs, err
}
