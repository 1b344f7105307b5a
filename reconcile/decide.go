package reconcile

import (
	"slices"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// world is everything that a decision rests on, as plain data. It is gathered anew before each step.
type world struct {
	status Status
	target Target
	// pausedByUs: the target is paused, and this engine's owner has paused it.
	pausedByUs bool
	auth       Secret // without UID: there is none
	keeper     Keeper
	admin      credential.Credential // changes the login that rotates; zero: the login changes itself
	missing    []string              // what Kubernetes does not let gitrota do
	strangers  []string              // endpoints that are not on the allow-list
	supplied   Supplied              // what the user supplied; zero if the request names no Secret
	denied     []string              // texts that it may not contain, beside those of the policy
	reused     bool                  // what the user supplied is one of the last passwords, and must not be
	live       credential.Credential // what the servers accept, before anything is staged; zero: not known yet
	group      mssql.Group           // the availability group, as its primary sees it; zero: none, or not known
	// replicas are in the order in which they are changed and restarted: secondaries, the primary, and then the logins of
	// a contained group.
	replicas []replica
	// absent are members of the group that no replica stands for.
	absent    []string
	consumers []Consumer // gathered only when it is their turn
	fenced    bool       // nobody who read the auth Secret before the rollback can write it any more
}

// answer is what is known of a question to a server.
type answer int

const (
	unknown answer = iota
	yes
	no
)

// replica is one SQL Server and what it said when it was last asked.
type replica struct {
	Replica
	contained bool // its logins are those of a contained group, on the group's primary
	primary   bool
	connected bool // a session is open
	// next: whether the staged credential is the login's, and hash what the server said so of; zero: it shows none.
	next answer
	hash mssql.Hash
	// acknowledged: no login has proven that since the ALTER. The session that has made it may be the only one that the
	// server, or one of the servers behind its address, says so to.
	acknowledged bool
	// tried: a login with the staged credential was refused, and is not tried again before it is set again.
	tried bool
	// retired: whether the login that was switched away from has its retired password, with the hash of that login.
	retired     answer
	retiredHash mssql.Hash
	// expired: the live password is right, but has to be changed before anything else can be done with it.
	expired bool
	// verified: since the promotion, a fresh login with the new credential succeeded, and the previous one is refused.
	verified bool
	unproven bool // that the previous one is refused: the server cannot compare
	// refused: its pod could not be evicted when that was last tried in this run, for a disruption budget.
	refused bool
}

// stepKind names a step in the log, in metrics and in messages of a timeout.
type stepKind string

const (
	stepGather     stepKind = "gather"      // read the world; what every decision begins with
	stepReject     stepKind = "reject"      // the request may not run
	stepWait       stepKind = "wait"        // for what the step's error says
	stepConnect    stepKind = "connect"     // open a session on a replica with a credential that we know of
	stepRestore    stepKind = "restore"     // the live credential into an auth Secret that somebody has deleted
	stepStage      stepKind = "stage"       // the new credential into the keeper
	stepPause      stepKind = "pause"       // the KubeDB object
	stepApply      stepKind = "apply"       // the new password on a replica
	stepProve      stepKind = "prove"       // by one login, what a replica has acknowledged or, where it cannot compare, left open
	stepPromote    stepKind = "promote"     // the new credential into the auth Secret
	stepRepair     stepKind = "repair"      // note that the auth Secret was overwritten, so that it is promoted once more
	stepRestarts   stepKind = "restarts"    // list the pods that carry the old password
	stepEvict      stepKind = "evict"       // one of them
	stepAwaitPod   stepKind = "await"       // its successor
	stepAwaitGroup stepKind = "await-group" // the availability group, to be healthy again
	stepVerify     stepKind = "verify"      // a fresh login with the new credential, and the previous one refused
	stepResume     stepKind = "resume"      // the KubeDB object
	stepConsumers  stepKind = "consumers"   // restart those that use the auth Secret, or wait for them
	stepGrace      stepKind = "grace"       // the time in which both logins of a pair are valid
	stepRetire     stepKind = "retire"      // a password that nobody knows for the login that was switched away from
	stepSettle     stepKind = "settle"      // next becomes live in the keeper: the rotation has succeeded
	stepFence      stepKind = "fence"       // keep another agent from publishing what is rolled back
	stepRevert     stepKind = "revert"      // the live password on a replica that took the new one
	stepDiscard    stepKind = "discard"     // a staged credential that no replica accepts, of a rotation that has failed
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
	switch {
	case w.keeper.Next.IsZero():
		return begin(w)
	case len(w.strangers) > 0:
		return rejectOrWait(endpointsAllowed(w))
	case w.authLost() && !w.published() && !w.applied():
		return step{kind: stepRestore} // everybody still reads the live credential, and no pod starts without it
	case w.keeper.Failure != nil && !w.promoted():
		return revert(w)
	}
	return advance(w)
}

// begin decides while nothing is staged: refuse, wait, look at every replica, stage.
func begin(w world) step {
	for _, check := range preflight {
		if err := check(w); err != nil {
			return rejectOrWait(err)
		}
	}
	if w.authLost() && w.down() {
		return step{kind: stepRestore} // a pod may be waiting for it: a server that could say whether it is right comes after
	}
	if s, ok := connect(w); ok {
		return s
	}
	for _, check := range atTheServers {
		if err := check(w); err != nil {
			return rejectOrWait(err)
		}
	}
	if w.authLost() {
		return step{kind: stepRestore}
	}
	return step{kind: stepStage}
}

// advance decides from the staging to the end: change every replica, publish, restart, prove, settle.
func advance(w world) step {
	// What was published is kept published before anything is waited for: a pod does not start without the Secret.
	if w.published() && !w.promoted() {
		if s := publish(w); s.kind == stepRepair || s.kind == stepPromote {
			return s
		}
	}
	if s, ok := connect(w); ok {
		return s
	}
	if w.status.Phase.Finished() && !slices.ContainsFunc(w.replicas, func(r replica) bool { return r.next != no }) {
		return discard(w) // an earlier, failed rotation that changed nothing
	}
	if err := groupComplete(w); err != nil {
		return step{kind: stepWait, err: err}
	}
	for _, r := range w.replicas {
		switch {
		case r.next == yes && r.acknowledged, r.next == unknown && !r.tried:
			return step{kind: stepProve, target: r.Name}
		case r.next != yes:
			if s, ok := pause(w); ok {
				return s
			}
			return step{kind: stepApply, target: r.Name}
		}
	}
	if !w.promoted() {
		return publish(w)
	}
	return complete(w)
}

// publish decides when every replica accepts what is staged and the auth Secret does not hold it.
func publish(w world) step {
	if s, ok := pause(w); ok {
		return s
	}
	switch {
	case !w.published(), w.keeper.Repaired != nil && w.keeper.Repaired.Version == w.auth.version():
		return step{kind: stepPromote}
	case w.keeper.Repaired == nil:
		return step{kind: stepRepair}
	}
	return rejectOrWait(overwritten(w.auth, w.target.AuthSecret))
}

// complete decides after the promotion.
func complete(w world) step {
	if w.keeper.Restart == nil {
		return step{kind: stepRestarts}
	}
	if r := w.nextToRestart(); r.Name != "" {
		if s, ok := pause(w); ok {
			return s
		}
		if w.grouped() && !w.healthy() {
			return step{kind: stepAwaitGroup}
		}
		return step{kind: stepEvict, target: r.Name}
	}
	if len(w.keeper.Restart) > 0 && w.grouped() && !w.healthy() {
		return step{kind: stepAwaitGroup}
	}
	for _, r := range w.replicas {
		if !r.verified {
			return step{kind: stepVerify, target: r.Name}
		}
	}
	switch {
	case w.pausedByUs:
		return step{kind: stepResume}
	case w.consumersPending():
		return step{kind: stepConsumers}
	case !w.pair():
		return step{kind: stepSettle}
	}
	return retire(w)
}

// retire decides what becomes of the login that a pair was switched away from.
func retire(w world) step {
	if !w.keeper.retiring() {
		return step{kind: stepGrace}
	}
	for _, r := range w.replicas {
		if r.retired != yes {
			return step{kind: stepRetire, target: r.Name}
		}
	}
	return step{kind: stepSettle}
}

// revert decides while a rotation that cannot go on puts the live password back.
func revert(w world) step {
	if !w.fenced {
		return step{kind: stepFence}
	}
	for _, r := range w.replicas { // those that can be reached do not wait for those that cannot
		switch {
		case !r.connected:
		case r.next == no && r.acknowledged, r.next == unknown && !r.tried:
			return step{kind: stepProve, target: r.Name}
		case r.next != no:
			return step{kind: stepRevert, target: r.Name}
		}
	}
	if s, ok := connect(w); ok {
		return s
	}
	return discard(w)
}

func discard(w world) step {
	if w.pausedByUs {
		return step{kind: stepResume}
	}
	return step{kind: stepDiscard}
}

// connect asks for a session on each replica, and then for those that are missing: which those are, a group's primary
// knows. After the promotion, the successors of pods that were evicted are waited for first.
func connect(w world) (step, bool) {
	for _, r := range w.replicas {
		switch {
		case r.Ending, r.Endpoint.Address == "", w.starting(r):
			return step{kind: stepAwaitPod, target: r.Name}, true
		case !r.connected && !r.expired:
			return step{kind: stepConnect, target: r.Name}, true
		}
	}
	if w.incomplete() {
		return step{kind: stepAwaitPod, target: w.missingReplica()}, true
	}
	return step{}, false
}

// pause asks for KubeDB to be kept away, unless it is.
func pause(w world) (step, bool) {
	if w.pausedByUs || !w.target.KubeDB() {
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
