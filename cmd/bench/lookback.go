package main

import (
	"context"
	"fmt"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// oldRequest is a file that landed long ago.
const oldRequest = watched + "/old.yaml"

// lookBacks measures what it costs to begin with nothing and to find the commit that brought a file, many commits and
// many other files ago, as the agent does for a request that has not ended. go-git and git clone the branch for that.
func lookBacks(ctx context.Context, w *world) ([]section, error) {
	files := w.folders * w.perFolder / 2
	w.progress("making a repository of %d files and %d commits", files, w.history)
	repo := w.server.NewRepo("old")
	landed := repo.Import(w.longHistory(files)...)[0]
	repo.Repack()
	clients, err := w.three(repo)
	if err != nil {
		return nil, err
	}
	defer clients.close()
	var costs [3]cost
	for i, c := range clients {
		w.progress("looking back by %s", columns[i])
		r, err := w.do(ctx, c, step{Do: doTrace, Dirs: []string{watched, statuses}})
		if err == nil && r.Tip != landed {
			err = fmt.Errorf("%s was brought by %s, and %s says by %s", oldRequest, landed, columns[i], r.Tip)
		}
		if err != nil {
			return nil, err
		}
		costs[i] = r.Cost
	}
	title := fmt.Sprintf("who brought a file, %s commits ago, beside %s files", thousands(w.history), thousands(files))
	return []section{{title: title, rows: []row{
		costRow("time", asTime, costs, elapsed),
		costRow("CPU", asTime, costs, cpu),
		costRow("bytes in", asBytes, costs, bytesIn),
		costRow("memory, peak", asBytes, costs, peak).atMost(mostMemory, "64 MB at most"),
	}, notes: []string{"go-git and git: a bare clone with all of its history, then one commit after the other, or the log of the file"}}}, nil
}

// longHistory is a first commit with everything in it, and others that change one of the other files each.
func (w *world) longHistory(files int) []gittest.Batch {
	name := func(i int) string {
		return fmt.Sprintf("src/component-%02d/package-%02d/file-%04d.go", i%w.folders, i/w.folders%10, i)
	}
	first := gittest.Batch{Message: "begin", Files: map[string]string{oldRequest: "kind: MSSQLServerOpsRequest\n"}}
	for i := range files {
		first.Files[name(i)] = fmt.Sprintf("package p\n\nconst n = %d\n", i)
	}
	for i := range 60 { // what lies at the top of a repository of that size
		first.Files[fmt.Sprintf("%02d.md", i)] = fmt.Sprintf("# %d\n", i)
	}
	commits := []gittest.Batch{first}
	for i := range w.history {
		commits = append(commits, gittest.Batch{
			Message: fmt.Sprintf("change %d\n\nfor a reason that takes a line or two, as they do in repositories that people work on together", i),
			Files:   map[string]string{name(i * 7919 % files): fmt.Sprintf("package p\n\nconst n = %d\n\nconst changed = %d\n", i, i)},
		})
	}
	return commits
}
