package reconcile

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gitrota/gitrota/reconcile/fault"
)

// A step that succeeds leads to another world. One that is decided on again in the world that it was taken in has changed
// nothing, whatever it was told: a server that forgets, a balancer in front of two of them, somebody who undoes it at
// once. It is taken again as often as one that fails, and then the rotation ends.

// maxConflicts bounds how often a step is taken anew in one world since somebody else was quicker. Who was quicker has
// changed something, which most often shows in the world.
const maxConflicts = 20

// stand is a step in the world that it is taken in.
type stand struct {
	step  step
	world string
}

// tries is how often a step was taken in one world.
type tries struct {
	first     time.Time
	done      int // it succeeded
	conflicts int // somebody else was quicker
}

// standstill returns why a step is not taken again that has left the world as it was.
func (r *rotation) standstill(w world, s step) *fault.Error {
	t := r.tries[stand{s.key(), w.outline()}]
	switch {
	case t == nil, s.kind == stepConnect && t.conflicts <= maxConflicts:
		return nil // the losses of what was opened are counted; see [maxLosses]
	case t.done > r.status.Request.MaxRetries && (s.kind == stepPromote || s.kind == stepRestore):
		return overwritten(w.auth, w.target.AuthSecret)
	case t.done > r.status.Request.MaxRetries:
		return fault.New(fault.Stop, ReasonNoProgress, hintNoProgress[s.kind],
			"the step %q succeeded %d times and left everything as it was", s, t.done)
	case t.conflicts > maxConflicts:
		return fault.New(fault.Stop, ReasonNoProgress, hintNoProgress[s.kind],
			"the step %q was overtaken by somebody else %d times, and everything is as it was", s, t.conflicts)
	}
	return nil
}

// hintNoProgress says what to look at where one kind of step gets nowhere.
var hintNoProgress = map[stepKind]string{
	stepApply:  "see whether the address leads to more than one server, or whether somebody else keeps changing this login",
	stepRevert: "see whether the address leads to more than one server, or whether somebody else keeps changing this login",
	stepRetire: "see whether the address leads to more than one server, or whether somebody else keeps changing this login",
}

// taken counts a step that was taken, and pauses before one that has changed nothing is taken again. One that failed has
// a count of its own; see [rotation.judge].
func (r *rotation) taken(ctx context.Context, w world, s step, conflict bool) {
	now := r.Clock.Now()
	if s.kind == stepGrace && now.Before(w.graceEnds()) {
		return // it has waited, and time has passed
	}
	key := stand{s.key(), w.outline()}
	t := r.tries[key]
	if t == nil || s.kind == stepConnect && now.Sub(t.first) > r.status.Request.stepTimeout() {
		t = &tries{first: now} // a session may be lost again, some time later
		r.tries[key] = t
	}
	if conflict {
		t.conflicts++
		return
	}
	if t.done++; t.done > 1 {
		r.Clock.Sleep(ctx, min(delayFirst<<min(t.done, 10), 2*time.Second))
	}
}

// outline is what decisions rest on, as far as it changes while a rotation runs. The versions of objects and the hashes
// of logins are not in it: a write that changes nothing else is no progress.
func (w world) outline() string {
	var b strings.Builder
	k := w.keeper
	fmt.Fprint(&b, w.target.Paused, w.pausedByUs, w.auth.UID == "", w.promoted(), w.published(), w.fenced, w.live.IsZero(), w.incomplete(), w.absent,
		k.Next.RotationID, k.Restart != nil, len(k.Restart), k.Published.IsZero(), k.Failure != nil, k.retiring(), k.Repaired != nil)
	for _, r := range w.replicas {
		fmt.Fprint(&b, "\n", r.Name, " ", r.UID, r.Ready, r.Ending, r.Endpoint.Address == "", r.connected, r.next, r.retired, r.acknowledged, r.tried, r.expired, r.verified)
	}
	for _, m := range w.group.Replicas {
		fmt.Fprint(&b, "\n", m)
	}
	for _, c := range w.consumers {
		fmt.Fprint(&b, "\n", c.UID, c, c.RotationID, c.Settled, c.idle())
	}
	return b.String()
}
