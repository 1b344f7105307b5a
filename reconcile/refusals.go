package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gitrota/gitrota/reconcile/fault"
)

// refusalPatience is for how long the API server has to refuse before that is believed. After its start it refuses
// everybody for a moment, because it has not read the roles yet; and a role may be bound a little after what needs it.
const refusalPatience = 30 * time.Second

// refusal counts for how long the API server has refused, with nothing but refusals in between.
type refusal struct{ since time.Time }

// lasts notes an answer of the API server, and reports whether it has refused for so long by now. An outage begins it
// anew: after it the server has just started.
func (f *refusal) lasts(err error, now time.Time, patience time.Duration) bool {
	if !errors.Is(err, ErrForbidden) {
		*f = refusal{}
		return false
	}
	if f.since.IsZero() {
		f.since = now
	}
	return now.Sub(f.since) >= patience
}

// refusedForGood reports whether the API server has refused something for a reason that no waiting mends.
func (r *rotation) refusedForGood(err error) bool {
	if lasts := r.refused.lasts(err, r.Clock.Now(), refusalPatience); errors.Is(err, ErrForbidden) {
		return lasts
	}
	return errors.As(err, new(*fault.Error))
}

// judgeRefusal waits for an API server that refuses what a step needs, as for one that is away. Once something is staged
// that goes on for as long as the step may take, since an end would leave the rotation half done. In the end it is
// exhausted; why is what the API server says when it is asked for gitrota's rights.
func (r *rotation) judgeRefusal(ctx context.Context, s step, a *attempt, err error, delay time.Duration) *exhausted {
	now, patience := r.Clock.Now(), refusalPatience
	if r.mayBeStaged() {
		patience = max(patience, r.status.Request.stepTimeout())
	}
	if a.refused.since.IsZero() {
		r.Log.Warn("waiting for the Kubernetes API to allow what it refuses", "request", r.status.Request.Key(), "step", s, "error", err)
	}
	a.began = now // this wait has a bound of its own
	lasts := a.refused.lasts(err, now, patience)
	cause := r.review(ctx, s, err)
	if lasts && cause != nil {
		return &exhausted{cause}
	}
	if now.Sub(a.refused.since) > delayLongest && !r.status.Phase.Finished() && cause != nil {
		if r.status.set(Condition{Type: TypeWaiting, Status: "True", Reason: cause.Reason, Message: r.status.Request.Source.locate(cause.Error())}, now) {
			r.report()
		}
	}
	r.Clock.Sleep(ctx, delay)
	return nil
}

// review says why the API server refuses, as far as its own review of gitrota's rights tells; nil if that cannot be had.
func (r *rotation) review(ctx context.Context, s step, refused error) *fault.Error {
	said, target := fault.As(refused), r.lastTarget
	if s.kind == stepWait || target.Kind == "" { // it is what a review has said, or there is nothing to ask about
		return refuse(said, ReasonPermissions, said.Hint, said.Message)
	}
	ctx, cancel := context.WithTimeout(ctx, refusalPatience)
	defer cancel()
	missing, err := r.Cluster.Missing(ctx, target, r.status.Request.Consumers != nil)
	switch {
	case errors.Is(err, ErrForbidden):
		return refuse(said, ReasonPermissions, said.Hint, said.Message)
	case err != nil:
		return nil
	case len(missing) == 0:
		return refuse(said, ReasonRefused, "look for an admission policy, a webhook or a quota that refuses it",
			fmt.Sprintf("%s, although gitrota's role allows it", said.Message))
	}
	return refuse(said, ReasonPermissions, said.Hint, fmt.Sprintf("%s; in the namespace %s gitrota may not: %s", said.Message, target.Namespace, strings.Join(missing, ", ")))
}

// refuse makes a verdict of a refusal that is waited for.
func refuse(said *fault.Error, reason, hint, message string) *fault.Error {
	return &fault.Error{Class: fault.Refuse, Reason: reason, Message: message, Hint: hint, Err: said}
}
