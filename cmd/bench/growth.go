package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// longRun is a client that follows many changes.
type longRun struct {
	client
	column int
	most   int // changes
	done   int
	left   time.Duration
	before int64 // memory at rest, when it had settled
}

// growth follows a large repository over many changes of one file, and looks at what piles up.
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
		run := &longRun{client: c, column: i, most: w.changes, left: w.following}
		switch i {
		case ofGitrota:
			run.left *= 2
		case ofGoGit:
			run.most = w.slow
		}
		runs = append(runs, run)
	}
	for i, hash := range chain {
		if i%100 == 0 {
			w.progress("following %d changes: %d", w.changes, i)
		}
		if !slices.ContainsFunc(runs, (*longRun).goesOn) {
			break
		}
		repo.Point(hash)
		for _, run := range runs {
			if err := w.follow(ctx, run, hash); err != nil {
				return nil, err
			}
		}
	}
	return w.grown(ctx, runs, w.url(repo))
}

// goesOn reports whether the client has not yet had its share of changes, or of time.
func (run *longRun) goesOn() bool { return run.done < run.most && run.left > 0 }

func (w *world) follow(ctx context.Context, run *longRun, hash string) error {
	if !run.goesOn() {
		return nil
	}
	r, err := w.followed(ctx, run.client, hash)
	if err != nil {
		return err
	}
	run.left -= r.Cost.Time
	run.done++
	if run.column == ofGit || run.done != w.settled {
		return nil
	}
	rest, err := run.do(ctx, step{Do: doRest})
	run.before = rest.Cost.Memory
	return err
}

// grown looks at what the clients hold in the end.
func (w *world) grown(ctx context.Context, runs []*longRun, url string) ([]section, error) {
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
		disk.values[i] = float64(kept)
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
	s.rows = []row{memory, more.atMost(10<<20, "10 MB at most"), peaks, disk.atMost(2*fresh, "twice a fresh clone's")}
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
