package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/reconcile"
)

// loop polls, starts and flushes until ctx ends or, with Options.Once, nothing is left.
func (a *Agent) loop(ctx context.Context) error {
	var poll, flush, cluster, patrol backoff
	var unreadable, unwritable quiet
	recovered, released := false, false
	for ctx.Err() == nil {
		if poll.due() {
			err := a.controller.Poll(ctx)
			a.metrics.observePoll(err)
			switch {
			case err == nil:
				unreadable = quiet{}
				poll.after(jittered(a.options.Interval))
			case ctx.Err() != nil:
				return nil
			case a.controller.State().Revision == "" && fatal(err):
				return err
			default:
				wait := poll.failed(err, a.options.Interval)
				if unreadable.speaks(err) {
					a.log.Error("the repository cannot be read", "error", err, "retry_in", wait.String())
				}
			}
		}
		if cluster.due() {
			// The API server may be away for a while; until it has told what an earlier run has done, nothing begins.
			err := a.takeUp(ctx, &released)
			switch recovered = err == nil; {
			case recovered:
				cluster = backoff{}
			case ctx.Err() != nil:
				return nil
			case !errors.Is(err, reconcile.ErrAPIUnavailable):
				return err
			default:
				a.log.Warn("what an earlier run has done is not known yet", "error", err, "retry_in", cluster.failed(err, a.options.Interval).String())
			}
		}
		if released && !a.options.Once && patrol.due() {
			a.controller.Patrol(ctx)
			patrol.after(jittered(a.options.PatrolInterval))
		}
		due, dirty := a.controller.FlushDue(a.options.Interval)
		if dirty && flush.due() && !time.Now().Before(due) {
			if err := a.controller.Flush(ctx); err != nil {
				wait := flush.failed(err, a.options.Interval)
				if state := a.controller.State(); unwritable.speaks(err) {
					a.log.Warn("statuses cannot be written; the journal in the cluster keeps them", "pending", state.JournalPending,
						"oldest", state.JournalOldest, "error", err, "retry_in", wait.String())
				}
			} else {
				unwritable = quiet{}
				flush.after(0)
				continue // what came along with the write may have brought requests
			}
		}
		state := a.controller.State()
		a.metrics.observeState(state)
		if a.options.Once && recovered && state.Revision != "" && state.Running == 0 && state.Waiting == 0 && state.JournalPending == 0 && !dirty {
			return verdict(state)
		}
		next := poll.next
		if !recovered {
			next = earliest(next, cluster.next)
		}
		if released && !a.options.Once {
			next = earliest(next, patrol.next)
		}
		if dirty {
			next = earliest(next, latest(due, flush.next))
		}
		a.wait(ctx, next)
	}
	return nil
}

// takeUp finds what an earlier run has done, starts what can be started and, the first time, resumes what was left
// paused. It costs nothing when there is nothing new.
func (a *Agent) takeUp(ctx context.Context, released *bool) error {
	if err := a.controller.Recover(ctx); err != nil {
		return err
	}
	a.controller.Advance(ctx)
	if *released {
		return nil
	}
	if err := a.controller.ReleasePaused(ctx); err != nil {
		return err
	}
	*released = true
	return nil
}

// wait returns at the given time, when a status has changed, or when ctx ends.
func (a *Agent) wait(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-a.controller.Changed():
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

// backoff says when something may be done again. The zero value: now.
type backoff struct {
	next     time.Time
	failures int
}

func (b *backoff) due() bool { return !time.Now().Before(b.next) }

// after notes a success.
func (b *backoff) after(d time.Duration) { b.next, b.failures = time.Now().Add(d), 0 }

// failed notes a failure and returns the delay: doubling from half a second to the interval, which a refusal gets at
// once, or what the server asked for if that is longer.
func (b *backoff) failed(err error, interval time.Duration) time.Duration {
	delay := min(500*time.Millisecond<<min(b.failures, 16), max(interval, 500*time.Millisecond))
	var remote *gitsource.Error
	if errors.As(err, &remote) {
		delay = max(delay, remote.RetryAfter)
	}
	if errors.Is(err, gitsource.ErrRejected) || errors.Is(err, gitsource.ErrAuth) {
		delay = max(delay, interval) // a person has to change something first
	}
	delay = jittered(delay)
	b.failures++
	b.next = time.Now().Add(delay)
	return delay
}

// quietFor is how long a failure that goes on is not spoken of again.
const quietFor = 10 * time.Minute

// quiet keeps a failure that goes on for a day from filling the log. The zero value has nothing said yet.
type quiet struct {
	until time.Time
	said  string
}

// speaks reports whether the failure is to be logged: another one than before, or after some time.
func (q *quiet) speaks(err error) bool {
	if err.Error() == q.said && time.Now().Before(q.until) {
		return false
	}
	q.said, q.until = err.Error(), time.Now().Add(quietFor)
	return true
}

// jittered spreads many agents that started together: plus or minus five per cent.
func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.95 + 0.1*rand.Float64()))
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
