package reconcile

import (
	"cmp"
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
	if c.written == nil || !c.recovered {
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
	for key, u := range c.dirty {
		s := c.statuses[key]
		_, inGit := c.inGit[key]
		switch {
		case s.Phase != PhaseProgressing:
			earlier(u.since)
		case !inGit:
			earlier(u.since.Add(acceptDelay))
		default:
			earlier(c.saved.Add(interval))
		}
	}
	if change, err := commit(c.written, c.StatusPath, nil, nil, c.reports()); change != nil && err == nil {
		earlier(c.Engine.Clock.Now())
	}
	return due, !due.IsZero()
}

// Flush brings the statuses that Git does not have into one commit, or none if there are none: those of requests that
// have ended in the order in which they did, and then the others. After an error they are still to be written.
func (c *Controller) Flush(ctx context.Context) error {
	if c.written == nil || !c.recovered {
		return nil
	}
	c.mu.Lock()
	statuses, all, said := c.inOrder(), maps.Clone(c.statuses), c.reports()
	c.mu.Unlock()
	if len(statuses) == 0 {
		// Only the reports may differ from what Git has; that is known without asking it.
		if change, err := commit(c.written, c.StatusPath, nil, all, said); change == nil {
			return err
		}
	}
	dirs := []string{c.StatusPath}
	if c.oneBranch() {
		dirs = append(dirs, c.Path) // what came along is not read a second time
	}
	snapshot, err := c.Statuses.Write(ctx, dirs, func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
		change, err := commit(tip, c.StatusPath, statuses, c.uphold(tip, all), said)
		if err != nil || change == nil {
			return nil, err
		}
		for path := range change.Files {
			if !inside(path, c.StatusPath) {
				return nil, fmt.Errorf("refusing to write %s, which is not gitrota's own", path)
			}
		}
		if c.SkipCI {
			skipCI(change)
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
	if c.oneBranch() {
		return c.load(ctx, snapshot, snapshot)
	}
	return c.load(ctx, c.manifests, snapshot)
}

// uphold returns the newest statuses that are known, as far as what a snapshot says has ended leaves room for them.
func (c *Controller) uphold(written *gitsource.Snapshot, known map[string]Status) map[string]Status {
	all := maps.Clone(known)
	inGit, _ := c.readStatuses(written)
	for key, told := range inGit {
		if told.isEnd() {
			all[key] = upheld(told, all[key])
		}
	}
	return all
}

// inOrder returns the statuses that Git does not have. The caller holds the lock.
func (c *Controller) inOrder() []Status {
	keys := slices.SortedFunc(maps.Keys(c.dirty), func(a, b string) int {
		x, y := c.dirty[a].ended, c.dirty[b].ended
		if x.IsZero() != y.IsZero() {
			if x.IsZero() {
				return 1
			}
			return -1
		}
		return cmp.Or(x.Compare(y), cmp.Compare(a, b))
	})
	statuses := make([]Status, len(keys))
	for i, key := range keys {
		statuses[i] = c.statuses[key].clone()
	}
	return statuses
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
	return append(problems, c.policyProblems...)
}

// reports are what the status path is to say about no single request. The caller holds the lock.
func (c *Controller) reports() reports {
	said := reports{problems: c.problems()}
	if c.surveyed {
		said.planned = c.replan()
	}
	if c.policies != nil {
		said.policies = *c.policies
	}
	return said
}
