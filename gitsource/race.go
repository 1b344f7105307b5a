package gitsource

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// How long a writer who has lost a race waits before the next try, at first and at most, and how often it tries at
// least. Others who push all the time leave the same gap sooner or later: what counts is to be quick and to try often,
// and what is random about the wait keeps two writers from losing to each other for ever.
const (
	firstWait = 25 * time.Millisecond
	maxWait   = 500 * time.Millisecond
	minTries  = 8
)

// race is one writer's race against all others. It is bounded in time, because what others leave room for is; slow
// servers get a number of tries.
type race struct {
	repository *Repository
	began      time.Time
	tries      int
	wait       time.Duration
}

func (r *Repository) newRace() *race { return &race{repository: r, began: time.Now(), wait: firstWait} }

// again waits for the next try, or fails when the race was lost for good.
func (c *race) again(ctx context.Context) error {
	c.tries++
	took := time.Since(c.began)
	if c.tries >= minTries && took >= c.repository.opts.Patience {
		return &Error{Kind: ErrConflict, Detail: fmt.Sprintf("%d tries in %s", c.tries, took.Round(time.Second))}
	}
	c.repository.opts.Log.Debug("somebody else wrote first: fetching again", "repository", c.repository.String(), "try", c.tries)
	select {
	case <-time.After(rand.N(c.wait) + time.Millisecond):
		c.wait = min(2*c.wait, maxWait)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
