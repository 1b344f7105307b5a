package main

import (
	"context"
	"fmt"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// polls measures what it costs to ask whether the branch has moved, when it has not, in repositories with few and many
// references. The first poll does not count: it may have to make a connection.
func polls(ctx context.Context, w *world) ([]section, error) {
	var sections []section
	for _, refs := range w.refs {
		w.progress("polling a repository of %d references", refs)
		repo := w.server.NewRepo(fmt.Sprintf("refs-%d", refs))
		repo.Import(gittest.Batch{Message: "begin", Files: secrets(1, 1)})
		names := []string{}
		for i := range refs - 1 {
			names = append(names, fmt.Sprintf("refs/heads/renovate/dependency-%05d", i))
		}
		repo.AddRefs(names...)
		costs, err := w.polled(ctx, repo)
		if err != nil {
			return sections, err
		}
		s := section{title: fmt.Sprintf("idle poll, %s references", thousands(refs)), rows: []row{
			costRow("requests", asCount, costs, requests).atMost(1, "1"),
			costRow("bytes in", asBytes, costs, bytesIn),
			costRow("bytes in and out", asBytes, costs, onWire).atMost(1<<10, "1 KB at most"),
			costRow("CPU", asTime, costs, cpu),
		}}
		if refs == w.refs[len(w.refs)-1] {
			s.notes = []string{"git: ls-remote URL refs/heads/main, which matches at the client and has the server send every reference"}
		}
		sections = append(sections, s)
	}
	return sections, nil
}

func (w *world) polled(ctx context.Context, repo *gittest.Repo) (costs [3]cost, err error) {
	clients, err := w.three(repo)
	if err != nil {
		return costs, err
	}
	defer clients.close()
	for i, c := range clients {
		if _, err := c.do(ctx, step{Do: doPoll, Times: 1}); err != nil {
			return costs, err
		}
		r, err := w.do(ctx, c, step{Do: doPoll, Times: w.polls, Limit: w.pollTime})
		if err != nil {
			return costs, err
		}
		costs[i] = r.Cost.each(r.Times)
	}
	return costs, nil
}
