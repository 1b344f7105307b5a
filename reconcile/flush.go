package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
)

// acceptDelay is how long a request that was just taken up may take before Git is told so: a quick rotation is one
// commit, a slow one can be watched.
const acceptDelay = time.Second

// FlushDue returns when [Controller.Flush] should be called, and whether it should be at all. What has ended or has to
// wait is due at once; progress in between is due once in an interval.
func (c *Controller) FlushDue(interval time.Duration) (time.Time, bool) {
	if c.snapshot == nil {
		return time.Time{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var due time.Time
	earlier := func(t time.Time) {
		if due.IsZero() || t.Before(due) {
			due = t
		}
	}
	for key, since := range c.dirty {
		s := c.statuses[key]
		_, inGit := c.snapshot.Get(StatusPath(c.StatusPath, s.Request))
		switch {
		case s.Phase != PhaseProgressing:
			earlier(since)
		case !inGit:
			earlier(since.Add(acceptDelay))
		default:
			earlier(c.saved.Add(interval))
		}
	}
	if change, err := commit(c.snapshot, c.StatusPath, nil, nil, c.problems()); change != nil && err == nil {
		earlier(c.Engine.Clock.Now())
	}
	return due, !due.IsZero()
}

// Flush brings the statuses that Git does not have into one commit, or none if there are none. After an error they
// are still to be written.
func (c *Controller) Flush(ctx context.Context) error {
	c.mu.Lock()
	var statuses []Status
	for _, key := range slices.Sorted(maps.Keys(c.dirty)) {
		statuses = append(statuses, c.statuses[key].clone())
	}
	all := maps.Clone(c.statuses)
	c.mu.Unlock()
	if c.snapshot == nil {
		return nil
	}
	problems := c.problems()
	if len(statuses) == 0 {
		// Only the problems may differ from what Git has; that is known without asking it.
		if change, err := commit(c.snapshot, c.StatusPath, nil, all, problems); change == nil {
			return err
		}
	}
	snapshot, err := c.Repository.Write(ctx, []string{c.Path, c.StatusPath}, func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
		change, err := commit(tip, c.StatusPath, statuses, all, problems)
		if err != nil || change == nil {
			return nil, err
		}
		for path := range change.Files {
			if !inside(path, c.StatusPath) {
				return nil, fmt.Errorf("refusing to write %s, which is not gitrota's own", path)
			}
		}
		return change, nil
	})
	if err != nil {
		return fmt.Errorf("writing %d statuses: %w", len(statuses), err)
	}
	c.mu.Lock()
	c.saved = c.Engine.Clock.Now()
	for _, s := range statuses {
		if equal(c.statuses[s.Request.Key()], s) {
			delete(c.dirty, s.Request.Key())
		}
	}
	c.mu.Unlock()
	return c.load(ctx, snapshot)
}

// problems are those that belong to no request with a status: of files, Secrets, servers and policies.
func (c *Controller) problems() []manifest.Problem {
	problems := slices.Clone(c.set.Problems)
	for _, s := range c.set.Secrets {
		problems = append(problems, s.Problems...)
	}
	for _, s := range c.set.Servers {
		problems = append(problems, s.Problems...)
	}
	for _, p := range c.set.Policies {
		problems = append(problems, p.Problems...)
	}
	return problems
}
