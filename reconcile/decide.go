package reconcile

import (
	"fmt"
	"slices"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// world is everything that a decision rests on, as plain data. It is gathered anew before each step.
type world struct {
	status Status
	db     Target
	// pausedByUs: the database is paused, and this engine's owner has paused it.
	pausedByUs bool
	auth       Secret // without UID: there is none
	keeper     Keeper
	missing    []string // what Kubernetes does not let gitrota do
	supplied   Supplied // what the user supplied; zero if the request names no Secret
	live       credential.Credential
	replicas   []replica
}

// replica is one SQL Server and what it said when it was last asked.
type replica struct {
	Replica
	connected bool // a session is open, so that acceptsNext is an answer and not a guess
	// acceptsNext: the keeper's staged credential is the login's.
	acceptsNext bool
	// verified: since the promotion, a fresh login with the new credential succeeded and the previous one is refused.
	verified bool
}

// stepKind names a step in the log, in metrics and in messages of a timeout.
type stepKind string

const (
	stepGather   stepKind = "gather"   // read the world; what every decision begins with
	stepReject   stepKind = "reject"   // the request may not run
	stepWait     stepKind = "wait"     // for what the step's error says
	stepConnect  stepKind = "connect"  // open a session on a replica with a credential that we know of
	stepStage    stepKind = "stage"    // the new credential into the keeper
	stepPause    stepKind = "pause"    // the KubeDB object
	stepApply    stepKind = "apply"    // ALTER LOGIN on a replica
	stepPromote  stepKind = "promote"  // the new credential into the auth Secret
	stepRestarts stepKind = "restarts" // list the pods that carry the old password
	stepEvict    stepKind = "evict"    // one of them
	stepAwaitPod stepKind = "await"    // its successor
	stepVerify   stepKind = "verify"   // a fresh login with the new credential, and the previous one refused
	stepResume   stepKind = "resume"   // the KubeDB object
	stepSettle   stepKind = "settle"   // next becomes live in the keeper: the rotation has succeeded
	stepDiscard  stepKind = "discard"  // a staged credential that no replica accepts, of a rotation that has failed
)

// step is what to do next, and to what.
type step struct {
	kind   stepKind
	target string       // the replica's or pod's name, where there is one
	err    *fault.Error // why to reject or what to wait for
}

func (s step) String() string {
	if s.target == "" {
		return string(s.kind)
	}
	return string(s.kind) + " " + s.target
}

// decide says what the next step of a rotation is. It knows nothing but the world as it stands, so that it makes no
// difference who brought it there: this run, one that was killed, or another agent.
func decide(w world) step {
	if w.keeper.Next.IsZero() {
		return begin(w)
	}
	if w.promoted() {
		return complete(w)
	}
	return change(w)
}

// begin decides while nothing is staged: refuse, wait, look at every replica, stage.
func begin(w world) step {
	for _, check := range preflight {
		if err := check(w); err != nil {
			return rejectOrWait(err)
		}
	}
	if s, ok := connect(w); ok {
		return s
	}
	if err := passwordChanges(w); err != nil {
		return rejectOrWait(err)
	}
	return step{kind: stepStage}
}

// change decides between the staging and the promotion.
func change(w world) step {
	if s, ok := connect(w); ok {
		return s
	}
	acceptsNext := func(r replica) bool { return r.acceptsNext }
	if w.status.Phase.Finished() && !slices.ContainsFunc(w.replicas, acceptsNext) {
		return step{kind: stepDiscard}
	}
	if s, ok := pause(w); ok {
		return s
	}
	for _, r := range w.replicas {
		if !r.acceptsNext {
			return step{kind: stepApply, target: r.Name}
		}
	}
	return step{kind: stepPromote}
}

// complete decides after the promotion: what is published is restarted, proven and settled.
func complete(w world) step {
	if w.keeper.Restart == nil {
		if s, ok := pause(w); ok {
			return s
		}
		return step{kind: stepRestarts}
	}
	if len(w.replicas) < w.db.Replicas {
		return step{kind: stepAwaitPod, target: w.absent()}
	}
	for _, r := range w.replicas {
		switch {
		case r.Ending:
			return step{kind: stepAwaitPod, target: r.Name}
		case w.keeper.Restart[r.Name] == r.UID:
			if s, ok := pause(w); ok {
				return s
			}
			return step{kind: stepEvict, target: r.Name}
		case !r.Ready:
			return step{kind: stepAwaitPod, target: r.Name}
		case !r.verified:
			return step{kind: stepVerify, target: r.Name}
		}
	}
	if w.pausedByUs {
		return step{kind: stepResume}
	}
	return step{kind: stepSettle}
}

// connect asks for a session on each replica.
func connect(w world) (step, bool) {
	if len(w.replicas) < w.db.Replicas {
		return step{kind: stepAwaitPod, target: w.absent()}, true
	}
	for _, r := range w.replicas {
		if r.Endpoint.Address == "" {
			return step{kind: stepAwaitPod, target: r.Name}, true
		}
		if !r.connected {
			return step{kind: stepConnect, target: r.Name}, true
		}
	}
	return step{}, false
}

// pause asks for KubeDB to be kept away, unless it is.
func pause(w world) (step, bool) {
	if w.pausedByUs {
		return step{}, false
	}
	if err := pausedByOther(w); err != nil {
		return step{kind: stepWait, err: err}, true
	}
	return step{kind: stepPause}, true
}

func rejectOrWait(err *fault.Error) step {
	if err.Class == fault.Wait {
		return step{kind: stepWait, err: err}
	}
	return step{kind: stepReject, err: err}
}

// promoted reports whether the auth Secret holds the staged credential.
func (w world) promoted() bool {
	return w.auth.UID != "" && w.auth.credential(w.db.AuthSecret) == w.keeper.Next.Credential
}

// absent names the first replica that has no pod.
func (w world) absent() string {
	for i := range w.db.Replicas {
		name := fmt.Sprintf("%s-%d", w.db.Name, i)
		if !slices.ContainsFunc(w.replicas, func(r replica) bool { return r.Name == name }) {
			return name
		}
	}
	return w.db.Name
}

// outcome is what becomes of a staged credential when its rotation fails.
type outcome int

const (
	// keepStaged: somebody has to look, or a later run can tell; nothing is thrown away.
	keepStaged outcome = iota
	// settleStaged: every replica accepts it and it is published, so it is the live one, whatever failed afterwards.
	settleStaged
	// dropStaged: every replica was asked and none accepts it.
	dropStaged
)

// conclude decides what becomes of the staged credential of a rotation that cannot go on.
func conclude(w world) outcome {
	if len(w.replicas) == 0 || len(w.replicas) < w.db.Replicas {
		return keepStaged
	}
	accepting := 0
	for _, r := range w.replicas {
		if !r.connected {
			return keepStaged
		}
		if r.acceptsNext {
			accepting++
		}
	}
	switch {
	case accepting == len(w.replicas) && w.promoted():
		return settleStaged
	case accepting == 0 && !w.promoted():
		return dropStaged
	}
	return keepStaged
}
