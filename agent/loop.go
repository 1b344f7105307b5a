package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/reconcile"
)

// loop polls, starts and flushes until ctx ends or, with Options.Once, nothing is left.
func (a *Agent) loop(ctx context.Context) error {
	var poll, flush, release, patrol backoff
	released := false
	read := 0 // the last poll that succeeded
	for ctx.Err() == nil {
		if poll.due() {
			number := a.progress.begin()
			err := a.controller.Poll(ctx)
			a.metrics.observePoll(err)
			switch {
			case err == nil:
				read = number
				poll.after(jittered(a.options.Interval))
			case ctx.Err() != nil:
				return nil
			case !released && fatal(err):
				return err
			default:
				a.progress.failed(err)
				a.log.Error("the repository cannot be read", "error", err, "retry_in", poll.failed(err, a.options.Interval).String())
			}
		}
		a.controller.Advance(ctx)
		if !released && release.due() && a.controller.State().Revision != "" {
			// The API server may be away for a while; until it has told which databases are paused, the question stays.
			switch err := a.controller.ReleasePaused(ctx); {
			case err == nil:
				released = true
			case ctx.Err() != nil:
				return nil
			case !errors.Is(err, reconcile.ErrAPIUnavailable):
				return err
			default:
				a.log.Warn("databases that an earlier run left paused are not known yet", "error", err, "retry_in", release.failed(err, a.options.Interval).String())
			}
		}
		if released && !a.options.Once && patrol.due() {
			a.controller.Patrol(ctx)
			patrol.after(jittered(a.options.PatrolInterval))
		}
		due, dirty := a.controller.FlushDue(a.options.Interval)
		if dirty && flush.due() && !time.Now().Before(due) {
			if err := a.controller.Flush(ctx); err != nil {
				a.log.Error("statuses cannot be written", "error", err, "retry_in", flush.failed(err, a.options.Interval).String())
			} else {
				flush.after(0)
				continue // what came along with the write may have brought requests
			}
		}
		state := a.controller.State()
		a.metrics.observeState(state)
		a.progress.settle(read, state.Revision, dirty, a.controller.Problems())
		if a.options.Once && released && state.Running == 0 && state.Waiting == 0 && state.Unsaved == 0 && !dirty {
			return verdict(state)
		}
		next := poll.next
		if !released && !release.next.IsZero() {
			next = earliest(next, release.next)
		}
		if released && !a.options.Once {
			next = earliest(next, patrol.next)
		}
		if dirty {
			next = earliest(next, latest(due, flush.next))
		}
		if a.wait(ctx, next) {
			poll.hasten()
			flush.hasten()
		}
	}
	return nil
}

// wait returns at the given time, when a status has changed, when ctx ends, or when somebody hints that the repository
// has changed, which it reports.
func (a *Agent) wait(ctx context.Context, until time.Time) (hinted bool) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-a.controller.Changed():
	case <-a.hints:
		return true
	}
	return false
}

// hint lets the loop poll at once. Many hints are one.
func (a *Agent) hint() {
	select {
	case a.hints <- struct{}{}:
	default:
	}
}

// verdict says whether all that this run served has ended well.
func verdict(state reconcile.State) error {
	bad := state.Ended[reconcile.PhaseFailed] + state.Ended[reconcile.PhaseDenied]
	if bad == 0 && state.Problems == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d failed or denied, %d problems in manifests; see the status path in the repository", ErrUnsuccessful, bad, state.Problems)
}

// fatal tells what no waiting will mend and whoever starts the agent should see at once. A server that does not answer
// is waited for.
func fatal(err error) bool {
	for _, kind := range []error{gitsource.ErrBranchNotFound, gitsource.ErrRepositoryNotFound, gitsource.ErrAuth, gitsource.ErrHostKey} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
