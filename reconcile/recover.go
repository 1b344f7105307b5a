package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/gitrota/gitrota/reconcile/fault"
)

// maxReads bounds how many keepers are read at once.
const maxReads = 16

// keeperOf names the auth Secret that a keeper belongs to.
type keeperOf struct{ namespace, authSecret string }

// Recover reads the journals that this process has not read yet, and takes over what they hold and Git does not: what has
// ended is on its way to Git again, also if its request is gone from there, and what was cut off goes on with the next
// Advance. Before that nothing should begin and Git is told nothing, for a request that has ended or was cut off is not to
// be skipped as an older one, or as withdrawn. It works without Git, for the databases that the cluster knows; those that
// only Git tells of come with the Poll that reads them. When there is nothing new it costs nothing. The error is
// [ErrAPIUnavailable] or [ErrForbidden], and it is to be called again.
//
// No right to list Secrets is needed for this: a MSSQLServer and a SQLServer document name their auth Secret, and each
// keeper is read by its name. One case is beyond that: a SQLServer document that is gone from Git together with a
// request that Git never got to know as accepted. Its journal waits for the document to come back.
func (c *Controller) Recover(ctx context.Context) error {
	if c.keepers == nil {
		targets, err := c.Engine.Cluster.Targets(ctx)
		if err != nil {
			return err
		}
		c.keepers = map[keeperOf]bool{}
		for _, t := range targets {
			c.keepers[keeperOf{t.Namespace, t.AuthSecret.Name}] = false
		}
	}
	c.addServers()
	var unread []keeperOf
	for place, read := range c.keepers {
		if !read {
			unread = append(unread, place)
		}
	}
	if len(unread) == 0 {
		c.recovered = true
		return nil
	}
	ended, cutOff, err := c.readJournals(ctx, unread)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takeEnded(ended)
	c.takeCutOff(cutOff)
	c.recovered = c.recovered || err == nil
	return err
}

// addServers names the keepers of the servers that only Git tells of: in documents, and in statuses of requests for
// them.
func (c *Controller) addServers() {
	add := func(namespace, authSecret string) {
		place := keeperOf{namespace, authSecret}
		if _, known := c.keepers[place]; !known {
			c.keepers[place] = false
		}
	}
	for _, server := range c.set.Servers {
		if len(server.Problems) == 0 {
			add(server.Namespace, server.Spec.AuthSecret.Name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.inGit {
		if s.Request.Server != nil {
			add(s.Request.Namespace, s.Request.Server.AuthSecret.Name)
		}
	}
}

// readJournals reads the keepers of these places, and notes of which ones it has. One that may not be read, or not be
// understood, is passed over: the next rotation of its database will say so.
func (c *Controller) readJournals(ctx context.Context, places []keeperOf) (ended []Ended, cutOff []Status, err error) {
	var mu sync.Mutex
	var reads errgroup.Group
	reads.SetLimit(maxReads)
	for _, place := range places {
		reads.Go(func() error {
			entries, staged, err := c.Engine.Journal(ctx, place.namespace, place.authSecret)
			if errors.Is(err, ErrAPIUnavailable) || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, ErrForbidden) && !c.refused.lasts(err, c.Engine.Clock.Now(), refusalPatience) {
				return err // the API server may have just started
			}
			c.keepers[place] = true
			if err != nil {
				c.Log.Warn("a journal could not be read", "keeper", place.namespace+"/"+place.authSecret+KeeperSuffix, "reason", fault.As(err).Reason, "error", err)
				return nil
			}
			ended = append(ended, entries...)
			if staged != nil {
				cutOff = append(cutOff, *staged)
			}
			return nil
		})
	}
	err = reads.Wait()
	slices.SortStableFunc(ended, func(a, b Ended) int { return a.At.Compare(b.At) })
	return ended, cutOff, err
}

// takeEnded takes over the entries that say more than what is known. The caller holds the lock.
func (c *Controller) takeEnded(ended []Ended) {
	for _, e := range ended {
		key := e.Status.Request.Key()
		e.Status = upheld(c.inGit[key], e.Status)
		known := c.statuses[key]
		later := known.Request.ID != e.Status.Request.ID && known.Phase.Finished() && known.ended().After(e.Status.ended())
		if covers(known, e.Status) || later {
			continue
		}
		if known.Request.ID == e.Status.Request.ID {
			e.Status = upheld(known, e.Status)
		}
		c.statuses[key] = e.Status
		c.dirty[key] = unsaved{since: e.At, ended: e.At}
		c.Log.Info("Git does not have the end of a request", "request", key, "phase", e.Status.Phase)
		c.wake()
	}
}

// takeCutOff takes over requests that were cut off and of which Git does not tell that they had begun: none of them is
// to be skipped for a newer one. The caller holds the lock.
func (c *Controller) takeCutOff(cutOff []Status) {
	for _, s := range cutOff {
		key := s.Request.Key()
		if git := c.inGit[key]; c.statuses[key].Phase == PhaseProgressing || git.Phase.Finished() && git.Request.ID == s.Request.ID {
			continue
		}
		s.Phase = PhaseProgressing
		c.statuses[key] = s
		delete(c.dirty, key)
		c.soil(key, c.Engine.Clock.Now())
	}
}

// ReleasePaused finds the databases that an earlier run left paused and for which no request runs, and resumes them. It
// is called once, after Recover and the Advance that follows it.
func (c *Controller) ReleasePaused(ctx context.Context) error {
	targets, err := c.Engine.Cluster.Targets(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, target := range targets {
		if !c.Engine.hasPaused(target) {
			continue
		}
		c.occupy(target.Namespace+"/"+target.Name, func() {
			if err := c.Engine.Release(ctx, target, c.report); err != nil && ctx.Err() == nil {
				c.Log.Error("a rotation that was cut off could not be brought to its end", "database", target.String(), "error", err)
			}
		})
	}
	return nil
}
