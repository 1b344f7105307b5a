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
	refused := errors.Is(cause, ErrForbidden)
	if refused {
		r.refused = refusal{since: r.Clock.Now().Add(-refusalPatience)}
	}
	for pauses := 0; ctx.Err() == nil; pauses++ {
		var err error
		if goesOn, left, err = r.conclude(ctx, cause); err == nil {
			r.report()
			return goesOn, left
		}
		if refused && (errors.Is(err, ErrForbidden) || errors.Is(err, ErrAPIUnavailable)) {
			r.attempts = map[step]*attempt{} // it cannot end like that, so it goes on as soon as it may
			return true, nil
		}
		r.Log.Warn("recording a failure does not go on", "request", r.status.Request.Key(), "error", err)
		r.Clock.Sleep(ctx, min(100*time.Millisecond<<min(pauses, 10), 2*time.Second))
	}
	return false, ctx.Err()
}

// conclude does what [rotation.fail] says, once. The end is in the keeper before it is the rotation's status: an error
// means that nothing has ended.
func (r *rotation) conclude(ctx context.Context, cause *fault.Error) (goesOn bool, left, err error) {
	bounded, cancel := context.WithTimeout(ctx, r.status.Request.stepTimeout())
	defer cancel()
	delete(r.attempts, step{kind: stepGather}) // what the rotation has used of its time is not the conclusion's
	seen := r.keeperSecret.version()
	w, err := r.gather(bounded)
	var classified *fault.Error
	var other *otherStaged
	switch {
	case errors.As(err, &classified), errors.As(err, &other):
		left, err = r.concludeUnseen(bounded, w, cause)
		return false, left, err
	case err != nil:
		return false, nil, err
	case r.endedBefore(w):
		return false, nil, r.release(bounded, w)
	case r.keeperSecret.version() != seen && r.overtaken < maxConflicts:
		r.overtaken++ // somebody else goes on with it: what has failed was decided in another world
		return true, nil, nil
	}
	keeper, staged := w.keeper, !w.keeper.Next.IsZero()
	ended := r.status.clone()
	ended.Escrow = nil // of an earlier try to conclude
	recovery := ""
	switch verdict := conclude(w); {
	case !staged:
	case verdict == revertStaged && !ended.Phase.Finished() && r.turns <= r.status.Request.MaxRetries:
		keeper.Failure = &Failure{Reason: cause.Reason, Message: cause.Error()}
		if err := r.keep(bounded, keeper); err != nil {
			return false, nil, err
		}
		r.turns++
		r.attempts = map[step]*attempt{} // the way back has its own time
		return true, nil, nil
	case verdict == settleStaged:
		if err := keeper.settle(r.digestCost(), r.Random); err != nil {
			return false, nil, err
		}
		ended.Escrow = w.keeper.Escrow
		if !w.promoted() {
			recovery = fmt.Sprintf("every replica opens with live.password of the Secret %s/%s, which the auth Secret does not hold", r.keeperSecret.Namespace, r.keeperSecret.Name)
		}
	case verdict == dropStaged:
		keeper.drop()
	default:
		recovery = recoveryMessage(w, r.keeperSecret)
		left = cause
	}
	r.end(&ended, firstCause(w, cause), recovery)
	owner := r.Owner
	if staged {
		owner = w.keeper.Owner
	}
	if err := r.keepEnd(bounded, keeper, owner, ended); err != nil && (staged || !r.refusedForGood(err)) {
		return false, nil, err
	}
	r.status = ended
	if err := r.release(bounded, w); err != nil {
		return false, nil, err
	}
	r.Cluster.Event(bounded, w.target, string(r.status.Phase), cause.Error())
	return false, left, nil
}

// concludeUnseen ends a rotation whose world cannot be read as a whole: its database is gone, or its keeper holds what
// another rotation has staged. What is staged stays in the keeper, which is found by what was known of the database
// before. Where that cannot be, because nothing was known or because nothing can be written in a namespace that is being
// deleted, only Git is told; a rotation that has ended there does not begin.
func (r *rotation) concludeUnseen(ctx context.Context, w world, cause *fault.Error) (left, err error) {
	keeper, known, err := r.findKeeper(ctx)
	if err != nil && (r.mayBeStaged() || !r.refusedForGood(err)) && reasonOf(err) != ReasonKeeperDamaged {
		return nil, err
	}
	w.keeper = keeper
	if r.endedBefore(w) {
		return nil, r.resumeBlindly(ctx)
	}
	lost := r.keeperSecret.UID == "" && !r.lastStaged.Next.IsZero()
	if lost {
		w.keeper, keeper = r.lastStaged, r.lastStaged
	}
	staged := !keeper.Next.IsZero() && keeper.Next.RotationID == r.status.Request.ID
	ended, owner, recovery := r.status.clone(), r.Owner, ""
	if staged {
		owner, left, recovery = keeper.Owner, cause, recoveryMessage(w, r.keeperSecret)
		if keeper.Record.isEnd() {
			ended = upheld(*keeper.Record, ended)
		}
	}
	r.end(&ended, firstCause(w, cause), recovery)
	if known {
		err := r.keepEnd(ctx, keeper, owner, ended)
		switch {
		case err == nil:
		case staged && !lost, !r.refusedForGood(err):
			return nil, err
		case lost:
			r.putBack(ctx)
		}
	}
	r.status = ended
	return left, r.resumeBlindly(ctx)
}

// findKeeper reads the keeper of a database that cannot be read itself, and reports whether an end may be written there:
// where the name of the auth Secret is only what KubeDB calls it by itself, there has to be one.
func (r *rotation) findKeeper(ctx context.Context) (keeper Keeper, known bool, err error) {
	request, name := r.status.Request, r.lastTarget.AuthSecret.Name
	known = name != ""
	switch {
	case known:
	case request.Server != nil:
		name = request.Server.AuthSecret.Name
	case r.status.Has(TypeRotateAuth):
		name = request.Database + "-auth"
	default:
		return Keeper{}, false, nil // it has never begun, so far as is known
	}
	keeper, r.keeperSecret, err = r.readKeeper(ctx, request.Namespace, name)
	return keeper, err == nil && (known || r.keeperSecret.UID != ""), err
}

// mayBeStaged reports whether something may be staged for the rotation, as far as its status and this run know.
func (r *rotation) mayBeStaged() bool { return r.status.Has(TypeStaged) || !r.lastStaged.Next.IsZero() }

// keepEnd puts an end into the keeper, with those of the requests whose place this one had taken, and then tells of these.
func (r *rotation) keepEnd(ctx context.Context, keeper Keeper, owner string, ended Status) error {
	r.endSuperseded(&keeper)
	keeper.end(owner, ended, r.Clock.Now())
	err := r.keep(ctx, keeper)
	if err == nil || r.refusedForGood(err) {
		r.tellSuperseded()
	}
	return err
}

// endSuperseded notes in the keeper that the requests whose place this one has taken do not run. Those that have ended
// there already, in whatever way, are told of as the keeper has them.
func (r *rotation) endSuperseded(keeper *Keeper) {
	var ended []Status
	for _, skipped := range r.job.Superseded {
		keeper.end(r.Owner, skipped, r.Clock.Now())
		if entry, whole := keeper.ended(skipped.Request.ID); whole {
			ended = append(ended, entry.Status)
		}
	}
	r.job.Superseded = ended
}

func (r *rotation) tellSuperseded() {
	if r.job.Report != nil {
		for _, skipped := range r.job.Superseded {
			r.job.Report(skipped.clone())
		}
	}
	r.job.Superseded = nil
}

// release lifts a pause that is left of a rotation that has ended.
func (r *rotation) release(ctx context.Context, w world) error {
	if !w.pausedByUs {
		return nil
	}
	return r.Cluster.Resume(ctx, w.target, w.target.PauseReason)
}

// putBack gives every replica to which a session is open its previous password again: the new one is nowhere any more
// but in this process, and somebody may have a copy of the previous one.
func (r *rotation) putBack(ctx context.Context) {
	live, next := r.lastStaged.Live.Credential, r.lastStaged.Next.Credential
	for uid, s := range r.servers {
		if s.session == nil || s.last != next || live.Username != next.Username {
			continue
		}
		is, hash, _ := s.accepts(ctx, next)
		if is == no {
			continue // which it has said; a server that cannot compare checks the old password itself
		}
		change := mssql.Change{Login: live.Username, Next: live.Password, If: hash}
		if !s.facts.Resets || hash.IsZero() && !s.withoutOld {
			change.Old = next.Password
		}
		err := s.session.SetPassword(ctx, change)
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

// end sets the phase and the conditions that a failure ends with, unless the status is of a request that has ended.
func (r *rotation) end(s *Status, cause *fault.Error, recovery string) {
	if s.Phase.Finished() {
		return
	}
	if recovery != "" {
		s.set(condition(TypeRecoveryRequired, recovery), r.Clock.Now())
	}
	kind := TypeFailed
	s.Phase = PhaseFailed
	if deniedFor[cause.Reason] && !s.Has(TypeStaged) {
		kind = TypeDenied
		s.Phase = PhaseDenied
	}
	s.set(Condition{Type: kind, Status: "True", Reason: cause.Reason, Message: s.Request.Source.locate(cause.Error())}, r.Clock.Now())
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
