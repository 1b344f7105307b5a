package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// longRun is a client that follows many changes.
type longRun struct {
	client
	column int
	most   int // changes
	done   int
	before int64 // memory at rest, when it had settled
}

// growth follows a large repository over many changes of one file, and looks at what piles up. The clients follow side
// by side, for no row tells how long that takes.
func growth(ctx context.Context, w *world) ([]section, error) {
	repo := w.largeRepo()
	chain := w.chain(repo, w.changes)
	clients, err := w.three(repo)
	if err != nil {
		return nil, err
	}
	defer clients.close()
	var runs []*longRun
	for i, c := range clients {
		if _, err := c.do(ctx, step{Do: doRead, Dirs: []string{watched, statuses}}); err != nil {
			return nil, err
		}
		run := &longRun{client: c, column: i, most: w.changes}
		if i == ofGoGit {
			run.most = w.slow
		}
		runs = append(runs, run)
	}
	begun := time.Now()
	for i, hash := range chain {
		took := time.Since(begun)
		if took > w.following {
			break
		}
		if i%50 == 0 {
			w.progress("followed %d of %s changes in %s", i, thousands(w.changes), took.Round(time.Second))
		}
		repo.Point(hash)
		var all errgroup.Group
		for _, run := range runs {
			all.Go(func() error { return w.follow(ctx, run, hash) })
		}
		if err := all.Wait(); err != nil {
			return nil, err
		}
	}
	return w.grown(ctx, runs, w.url(repo))
}

// follow takes over a change, unless the client has had its share of them.
func (w *world) follow(ctx context.Context, run *longRun, hash string) error {
	if run.done == run.most {
		return nil
	}
	if _, err := w.followed(ctx, run.client, hash); err != nil {
		return err
	}
	run.done++
	if run.column == ofGit || run.done != w.settled {
		return nil
	}
	rest, err := run.do(ctx, step{Do: doRest})
	run.before = rest.Cost.Memory
	return err
}

// grown looks at what the clients hold in the end. What gitrota holds says nothing before it has followed every change.
func (w *world) grown(ctx context.Context, runs []*longRun, url string) ([]section, error) {
	followed := row{name: "changes followed", unit: asCount}
	memory := row{name: "memory, idle", unit: asBytes}
	more := row{name: "memory, growth", unit: asBytes}
	peaks := row{name: "memory, peak", unit: asBytes}
	disk := row{name: "disk", unit: asBytes}
	s := section{title: fmt.Sprintf("after %s changes of one file", thousands(w.changes))}
	for i, run := range runs {
		kept, err := onDisk(run.folder())
		if err != nil {
			return nil, err
		}
		followed.values[i], disk.values[i] = float64(run.done), float64(kept)
		if run.done < w.changes {
			s.notes = append(s.notes, fmt.Sprintf("%s after %d changes only: more take too long", columns[i], run.done))
		}
		if i != ofGit && run.before == 0 {
			return nil, fmt.Errorf("%s has followed %d changes in %s, which is too few to see it grow", columns[i], run.done, w.following)
		}
		if i == ofGit { // which is not there between two fetches
			memory.values[i], more.values[i], peaks.values[i] = notMeasured, notMeasured, notMeasured
			continue
		}
		rest, err := run.do(ctx, step{Do: doRest})
		if err != nil {
			return nil, err
		}
		memory.values[i], peaks.values[i] = float64(rest.Cost.Memory), float64(rest.Cost.Peak)
		more.values[i] = float64(rest.Cost.Memory - run.before)
	}
	fresh, err := w.freshClone(ctx, url)
	if err != nil {
		return nil, err
	}
	s.notes = append(s.notes, "a fresh clone of depth 1 takes "+asBytes(fresh)+" of disk")
	all := runs[ofGitrota].done == w.changes
	s.rows = []row{
		followed.noCost().atLeast(float64(w.changes), "all"),
		memory,
		more.atMost(10<<20, "10 MB at most").provided(all),
		peaks,
		disk.atMost(2*fresh, "twice a fresh clone's").provided(all),
	}
	return []section{s}, nil
}

// freshClone is how much disk git needs for the tip.
func (w *world) freshClone(ctx context.Context, url string) (float64, error) {
	dir, err := w.folder("fresh")
	if err != nil {
		return 0, err
	}
	g := &gitBinary{url: url, dir: dir}
	if _, err := g.do(ctx, step{Do: doRead}); err != nil {
		return 0, err
	}
	size, err := onDisk(dir)
	return float64(size), err
}
