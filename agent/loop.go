package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/reconcile"
)

// turns is what the loop remembers from one turn to the next.
type turns struct {
	*Agent
	poll, flush, cluster, patrol backoff
	schedule, survey             backoff
	unreadable, unwritable       quiet
	unknown                      quiet
	unscheduled                  quiet
	read                         int  // the last poll that succeeded
	recovered                    bool // what an earlier run has done is known
	unproposed                   bool // what is due since the last poll
	released                     bool // what it left paused is resumed, or on its way
}

// loop polls, starts and flushes until ctx ends or, with Options.Once, nothing is left.
func (a *Agent) loop(ctx context.Context) error {
	t := &turns{Agent: a}
	for ctx.Err() == nil {
		if err := t.pollWhenDue(ctx); err != nil {
			return err
		}
		t.takeUpWhenDue(ctx)
		if t.poll.failures == 0 && a.controller.Outdated() {
			t.poll.next = time.Time{} // nothing begins, and Git is told nothing, before it is judged by what is known now
			continue
		}
		if t.patrols() && t.patrol.due() {
			a.controller.Patrol(ctx)
			t.patrol.after(jittered(a.options.PatrolInterval))
		}
		if t.recovered && t.schedule.due() && t.scheduled(ctx) {
			continue // what was asked for is taken up
		}
		due, dirty := a.controller.FlushDue(a.options.Interval)
		if dirty && t.flush.due() && !time.Now().Before(due) && t.flushed(ctx) {
			continue // what came along with the write may have brought requests
		}
		state := a.controller.State()
		a.metrics.observeState(state)
		a.progress.settle(t.read, state.Revision, dirty, a.controller.Problems())
		if a.options.Once && t.recovered && state.Revision != "" && state.Running == 0 && state.Waiting == state.Held && state.JournalPending == 0 && !dirty {
			return verdict(state)
		}
		if a.wait(ctx, t.next(due, dirty)) {
			t.poll.hasten()
			t.flush.hasten()
		}
	}
	return nil
}

// pollWhenDue returns an error that no waiting will mend.
func (t *turns) pollWhenDue(ctx context.Context) error {
	if !t.poll.due() {
		return nil
	}
	number := t.progress.begin()
	err := t.controller.Poll(ctx)
	t.metrics.observePoll(err)
	switch {
	case err == nil:
		t.read, t.unreadable = number, quiet{}
		t.unproposed = true
		t.poll.after(jittered(t.options.Interval))
	case ctx.Err() != nil:
	case t.controller.State().Revision == "" && fatal(err):
		return err
	default:
		t.progress.failed(err)
		wait := t.poll.failed(err, t.options.Interval)
		if t.unreadable.speaks(err) {
			t.log.Error("the repository cannot be read", "error", err, "retry_in", wait.String())
		}
	}
	return nil
}

// takeUpWhenDue starts what can be started. The API server may be away for a while, or refuse everybody because it has
// just started: until it has told what an earlier run has done, nothing begins.
func (t *turns) takeUpWhenDue(ctx context.Context) {
	if !t.cluster.due() {
		return
	}
	err := t.takeUp(ctx)
	if t.recovered = err == nil; t.recovered {
		t.cluster, t.unknown = backoff{}, quiet{}
	}
	if ctx.Err() != nil {
		return
	}
	if !t.released || err == nil {
		t.metrics.observeStart(err)
	}
	if err == nil {
		return
	}
	wait := t.cluster.failed(err, t.options.Interval)
	if t.unknown.speaks(err) {
		t.log.Warn("what an earlier run has done is not known yet", "error", err, "retry_in", wait.String())
	}
}

// takeUp finds what an earlier run has done, starts what can be started and, the first time, resumes what was left
// paused. It costs nothing when there is nothing new.
func (t *turns) takeUp(ctx context.Context) error {
	if err := t.controller.Recover(ctx); err != nil {
		return err
	}
	if t.survey.due() {
		if err := t.controller.Survey(ctx); err != nil {
			return err
		}
		t.survey.after(jittered(t.options.PatrolInterval))
	}
	t.controller.Advance(ctx)
	if t.unproposed {
		t.controller.Propose(ctx)
		t.unproposed = false
	}
	if t.released {
		return nil
	}
	if err := t.controller.ReleasePaused(ctx); err != nil {
		return err
	}
	t.released = true
	return nil
}

// scheduled asks for the rotations that are due, and reports whether there were any. Where the branch is protected, or
// Git is away, it is tried again.
func (t *turns) scheduled(ctx context.Context) bool {
	asked, err := t.controller.Schedule(ctx)
	switch {
	case err == nil:
		t.unscheduled = quiet{}
		t.schedule.after(0)
	case ctx.Err() == nil:
		wait := t.schedule.failed(err, t.options.Interval)
		if t.unscheduled.speaks(err) {
			t.log.Error("rotations that are due cannot be asked for", "error", err, "retry_in", wait.String())
		}
	}
	return asked
}

// patrols reports whether databases at rest are looked after.
func (t *turns) patrols() bool { return t.released && !t.options.Once }

// flushed writes the statuses that Git lacks, and reports whether it could.
func (t *turns) flushed(ctx context.Context) bool {
	err := t.controller.Flush(ctx)
	if err == nil {
		t.unwritable = quiet{}
		t.flush.after(0)
		return true
	}
	wait := t.flush.failed(err, t.options.Interval)
	if t.unwritable.speaks(err) {
		state := t.controller.State()
		t.log.Warn("statuses cannot be written; the journal in the cluster keeps them", "pending", state.JournalPending,
			"oldest", state.JournalOldest, "error", err, "retry_in", wait.String())
	}
	return false
}

// next is when the next turn has something to do, if nothing happens before.
func (t *turns) next(due time.Time, dirty bool) time.Time {
	next := t.poll.next
	if !t.recovered {
		next = earliest(next, t.cluster.next)
	}
	if t.patrols() {
		next = earliest(next, t.patrol.next)
	}
	if dirty {
		next = earliest(next, latest(due, t.flush.next))
	}
	if t.recovered {
		next = earliest(next, t.survey.next)
		if at := t.controller.NextDue(); !at.IsZero() {
			next = earliest(next, latest(at, t.schedule.next))
		}
	}
	return next
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
	if bad == 0 && state.Problems == 0 && state.Held == 0 {
		return nil
	}
	held := ""
	if state.Held > 0 {
		held = fmt.Sprintf("%d wait for an approval or for their time, ", state.Held)
	}
	return fmt.Errorf("%w: %d failed or denied, %s%d problems in manifests; see the status path in the repository", ErrUnsuccessful, bad, held, state.Problems)
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
