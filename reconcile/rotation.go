package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// rotation is one run of the engine for one request. What it holds is a convenience, such as open sessions: everything
// that matters is in the keeper, the auth Secret and the servers, and is read anew before each step.
type rotation struct {
	*Engine
	job    Job
	status Status

	keeperSecret Secret                // as read, for the next conditional write
	parsed       parsedKeeper          // what is in it
	lastTarget   Target                // as read
	staged       credential.Credential // what this run has staged itself; zero: nothing, or another run has
	lastStaged   Keeper                // the keeper as it was last seen with a staged credential, should somebody delete it
	servers      map[string]*server
	supplied     *Supplied
	lookedUp     *lookedUp
	missing      *[]string
	rewritings   int  // how often this run has written a keeper again that somebody has deleted
	promotions   int  // how often this run has published; a bound for a fight with somebody who writes back
	unfenceable  bool // the auth Secret cannot be written, so nobody can publish in the middle of a rollback
	turns        int  // how often it has been turned back; once, unless the keeper does not keep that
	overtaken    int  // how often somebody else went on while this run was about to fail
	attempts     map[step]*attempt
	refused      refusal // of what an end needs
	tries        map[stand]*tries
}

// lookedUp is whether the supplied password was used before, as a version of the keeper knows it.
type lookedUp struct {
	version string
	used    bool
}

// attempt counts the tries of a step that has not succeeded yet.
type attempt struct {
	began    time.Time
	failures int
	losses   int // of open connections
	pauses   int
	last     *fault.Error
	refused  refusal
}

func (e *Engine) rotation(job Job) *rotation {
	return &rotation{
		Engine: e, job: job, status: job.Status.clone(), servers: map[string]*server{}, attempts: map[step]*attempt{},
		tries: map[stand]*tries{},
	}
}

// run gathers, decides and acts until the request has ended. A nil error means that nothing is staged any more and the
// status says how it ended.
func (r *rotation) run(ctx context.Context) error {
	defer r.closeSessions()
	for ctx.Err() == nil {
		next, err := r.step(ctx)
		if err == nil {
			r.progressed(next)
			if next.kind == stepSettle || next.kind == stepDiscard || next.kind == stepEnded {
				return nil
			}
			continue
		}
		var other *otherStaged
		if errors.As(err, &other) {
			return err
		}
		final, exhausted := err.(*exhausted)
		if !exhausted {
			if final = r.judge(ctx, next, err); final == nil {
				continue
			}
		}
		if goesOn, err := r.fail(ctx, final.cause); !goesOn {
			return err
		}
	}
	return ctx.Err()
}

// stepEnded is no step: the rotation had ended before.
const stepEnded stepKind = "ended"

// step gathers, decides and takes one step.
func (r *rotation) step(ctx context.Context) (step, error) {
	next := step{kind: stepGather}
	began := r.Clock.Now()
	w, err := r.gather(ctx)
	r.observeStep(next, began, err)
	if err != nil {
		return next, err
	}
	delete(r.attempts, next.key())
	if r.endedBefore(w) {
		return step{kind: stepEnded}, r.release(ctx, w) // it may have been paused by a run that believed otherwise
	}
	next = decide(w)
	if cause := cmp.Or(r.exhausted(next), r.standstill(w, next)); cause != nil {
		return next, &exhausted{cause}
	}
	r.observe(w, next)
	err = r.act(ctx, w, next)
	if conflict := errors.Is(err, ErrConflict); err == nil || conflict {
		r.taken(ctx, w, next, conflict)
	}
	return next, err
}

// exhausted says that a step is not tried again.
type exhausted struct{ cause *fault.Error }

func (e *exhausted) Error() string { return e.cause.Error() }

// keep writes the keeper if it is still what this run has read or written last.
func (r *rotation) keep(ctx context.Context, keeper Keeper) error {
	written, err := r.writeKeeper(ctx, keeper, r.keeperSecret)
	if err == nil {
		r.keeperSecret, r.lastStaged = written, Keeper{}
		if !keeper.Next.IsZero() {
			r.lastStaged = keeper
		}
	}
	return err
}

// key identifies a step over its tries.
func (s step) key() step { return step{kind: s.kind, target: s.target} }

// endedBefore takes the status over from the keeper or from Git if this rotation has ended before: it runs at most once,
// whatever has become of its status in Git.
func (r *rotation) endedBefore(w world) bool {
	request, told := r.status.Request, r.told(r.status.Request)
	if !w.keeper.Next.IsZero() && w.keeper.Next.RotationID == request.ID {
		return false
	}
	ended, ok := w.keeper.finished(request.ID)
	entry, whole := w.keeper.ended(request.ID)
	switch {
	case whole:
		r.status = entry.Status.clone()
		if r.status.Request.Source.Commit == "" {
			r.status.Request.Source = request.Source
		}
	case told.isEnd():
		r.status = told.clone()
	case !ok:
		return false
	case r.status.Phase == ended.Phase:
	default:
		r.status.Phase = ended.Phase
		r.status.set(Condition{
			Type: string(ended.Phase), Status: "True", Reason: string(ended.Phase),
			Message: fmt.Sprintf("this rotation ended at %s, as the keeper remembers; nothing was done again", ended.At.Format(time.RFC3339)),
		}, r.Clock.Now())
	}
	r.report()
	return true
}

// maxLosses bounds how often a step, or the session to a replica, is tried anew after an open connection broke. That tells
// little of the step: another process that takes the rotation over ends this one's sessions, once on each replica, and
// may be killed and come back.
const maxLosses = 10

// count counts a try that failed.
func (a *attempt) count(cause *fault.Error) {
	if cause.Class == fault.Retry && cause.Reason == mssql.ReasonUnreachable {
		a.losses++
	} else {
		a.failures++
	}
}

// sessionLost is the attempt under which the losses of a replica's session are counted.
func sessionLost(replica string) step { return step{kind: "session", target: replica} }

// exhausted returns why a step is not tried again, if it has failed too often. It is asked when the step is decided on
// again, and not right after the failure: what failed may have had its effect, and only its answer was lost.
func (r *rotation) exhausted(s step) *fault.Error {
	keys := []step{s.key()}
	if s.kind == stepConnect {
		keys = append(keys, sessionLost(s.target))
	}
	for _, key := range keys {
		if a := r.attempts[key]; a != nil && (a.failures > r.status.Request.MaxRetries || a.losses > max(maxLosses, r.status.Request.MaxRetries)) {
			return a.last
		}
	}
	return nil
}

// waitedFor reports whether a step was last left to be waited for.
func (r *rotation) waitedFor(s step) bool {
	a := r.attempts[s.key()]
	return a != nil && a.last != nil && a.last.Class == fault.Wait
}

// progressed forgets the failures that a success has made up for, and what was waited for before it.
func (r *rotation) progressed(s step) {
	delete(r.attempts, s.key())
	if s.kind != stepConnect {
		delete(r.attempts, sessionLost(s.target))
	}
	maps.DeleteFunc(r.attempts, func(waited step, _ *attempt) bool {
		return waited.kind == stepWait || waited.kind == stepAwaitPod || waited.kind == stepAwaitGroup || waited.kind == stepEvict && s.kind == stepEvict
	})
}

// delayFirst is the time before a step is tried for the second time; further ones wait longer.
const (
	delayFirst   = 100 * time.Millisecond
	delayLongest = 2 * time.Second
)

// judge decides whether a step that failed is tried again. It sleeps before a further try and returns nil, or returns
// why the request ends here.
func (r *rotation) judge(ctx context.Context, s step, err error) *exhausted {
	now := r.Clock.Now()
	a := r.attempts[s.key()]
	if a == nil {
		a = &attempt{began: now}
		r.attempts[s.key()] = a
	}
	delay := min(delayFirst<<min(a.pauses, 10), delayLongest)
	a.pauses++
	if errors.Is(err, ErrForbidden) && ctx.Err() == nil {
		return r.judgeRefusal(ctx, s, a, err, delay)
	}
	a.refused = refusal{}
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, ErrAPIUnavailable):
		// Without the API server nothing can be decided or recorded: its outage is waited for and costs no step its time.
		r.Log.Warn("waiting for the Kubernetes API", "request", r.status.Request.Key(), "step", s, "error", err)
		a.began = now
		r.Clock.Sleep(ctx, delay)
		return nil
	case errors.Is(err, ErrConflict):
		r.Clock.Sleep(ctx, delay/10)
		return nil
	}
	cause, before := fault.As(err), a.last
	if a.last == nil || a.last.Message != cause.Message {
		r.Log.Info("step does not go on", "request", r.status.Request.Key(), "step", s, "class", cause.Class, "reason", cause.Reason, "message", cause.Message)
	}
	a.last = cause
	timeout := r.status.Request.stepTimeout()
	left := timeout - now.Sub(a.began)
	if cause.Class == fault.Retry {
		a.count(cause)
	}
	switch {
	case cause.Class == fault.Refuse, cause.Class == fault.Stop:
		return &exhausted{cause}
	case left < delayFirst:
		timedOut, what := *cause, cause.Message
		if before != nil && errors.Is(cause, context.DeadlineExceeded) {
			// The end of its time has cut this try short, perhaps as it had just begun: the one before it tells more.
			timedOut, what = *before, before.Message+" (the last try had no answer yet when the time was over)"
		}
		timedOut.Class = fault.Refuse
		if cause.Reason != ReasonConsumers { // which says more: everything but the consumers is in order
			timedOut.Reason = ReasonTimeout
		}
		timedOut.Message = fmt.Sprintf("the step %q did not end within its timeout of %s: %s", s, timeout, what)
		return &exhausted{&timedOut}
	}
	// Towards the end the tries come closer together, so that a short timeout is used and not cut to its half.
	r.Clock.Sleep(ctx, min(delay, left/2))
	return nil
}

// stepContext bounds a step by what is left of its timeout.
func (r *rotation) stepContext(ctx context.Context, s step) (context.Context, context.CancelFunc) {
	left := r.status.Request.stepTimeout()
	if a := r.attempts[s.key()]; a != nil {
		left -= r.Clock.Now().Sub(a.began)
	} else {
		r.attempts[s.key()] = &attempt{began: r.Clock.Now()}
	}
	return context.WithTimeout(ctx, left)
}
