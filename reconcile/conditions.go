package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
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
	if w.target.KubeDB() {
		if !w.pausedByUs && !w.promoted() {
			return
		}
		set(condition(TypePaused, "Successfully paused database"))
	}
	set(condition(TypeUpdateCredential, r.status.Request.credentialMessage()))
	for _, replica := range w.replicas {
		// The credential was promoted only after every replica had said that it accepts it.
		if replica.next == yes || w.promoted() && replica.next == unknown {
			set(Condition{Type: TypeApplied + replica.Name, Status: "True", Reason: ReasonApplied, Message: replica.Name + " accepts the new credential"})
		}
	}
	if repaired := w.keeper.Repaired; repaired != nil {
		set(Condition{Type: TypeOverwritten, Status: "True", Reason: ReasonAuthSecretOverwritten,
			Message: fmt.Sprintf("%s overwrote the new credential in the Secret %s/%s; it is published once more, and once only", repaired.Writer, w.auth.Namespace, w.auth.Name)})
	}
	if !w.promoted() {
		return
	}
	set(condition(TypePromoted, fmt.Sprintf("the Secret %s/%s holds the new credential, and the previous one under %s.prev and %s.prev",
		w.auth.Namespace, w.auth.Name, w.target.AuthSecret.UsernameKey, w.target.AuthSecret.PasswordKey)))
	if w.keeper.Restart == nil {
		return
	}
	if w.target.KubeDB() {
		set(condition(TypeUpdatePetSets, "successfully reconciled the MSSQLServer with updated credentials"))
	}
	r.observeRestarts(w, set)
	if !r.observeVerified(w, set) {
		return
	}
	if r.status.Has(TypePaused) && !w.target.Paused {
		set(condition(TypeResumed, "Successfully resumed database"))
	}
	r.observeConsumers(w, set)
	r.observeRetired(w, set)
}

// credentialMessage says in the seed's words where the new credential comes from.
func (r Request) credentialMessage() string {
	switch {
	case r.Kind == manifest.KindRollback:
		return "Successfully took the previous credential up again"
	case r.SecretRef == "":
		return "Successfully generated new credentials"
	}
	return "Successfully referenced the user provided authSecret"
}

// observeRestarts reports the restart of each pod in the seed's words, which have no reason.
func (r *rotation) observeRestarts(w world, set func(Condition)) {
	gone := func(uid string) bool {
		return !slices.ContainsFunc(w.replicas, func(r replica) bool { return r.UID == uid && !r.Ending })
	}
	full := !w.incomplete() && !slices.ContainsFunc(w.replicas, func(r replica) bool { return !r.Ready })
	restarted := 0
	for _, name := range slices.Sorted(maps.Keys(w.keeper.Restart)) {
		pod := w.replica(name)
		step := func(kind, what, status string) {
			set(Condition{Type: kind + name, Status: status, Message: fmt.Sprintf("%s; ConditionStatus:%s; PodName:%s", what, status, name)})
		}
		step(TypeGetPod, "get pod", "True")
		if !gone(w.keeper.Restart[name]) {
			continue
		}
		step(TypeEvictPod, "evict pod", "True")
		// A Deployment's pod comes back under another name.
		if pod.UID == "" && !full || pod.UID != "" && !pod.Ready || pod.UID == w.keeper.Restart[name] {
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
	if w.incomplete() || slices.ContainsFunc(w.replicas, func(r replica) bool { return !r.verified }) {
		return false
	}
	set(condition(TypeVerified, fmt.Sprintf("a fresh login with the new credential opened %d of %d replicas", len(w.replicas), len(w.replicas))))
	unproven := 0
	for _, replica := range w.replicas {
		if replica.unproven {
			unproven++
		}
	}
	switch {
	case w.pair():
	case unproven == 0:
		set(condition(TypePreviousRejected, fmt.Sprintf("the previous credential is refused by %d of %d replicas, as the servers' own comparison says", len(w.replicas), len(w.replicas))))
	default:
		set(Condition{Type: TypePreviousRejected, Status: "Unknown", Reason: "CannotCompare",
			Message: fmt.Sprintf("%d of %d replicas cannot compare passwords; the previous one was replaced, and was not tried, for that would be a failed login", unproven, len(w.replicas))})
	}
	return true
}

// observeConsumers reports on the workloads that use the auth Secret.
func (r *rotation) observeConsumers(w world, set func(Condition)) {
	if r.status.Request.Consumers == nil || w.consumersPending() || w.pausedByUs {
		return
	}
	var done, idle []string
	for _, c := range w.consumers {
		if c.idle() {
			idle = append(idle, c.String())
			continue
		}
		done = append(done, c.String())
	}
	if len(idle) > 0 {
		set(Condition{Type: TypeConsumersRestarted, Status: "False", Reason: "NotAllVerified",
			Message: fmt.Sprintf("%d of %d run with the new credential; these run no pods, or do not replace them, and take it when they do: %s", len(done), len(w.consumers), strings.Join(idle, ", "))})
		return
	}
	message := "no Deployment, StatefulSet or DaemonSet uses the auth Secret"
	if len(done) > 0 {
		message = "these run with the new credential: " + strings.Join(done, ", ")
	}
	set(condition(TypeConsumersRestarted, message))
}

// observeRetired reports on the login that a pair was switched away from.
func (r *rotation) observeRetired(w world, set func(Condition)) {
	if !w.pair() || w.consumersPending() {
		return
	}
	due := w.keeper.Published.Add(w.target.GracePeriod)
	if retire(w).kind == stepGrace {
		set(Condition{Type: TypeRetired, Status: "False", Reason: "GracePeriod",
			Message: fmt.Sprintf("%q stays valid until %s", w.keeper.Live.Username, due.UTC().Format(time.RFC3339))})
		return
	}
	if retire(w).kind == stepSettle {
		set(condition(TypeRetired, fmt.Sprintf("%q has a password that nobody uses, until it is its turn again", w.keeper.Live.Username)))
	}
}

// stagedMessage says where the credential came from.
func stagedMessage(w world) string {
	if w.status.Request.Kind == manifest.KindRollback {
		return "the previous credential is staged in the keeper"
	}
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
		r.Cluster.Event(ctx, w.target, "Starting", "Start processing for MSSQLServerOpsRequest: "+request.Key())
	case c.Type == TypePaused:
		r.Cluster.Event(ctx, w.target, "Successful", fmt.Sprintf("Successfully paused MSSQLServer database: %s for MSSQLServerOpsRequest: %s", request.DatabaseKey(), request.Name))
	case c.Type == TypeResumed:
		r.Cluster.Event(ctx, w.target, "Successful", fmt.Sprintf("Successfully resumed MSSQLServer database: %s for MSSQLServerOpsRequest: %s", request.DatabaseKey(), request.Name))
	case strings.Contains(c.Type, "--") && c.Reason == "":
		r.Cluster.Event(ctx, w.target, c.Message, c.Message)
	case c.Type == TypeUpdatePetSets, c.Type == TypeRestartNodes:
		r.Cluster.Event(ctx, w.target, c.Reason, c.Message)
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
	return s.place() + ": " + message
}

// place is path:line; empty if it is not known.
func (s Source) place() string {
	if s.Path == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", s.Path, s.Line)
}
