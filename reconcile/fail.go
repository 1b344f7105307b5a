package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// fail ends the request with a status that says why, or turns the rotation back. Before that it sees to what must not
// stay behind: a staged credential is settled, dropped, rolled back or kept by what the replicas say, the outcome is in
// the keeper, and the database is resumed. An outage of the API server is waited for. It returns true if the rotation
// goes on, backwards, and otherwise cause, or nil if nothing is left staged.
func (r *rotation) fail(ctx context.Context, cause *fault.Error) (goesOn bool, left error) {
	for pauses := 0; ctx.Err() == nil; pauses++ {
		var err error
		if goesOn, left, err = r.conclude(ctx, cause); err == nil {
			r.report()
			return goesOn, left
		}
		r.Log.Warn("recording a failure does not go on", "request", r.status.Request.Key(), "error", err)
		r.Clock.Sleep(ctx, min(100*time.Millisecond<<min(pauses, 10), 2*time.Second))
	}
	return false, ctx.Err()
}

func (r *rotation) conclude(ctx context.Context, cause *fault.Error) (goesOn bool, left, err error) {
	bounded, cancel := context.WithTimeout(ctx, r.status.Request.stepTimeout())
	defer cancel()
	delete(r.attempts, step{kind: stepGather}) // what the rotation has used of its time is not the conclusion's
	w, err := r.gather(bounded)
	var classified *fault.Error
	var other *otherStaged
	switch {
	case errors.As(err, &classified), errors.As(err, &other):
		// The database is gone, or its keeper is not this rotation's to write: there is nothing to conclude.
		if r.keeperLost {
			r.putBack(bounded)
		}
		if !r.lastStaged.Next.IsZero() && !r.status.Phase.Finished() {
			w.keeper = r.lastStaged
			r.status.set(condition(TypeRecoveryRequired, recoveryMessage(w, r.keeperSecret)), r.Clock.Now())
		}
		r.end(cause)
		return false, nil, r.resumeBlindly(bounded)
	case err != nil:
		return false, nil, err
	}
	keeper, staged := w.keeper, !w.keeper.Next.IsZero()
	recovery := ""
	r.status.Escrow = nil // of an earlier try to conclude
	switch verdict := conclude(w); {
	case !staged:
	case verdict == revertStaged && !r.status.Phase.Finished():
		keeper.Failure = &Failure{Reason: cause.Reason, Message: cause.Error()}
		if err := r.keep(bounded, keeper); err != nil {
			return false, nil, err
		}
		r.attempts = map[step]*attempt{} // the way back has its own time
		return true, nil, nil
	case verdict == settleStaged:
		if err := keeper.settle(r.digestCost(), r.Random); err != nil {
			return false, nil, err
		}
		r.status.Escrow = w.keeper.Escrow
		if !w.promoted() {
			recovery = fmt.Sprintf("every replica opens with live.password of the Secret %s/%s, which the auth Secret does not hold", r.keeperSecret.Namespace, r.keeperSecret.Name)
		}
	case verdict == dropStaged:
		keeper.drop()
	default:
		recovery = recoveryMessage(w, r.keeperSecret)
		left = cause
	}
	if !r.status.Phase.Finished() {
		if recovery != "" {
			r.status.set(condition(TypeRecoveryRequired, recovery), r.Clock.Now())
		}
		r.end(firstCause(w, cause))
	}
	// A request that ends before anything was staged leaves the cluster as it found it. A refused login is the exception:
	// it is remembered, so that not even a killed agent tries a second time.
	if staged || cause.Reason == mssql.ReasonRefusedLogin && w.auth.UID != "" {
		owner := r.Owner
		if staged {
			owner = w.keeper.Owner
		}
		keeper.end(owner, r.status, r.Clock.Now())
		if err := r.keep(bounded, keeper); err != nil {
			return false, nil, err
		}
	}
	if w.pausedByUs {
		if err := r.Cluster.Resume(bounded, w.target, w.target.PauseReason); err != nil {
			return false, nil, err
		}
	}
	r.Cluster.Event(bounded, w.target, string(r.status.Phase), cause.Error())
	return false, left, nil
}

// putBack gives every replica to which a session is open its previous password again: the new one is nowhere any more
// but in this process, and somebody may have a copy of the previous one.
func (r *rotation) putBack(ctx context.Context) {
	live, next := r.lastStaged.Live.Credential, r.lastStaged.Next.Credential
	for uid, s := range r.servers {
		if s.session == nil || s.last != next || live.Username != next.Username {
			continue
		}
		is, hash, err := s.accepts(ctx, next)
		if is == no {
			continue
		}
		change := mssql.Change{Login: live.Username, Next: live.Password, If: hash}
		if !s.facts.Resets || hash.IsZero() && !s.withoutOld {
			change.Old = next.Password
		}
		err = s.session.SetPassword(ctx, change)
		r.Log.Warn("the keeper is lost, so the previous password was put back", "replica", uid, "error", err)
	}
}

// resumeBlindly lifts a pause of this engine's of a database that cannot be read any more as a whole.
func (r *rotation) resumeBlindly(ctx context.Context) error {
	if !r.hasPaused(r.lastTarget) && !r.status.Has(TypePaused) || !r.lastTarget.KubeDB() {
		return nil
	}
	return r.Cluster.Resume(ctx, r.lastTarget, r.pauseReason(r.status.Request))
}

// firstCause is why the rotation was turned back, if it was, rather than why the way back does not go on.
func firstCause(w world, cause *fault.Error) *fault.Error {
	failure := w.keeper.Failure
	if failure == nil {
		return cause
	}
	return fault.New(cause.Class, failure.Reason, "", "%s; the rollback did not come to its end: %s", failure.Message, cause.Message)
}

// end sets the phase and the condition that a failure ends with.
func (r *rotation) end(cause *fault.Error) {
	if r.status.Phase.Finished() {
		return
	}
	kind := TypeFailed
	r.status.Phase = PhaseFailed
	if deniedFor[cause.Reason] && !r.status.Has(TypeStaged) {
		kind = TypeDenied
		r.status.Phase = PhaseDenied
	}
	r.status.set(Condition{
		Type: kind, Status: "True", Reason: cause.Reason,
		Message: r.status.Request.Source.locate(cause.Error()),
	}, r.Clock.Now())
}

// recoveryMessage tells a person which key of the keeper opens which replica, as far as it is known, and how to read it.
func recoveryMessage(w world, keeper Secret) string {
	var b strings.Builder
	for _, r := range w.replicas {
		key := "either next.password or live.password"
		switch r.next {
		case yes:
			key = "next.password"
		case no:
			key = "live.password"
		}
		if w.pair() {
			key += fmt.Sprintf(" (as %q; clients still use %q)", w.keeper.Next.Username, w.keeper.Live.Username)
		}
		fmt.Fprintf(&b, "%s opens with %s; ", r.Name, key)
	}
	if w.incomplete() {
		fmt.Fprintf(&b, "%s is not there, it opens with either next.password or live.password; ", w.missingReplica())
	}
	fmt.Fprintf(&b, "the keys are in the Secret %s/%s, nothing was discarded. Read one with: kubectl -n %s get secret %s -o go-template='{{index .data \"next.password\" | base64decode}}'. A new request takes this one's credential to its end first",
		keeper.Namespace, keeper.Name, keeper.Namespace, keeper.Name)
	return b.String()
}
