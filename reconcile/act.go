package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// act takes one step. Each step may be taken again: it leads to the same state, or finds itself refused by a
// conditional write.
func (r *rotation) act(ctx context.Context, w world, s step) error {
	ctx, cancel := r.stepContext(ctx, s)
	defer cancel()
	began := r.Clock.Now()
	err := r.steps()[s.kind](ctx, w, s)
	r.observeStep(s, began, err)
	if err == nil {
		r.Log.Info("step done", "request", r.status.Request.Key(), "database", r.status.Request.Database, "step", s)
	}
	return err
}

// observeStep tells how long a step took.
func (r *rotation) observeStep(s step, began time.Time, err error) {
	if r.Observe != nil {
		r.Observe(string(s.kind), r.Clock.Now().Sub(began), err)
	}
}

func (r *rotation) steps() map[stepKind]func(context.Context, world, step) error {
	return map[stepKind]func(context.Context, world, step) error{
		stepReject:   func(_ context.Context, _ world, s step) error { return s.err },
		stepWait:     func(_ context.Context, _ world, s step) error { return s.err },
		stepConnect:  r.connect,
		stepStage:    r.stage,
		stepPause:    r.pause,
		stepApply:    r.apply,
		stepPromote:  r.promote,
		stepRestarts: r.listRestarts,
		stepEvict:    r.evict,
		stepAwaitPod: r.awaitPod,
		stepVerify:   r.verify,
		stepResume:   r.resume,
		stepSettle:   r.settle,
		stepDiscard:  r.discard,
	}
}

// connect opens a session on a replica with the first credential that it accepts. A refused credential is not tried a
// second time, so that a rotation costs a replica one failed login at most where the keeper is true.
func (r *rotation) connect(ctx context.Context, w world, s step) error {
	pod := w.replica(s.target).Replica
	refused := r.refused[pod.UID]
	if refused == nil {
		refused = map[credential.Credential]bool{}
		r.refused[pod.UID] = refused
	}
	logins := candidates(w, pod.Name)
	if len(refused) == 0 && len(logins) > 1 && !w.keeper.Next.IsZero() {
		// Which of the two it is, only a login can tell, and it may be refused. Should this run die of it, the next one
		// begins with the other.
		keeper := w.keeper
		keeper.TryFirst = maps.Clone(keeper.TryFirst)
		if keeper.TryFirst == nil {
			keeper.TryFirst = map[string]string{}
		}
		keeper.TryFirst[pod.Name] = keyNext
		if logins[0] == w.keeper.Next.Credential {
			keeper.TryFirst[pod.Name] = keyLive
		}
		if err := r.writeKeeper(ctx, keeper, r.keeperSecret); err != nil {
			return err
		}
	}
	for _, login := range logins {
		if refused[login] {
			continue
		}
		session, err := r.Servers.Open(ctx, endpoint(w, pod), login)
		if err == nil {
			h := &held{Session: session, login: login}
			if !w.promoted() {
				// The change will want a session of its own. Opened now, it cannot be refused because somebody was quicker.
				h.spare, _ = r.Servers.Open(ctx, endpoint(w, pod), login)
			}
			r.sessions[pod.UID] = h
			return nil
		}
		if fault.As(err).Reason != mssql.ReasonRefusedLogin {
			return err
		}
		refused[login] = true
	}
	if !r.raced[pod.UID] {
		// Another agent may have staged or changed the password since the world was read. What is known by now is looked
		// at once more; a credential that was refused is asked again only if it is one of two of which one must be right.
		r.raced[pod.UID] = true
		if len(logins) > 1 && !w.keeper.Next.IsZero() {
			delete(r.refused, pod.UID)
		}
		return fmt.Errorf("%s refused every credential: %w", pod.Name, ErrConflict)
	}
	return fault.New(fault.Stop, mssql.ReasonRefusedLogin,
		"find the password that the server accepts, put it into the auth Secret, and add a new request",
		"%s refused the login of %q with every credential that gitrota knows (error 18456): the Secret %s/%s does not hold the password that the server has; it was tried once and will not be tried again",
		pod.Name, w.auth.credential(w.db.AuthSecret).Username, w.db.Namespace, w.db.AuthSecret.Name)
}

// stage makes the new credential durable before any server hears of it.
func (r *rotation) stage(ctx context.Context, w world, _ step) error {
	next, err := r.newCredential(w.live, w.supplied)
	if err != nil {
		return err
	}
	keeper := w.keeper
	if keeper.Live.Credential != w.live {
		// The server accepted what the auth Secret holds, and not what the keeper took for the live credential.
		keeper.Previous = keeper.Live
		keeper.Live = Entry{Credential: w.live}
	}
	keeper.Next = Entry{Credential: next, RotationID: r.status.Request.ID}
	keeper.Restart, keeper.TryFirst = nil, nil
	for _, skipped := range r.job.Superseded {
		keeper.remember(skipped, r.Clock.Now())
	}
	status := r.status.clone()
	status.set(condition(TypeStaged, stagedMessage(w)), r.Clock.Now())
	keeper.Record = &status
	return r.writeKeeper(ctx, keeper, r.keeperSecret)
}

func (r *rotation) pause(ctx context.Context, w world, _ step) error {
	request := r.status.Request
	r.Cluster.Event(ctx, w.db, "Starting", "Pausing MSSQLServer database: "+request.DatabaseKey())
	return r.Cluster.Pause(ctx, w.db, r.pauseReason(request))
}

// apply changes the password on one replica. It uses a session of its own: should the connection break before the
// answer, the other session is still authenticated and tells what happened. The next gathering reads the result back.
func (r *rotation) apply(ctx context.Context, w world, s step) error {
	pod := w.replica(s.target).Replica
	h := r.sessions[pod.UID]
	session := h.spare
	h.spare = nil
	if session == nil {
		var err error
		session, err = r.Servers.Open(ctx, endpoint(w, pod), h.login)
		if err != nil && fault.As(err).Reason == mssql.ReasonRefusedLogin && !r.refused[pod.UID][h.login] {
			// It was accepted a moment ago, so somebody has changed the password since: another agent with the same
			// staged credential, most likely. The open session tells.
			r.refused[pod.UID][h.login] = true
			return fmt.Errorf("%s has another password by now: %w", pod.Name, ErrConflict)
		}
		if err != nil {
			return err
		}
	}
	defer session.Close()
	return session.SetPassword(ctx, w.keeper.Next.Username, w.keeper.Next.Password, credential.Password{})
}

// The keys and annotations of an auth Secret (ops.kubedb.com and kubedb.com, apimachinery's constants).
const (
	keyUsernamePrevious  = "username.prev"
	keyPasswordPrevious  = "password.prev"
	annotationActiveFrom = "kubedb.com/auth-active-from"
	annotationRotation   = "gitrota.dev/rotation-id"
)

// promote publishes the new credential in one write, which keeps the auth Secret's name and its other keys.
func (r *rotation) promote(ctx context.Context, w world, _ step) error {
	secret := w.auth.clone()
	if secret.Data == nil {
		secret.Data = map[string]credential.Password{}
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Data["username"] = credential.NewPassword(w.keeper.Next.Username)
	secret.Data["password"] = w.keeper.Next.Password
	secret.Data[keyUsernamePrevious] = credential.NewPassword(w.keeper.Live.Username)
	secret.Data[keyPasswordPrevious] = w.keeper.Live.Password
	secret.Annotations[annotationActiveFrom] = r.Clock.Now().UTC().Format(time.RFC3339)
	secret.Annotations[annotationRotation] = w.keeper.Next.RotationID
	if secret.UID == "" {
		// Somebody deleted it while the rotation ran. Users wait for this name, so it comes back.
		secret.Type = "kubernetes.io/basic-auth"
		_, err := r.Cluster.CreateSecret(ctx, secret)
		return err
	}
	_, err := r.Cluster.UpdateSecret(ctx, secret)
	return err
}

// listRestarts remembers which pods run with the old password. Should the run be killed before this is written, the
// list is made later and may name a pod that has started since: it is restarted once more than needed.
func (r *rotation) listRestarts(ctx context.Context, w world, _ step) error {
	keeper := w.keeper
	keeper.Restart = map[string]string{}
	for _, replica := range w.replicas {
		if slices.Contains(replica.PasswordFrom, w.db.AuthSecret.Name) {
			keeper.Restart[replica.Name] = replica.UID
		}
	}
	status := r.status.clone()
	keeper.Record = &status
	return r.writeKeeper(ctx, keeper, r.keeperSecret)
}

func (r *rotation) evict(ctx context.Context, w world, s step) error {
	return r.Cluster.Evict(ctx, w.replica(s.target).Replica)
}

func (r *rotation) awaitPod(_ context.Context, w world, s step) error {
	what := "is not ready"
	switch pod := w.replica(s.target).Replica; {
	case pod.Name == "":
		what = "is not there"
	case pod.Ending:
		what = "has not ended"
	}
	return fault.New(fault.Wait, mssql.ReasonUnreachable, "see kubectl describe pod "+s.target, "the pod %s/%s %s yet", w.db.Namespace, s.target, what)
}

// verify proves the new credential with a fresh login, and the previous one's refusal by comparison.
func (r *rotation) verify(ctx context.Context, w world, s step) error {
	pod := w.replica(s.target).Replica
	next, live := w.keeper.Next.Credential, w.keeper.Live.Credential
	session, err := r.Servers.Open(ctx, endpoint(w, pod), next)
	if err != nil {
		return err
	}
	accepted, err := session.Accepts(ctx, next.Username, next.Password, live.Password)
	if err != nil {
		session.Close()
		return err
	}
	if !accepted[0] || accepted[1] {
		session.Close()
		return fault.New(fault.Stop, ReasonNotVerified, "look at who else changes this login",
			"%s opened with the new credential, but accepts the previous one too, or not the new one alone", pod.Name)
	}
	r.drop(pod.UID)
	r.sessions[pod.UID] = &held{Session: session, login: next}
	r.verified[pod.UID] = true
	return nil
}

func (r *rotation) resume(ctx context.Context, w world, _ step) error {
	r.Cluster.Event(ctx, w.db, "Starting", "Resuming MSSQLServer database: "+r.status.Request.DatabaseKey())
	return r.Cluster.Resume(ctx, w.db, w.db.PauseReason)
}

// settle ends a rotation that succeeded: from here on the new credential is the live one.
func (r *rotation) settle(ctx context.Context, w world, _ step) error {
	keeper := w.keeper
	keeper.settle()
	status := r.status.clone()
	if !status.Phase.Finished() {
		status.Phase = PhaseSuccessful
		status.set(condition(TypeSuccessful, "Successfully completed mssqlserver auth rotate"), r.Clock.Now())
	}
	keeper.end(status, r.Clock.Now())
	if err := r.writeKeeper(ctx, keeper, r.keeperSecret); err != nil {
		return err
	}
	r.status = status
	r.report()
	r.Cluster.Event(ctx, w.db, "Successful", "Successfully completed mssqlserver auth rotate for MSSQLServerOpsRequest: "+r.status.Request.Name)
	return nil
}

// discard ends an earlier, failed rotation whose staged credential no replica accepts.
func (r *rotation) discard(ctx context.Context, w world, _ step) error {
	keeper := w.keeper
	keeper.drop()
	if err := r.writeKeeper(ctx, keeper, r.keeperSecret); err != nil {
		return err
	}
	if !w.pausedByUs {
		return nil
	}
	return r.Cluster.Resume(ctx, w.db, w.db.PauseReason)
}

// fail ends the request with a status that says why. Before that it sees to what must not stay behind: a staged
// credential is settled, dropped or kept by what the replicas say, the outcome is in the keeper, and the database is
// resumed. An outage of the API server is waited for. It returns cause, or nil if nothing is left staged.
func (r *rotation) fail(ctx context.Context, cause *fault.Error) error {
	var left error
	for pauses := 0; ctx.Err() == nil; pauses++ {
		var err error
		if left, err = r.conclude(ctx, cause); err == nil {
			r.report()
			return left
		}
		r.Log.Warn("recording a failure does not go on", "request", r.status.Request.Key(), "error", err)
		r.Clock.Sleep(ctx, min(100*time.Millisecond<<min(pauses, 10), 2*time.Second))
	}
	return ctx.Err()
}

func (r *rotation) conclude(ctx context.Context, cause *fault.Error) (left, err error) {
	bounded, cancel := context.WithTimeout(ctx, r.status.Request.stepTimeout())
	defer cancel()
	delete(r.attempts, step{kind: stepGather}) // what the rotation has used of its time is not the conclusion's
	w, err := r.gather(bounded)
	var classified *fault.Error
	var other *otherStaged
	switch {
	case errors.As(err, &classified), errors.As(err, &other):
		// The database is gone, or its keeper is not this rotation's to write: there is nothing to conclude.
		r.end(cause)
		return nil, nil
	case err != nil:
		return nil, err
	}
	keeper, staged := w.keeper, !w.keeper.Next.IsZero()
	recovery := ""
	switch verdict := conclude(w); {
	case !staged:
	case verdict == settleStaged:
		keeper.settle()
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
		r.end(cause)
	}
	// A request that ends before anything was staged leaves the cluster as it found it. A refused login is the exception:
	// it is remembered, so that not even a killed agent tries a second time.
	if staged || cause.Reason == mssql.ReasonRefusedLogin && w.auth.UID != "" {
		keeper.end(r.status, r.Clock.Now())
		if err := r.writeKeeper(bounded, keeper, r.keeperSecret); err != nil {
			return nil, err
		}
	}
	if w.pausedByUs {
		if err := r.Cluster.Resume(bounded, w.db, w.db.PauseReason); err != nil {
			return nil, err
		}
	}
	r.Cluster.Event(bounded, w.db, string(r.status.Phase), cause.Error())
	return left, nil
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
		switch {
		case r.connected && r.acceptsNext:
			key = "next.password"
		case r.connected:
			key = "live.password"
		}
		fmt.Fprintf(&b, "%s opens with %s; ", r.Name, key)
	}
	if len(w.replicas) < w.db.Replicas {
		fmt.Fprintf(&b, "%s is not there, it opens with either next.password or live.password; ", w.absent())
	}
	fmt.Fprintf(&b, "the keys are in the Secret %s/%s, nothing was discarded. Read one with: kubectl -n %s get secret %s -o go-template='{{index .data \"next.password\" | base64decode}}'. A new request takes this one's credential to its end first",
		keeper.Namespace, keeper.Name, keeper.Namespace, keeper.Name)
	return b.String()
}

// replica finds a replica by its pod's name; the zero replica if there is none.
func (w world) replica(name string) replica {
	i := slices.IndexFunc(w.replicas, func(r replica) bool { return r.Name == name })
	if i < 0 {
		return replica{}
	}
	return w.replicas[i]
}
