package main

import (
	"context"
	"fmt"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// changes measures what a client needs to get one changed file of a large repository, all of which is watched. gitrota
// also looks up the commit that brought it, as the agent does.
func changes(ctx context.Context, w *world) ([]section, error) {
	repo := w.largeRepo()
	chain := w.chain(repo, w.runs+1)
	clients, err := w.three(repo)
	if err != nil {
		return nil, err
	}
	defer clients.close()
	w.progress("following %d changes of one file", w.runs)
	for _, c := range clients {
		if _, err := c.do(ctx, step{Do: doRead, Dirs: []string{watched, statuses}}); err != nil {
			return nil, err
		}
	}
	var costs [3][]cost
	for run, hash := range chain {
		repo.Point(hash)
		for i, c := range clients {
			r, err := w.followed(ctx, c, hash)
			if err != nil {
				return nil, err
			}
			if run > 0 { // the first one may have to make a connection
				costs[i] = append(costs[i], r.Cost)
			}
		}
	}
	of := [3]cost{middle(costs[0]), middle(costs[1]), middle(costs[2])}
	return []section{{title: fmt.Sprintf("one file changes, of %s", thousands(w.folders*w.perFolder)), rows: []row{
		costRow("requests", asCount, of, requests),
		costRow("bytes in and out", asBytes, of, onWire).atMost(8<<10, "8 KB at most"),
		costRow("time", asTime, of, elapsed),
		costRow("CPU", asTime, of, cpu),
	}}}, nil
}

// followed lets a client take over a change, and makes sure that it has it.
func (w *world) followed(ctx context.Context, c client, hash string) (result, error) {
	r, err := w.do(ctx, c, step{Do: doUpdate})
	if err == nil && r.Tip != hash {
		err = fmt.Errorf("the branch is at %s, and a client found %s", hash, r.Tip)
	}
	return r, err
}

// chain makes commits that change one file each, and leaves the branch where it was.
func (w *world) chain(repo *gittest.Repo, length int) []string {
	base := repo.Head()
	var commits []gittest.Batch
	for i := range length {
		folder, number := i%w.folders, i/w.folders%w.perFolder
		w.changed++
		commits = append(commits, gittest.Batch{
			Message: fmt.Sprintf("change the password of %s", secretPath(folder, number)),
			Files:   map[string]string{secretPath(folder, number): secret(folder, number, w.changed)},
		})
	}
	hashes := repo.Import(commits...)
	repo.Repack()
	repo.Point(base)
	return hashes
}
