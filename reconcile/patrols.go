package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/gitrota/gitrota/reconcile/fault"
)

// maxPatrols bounds how many databases are looked at at once: nobody waits for the answer.
const maxPatrols = 8

// askEvery is the time between two times that a patrol asks the servers of a database for their passwords: each costs a
// replica a login.
const askEvery = time.Hour

// Patrol looks after the auth Secrets of the databases that were rotated and are at rest; see [Engine.Patrol]. It
// returns at once, and what is found is in the statuses.
func (c *Controller) Patrol(ctx context.Context) {
	places := make(chan struct{}, maxPatrols)
	c.mu.Lock()
	defer c.mu.Unlock()
	latest := c.latestRotations()
	for _, database := range slices.Sorted(maps.Keys(latest)) {
		last := latest[database]
		server := c.set.Server(last.Request.Namespace, last.Request.Database)
		switch {
		case server != nil && len(server.Problems) == 0 && c.RequestSigners == nil:
			last.Request.Server = &server.Spec
		case last.Request.Server != nil && c.RequestSigners != nil:
			continue // nobody has signed for the place that a status or a document names by now
		}
		ask := c.Engine.Clock.Now().Sub(c.visited[database]) >= askEvery
		c.occupy(database, func() {
			places <- struct{}{}
			defer func() { <-places }()
			c.patrol(ctx, last, ask)
		})
	}
}

func (c *Controller) patrol(ctx context.Context, last Status, ask bool) {
	found, err := c.Engine.Patrol(ctx, last, ask)
	if ask { // whatever came of it: a server that is down is not asked more often
		c.mu.Lock()
		c.visited[last.Request.DatabaseKey()] = c.Engine.Clock.Now()
		c.mu.Unlock()
	}
	if err != nil {
		// A database that was removed, a server that is down: its next rotation will say so.
		if !errors.Is(err, ErrConflict) && ctx.Err() == nil {
			c.Log.Debug("an auth Secret could not be looked at", "database", last.Request.DatabaseKey(), "reason", fault.As(err).Reason, "error", err)
		}
		return
	}
	if len(found.Conditions) != len(last.Conditions) || found.Has(TypeOverwritten) != last.Has(TypeOverwritten) || found.Has(TypeDrifted) != last.Has(TypeDrifted) {
		c.report(found)
	}
}

// latestRotations returns for each database the rotation that ended last. The caller holds the lock.
func (c *Controller) latestRotations() map[string]Status {
	latest := map[string]Status{}
	for _, s := range c.statuses {
		if s.Phase != PhaseSuccessful && s.Phase != PhaseFailed || s.Request.ID == "" || len(s.Conditions) == 0 {
			continue
		}
		before, found := latest[s.Request.DatabaseKey()]
		if !found || s.ended().After(before.ended()) || s.ended().Equal(before.ended()) && s.Request.Name > before.Request.Name {
			latest[s.Request.DatabaseKey()] = s.clone()
		}
	}
	return latest
}
