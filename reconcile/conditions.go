package reconcile

import (
	"context"
	"fmt"
	"strings"
)

// condition makes a True condition whose reason is its type.
func condition(kind, message string) Condition {
	return Condition{Type: kind, Status: "True", Reason: kind, Message: message}
}

// observe turns what the world shows into conditions. They follow from what is, not from what this run did, so that a
// run which goes on after a crash reports the steps of the one before it as well.
func (r *rotation) observe(w world, next step) {
	if r.status.Phase.Finished() {
		return
	}
	changed := false
	set := func(c Condition) {
		if r.status.set(c, r.Clock.Now()) {
			changed = true
			r.announce(w, c)
		}
	}
	staged := !w.keeper.Next.IsZero()
	switch next.kind {
	case stepReject:
		return
	case stepWait:
		set(Condition{Type: TypeWaiting, Status: "True", Reason: next.err.Reason, Message: r.status.Request.Source.locate(next.err.Error())})
		if !staged && r.status.Phase != PhasePending {
			r.status.Phase, changed = PhasePending, true
		}
	default:
		if r.status.Has(TypeWaiting) {
			set(Condition{Type: TypeWaiting, Status: "False", Reason: "Over", Message: "the wait is over"})
		}
		if r.status.Phase != PhaseProgressing {
			r.status.Phase, changed = PhaseProgressing, true
		}
		set(condition(TypeRotateAuth, "MSSQLServer ops-request has started to rotate auth for mssqlserver nodes"))
	}
	if staged {
		r.observeStaged(w, set)
	}
	if changed {
		r.report()
	}
}

// observeStaged sets the conditions of a rotation whose credential is staged, in the order of its steps.
func (r *rotation) observeStaged(w world, set func(Condition)) {
	if !r.status.Has(TypeStaged) {
		set(condition(TypeStaged, stagedMessage(w)))
	}
	if !w.pausedByUs && !w.promoted() {
		return
	}
	set(condition(TypePaused, "Successfully paused database"))
	if r.status.Request.SecretRef == "" {
		set(condition(TypeUpdateCredential, "Successfully generated new credentials"))
	} else {
		set(condition(TypeUpdateCredential, "Successfully referenced the user provided authSecret"))
	}
	for i := range w.db.Replicas {
		name := fmt.Sprintf("%s-%d", w.db.Name, i)
		// The credential was promoted only after every replica had said that it accepts it.
		if w.replica(name).acceptsNext || w.promoted() {
			set(Condition{Type: TypeApplied + name, Status: "True", Reason: ReasonApplied, Message: name + " accepts the new credential"})
		}
	}
	if !w.promoted() {
		return
	}
	set(condition(TypePromoted, fmt.Sprintf("the Secret %s/%s holds the new credential, and the previous one under username.prev and password.prev", w.auth.Namespace, w.auth.Name)))
	if w.keeper.Restart == nil {
		return
	}
	set(condition(TypeUpdatePetSets, "successfully reconciled the MSSQLServer with updated credentials"))
	r.observeRestarts(w, set)
	if r.observeVerified(w, set) && r.status.Has(TypePaused) && !w.db.Paused {
		set(condition(TypeResumed, "Successfully resumed database"))
	}
}

// observeRestarts reports the restart of each pod in the seed's words, which have no reason.
func (r *rotation) observeRestarts(w world, set func(Condition)) {
	restarted := 0
	for i := range w.db.Replicas {
		name := fmt.Sprintf("%s-%d", w.db.Name, i)
		old, listed := w.keeper.Restart[name]
		if !listed {
			continue
		}
		pod := w.replica(name)
		step := func(kind, what, status string) {
			set(Condition{Type: kind + name, Status: status, Message: fmt.Sprintf("%s; ConditionStatus:%s; PodName:%s", what, status, name)})
		}
		step(TypeGetPod, "get pod", "True")
		if pod.UID == old && !pod.Ending {
			continue
		}
		step(TypeEvictPod, "evict pod", "True")
		if pod.UID == "" || pod.UID == old || !pod.Ready {
			step(TypeCheckPodRunning, "check pod running", "False")
			continue
		}
		step(TypeCheckPodRunning, "check pod running", "True")
		restarted++
	}
	switch {
	case len(w.keeper.Restart) == 0:
		set(condition(TypeRestartNodes, "No node had to be restarted: none carries the password in its environment"))
	case restarted == len(w.keeper.Restart):
		set(condition(TypeRestartNodes, "Successfully restarted all nodes"))
	}
}

func (r *rotation) observeVerified(w world, set func(Condition)) bool {
	if len(w.replicas) < w.db.Replicas {
		return false
	}
	for _, replica := range w.replicas {
		if !replica.verified {
			return false
		}
	}
	set(condition(TypeVerified, fmt.Sprintf("a fresh login with the new credential opened %d of %d replicas", len(w.replicas), w.db.Replicas)))
	set(condition(TypePreviousRejected, fmt.Sprintf("the previous credential is refused by %d of %d replicas, as the servers' own comparison says", len(w.replicas), w.db.Replicas)))
	return true
}

// stagedMessage says where the credential came from.
func stagedMessage(w world) string {
	if w.supplied.From != "" {
		return "the credential from the Secret (" + w.supplied.From + ") is staged in the keeper"
	}
	return "the new credential is staged in the keeper"
}

// announce sends the events that KubeDB sends for a condition. Success is Normal here; KubeDB warns of it.
func (r *rotation) announce(w world, c Condition) {
	ctx := context.Background()
	request := r.status.Request
	switch {
	case c.Type == TypeRotateAuth:
		r.Cluster.Event(ctx, w.db, "Starting", "Start processing for MSSQLServerOpsRequest: "+request.Key())
	case c.Type == TypePaused:
		r.Cluster.Event(ctx, w.db, "Successful", fmt.Sprintf("Successfully paused MSSQLServer database: %s for MSSQLServerOpsRequest: %s", request.DatabaseKey(), request.Name))
	case c.Type == TypeResumed:
		r.Cluster.Event(ctx, w.db, "Successful", fmt.Sprintf("Successfully resumed MSSQLServer database: %s for MSSQLServerOpsRequest: %s", request.DatabaseKey(), request.Name))
	case strings.Contains(c.Type, "--") && c.Reason == "":
		r.Cluster.Event(ctx, w.db, c.Message, c.Message)
	case c.Type == TypeUpdatePetSets, c.Type == TypeRestartNodes:
		r.Cluster.Event(ctx, w.db, c.Reason, c.Message)
	}
}

// report hands out the status as it is now.
func (r *rotation) report() {
	if r.job.Report != nil {
		r.job.Report(r.status.clone())
	}
}

// locate puts a message behind the place of the request that it is about, as compilers do.
func (s Source) locate(message string) string {
	if s.Path == "" {
		return message
	}
	return fmt.Sprintf("%s:%d: %s", s.Path, s.Line, message)
}
