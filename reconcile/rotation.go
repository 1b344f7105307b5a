package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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

	keeperSecret Secret // as read, for the next conditional write
	sessions     map[string]*held
	refused      map[string]map[credential.Credential]bool // by pod UID: never tried twice
	raced        map[string]bool                           // by pod UID: a refusal was put down to another agent
	verified     map[string]bool                           // by pod UID
	supplied     *Supplied
	missing      *[]string
	attempts     map[step]*attempt
}

// held is an open session and the credential that opened it.
type held struct {
	Session
	spare Session // a second one, for the change itself; nil after its use, or if it could not be had
	login credential.Credential
}

// Close ends both sessions.
func (h *held) Close() {
	h.Session.Close()
	if h.spare != nil {
		h.spare.Close()
	}
}

// attempt counts the tries of a step that has not succeeded yet.
type attempt struct {
	began    time.Time
	failures int
	pauses   int
	last     *fault.Error
}

func (e *Engine) rotation(job Job) *rotation {
	return &rotation{
		Engine: e, job: job, status: job.Status.clone(),
		sessions: map[string]*held{}, refused: map[string]map[credential.Credential]bool{},
		raced: map[string]bool{}, verified: map[string]bool{}, attempts: map[step]*attempt{},
	}
}

// run gathers, decides and acts until the request has ended. A nil error means that nothing is staged any more and the
// status says how it ended.
func (r *rotation) run(ctx context.Context) error {
	defer r.closeSessions()
	for ctx.Err() == nil {
		next := step{kind: stepGather}
		began := r.Clock.Now()
		w, err := r.gather(ctx)
		r.observeStep(next, began, err)
		if err == nil {
			delete(r.attempts, next.key())
			if r.endedBefore(w) {
				return nil
			}
			next = decide(w)
			if cause := r.exhausted(next); cause != nil {
				return r.fail(ctx, cause)
			}
			r.observe(w, next)
			err = r.act(ctx, w, next)
		}
		if err == nil {
			r.progressed(next)
			if next.kind == stepSettle || next.kind == stepDiscard {
				return nil
			}
			continue
		}
		var other *otherStaged
		if errors.As(err, &other) {
			return err
		}
		if final := r.judge(ctx, next, err); final != nil {
			return r.fail(ctx, final)
		}
	}
	return ctx.Err()
}

// key identifies a step over its tries.
func (s step) key() step { return step{kind: s.kind, target: s.target} }

// endedBefore takes the status over from the keeper if this rotation has ended before: it runs at most once, whatever
// has become of its status in Git.
func (r *rotation) endedBefore(w world) bool {
	ended, ok := w.keeper.finished(r.status.Request.ID)
	if !ok || !w.keeper.Next.IsZero() {
		return false
	}
	if record := w.keeper.Record; record != nil && record.Request.ID == ended.ID {
		source := r.status.Request.Source
		r.status = record.clone()
		if r.status.Request.Source.Commit == "" {
			r.status.Request.Source = source
		}
	} else {
		r.status.Phase = ended.Phase
		r.status.set(Condition{
			Type: string(ended.Phase), Status: "True", Reason: string(ended.Phase),
			Message: fmt.Sprintf("this rotation ended at %s, as the keeper remembers; nothing was done again", ended.At.Format(time.RFC3339)),
		}, r.Clock.Now())
	}
	r.report()
	return true
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
		if a := r.attempts[key]; a != nil && a.failures > r.status.Request.MaxRetries {
			return a.last
		}
	}
	return nil
}

// progressed forgets the failures that a success has made up for, and what was waited for before it.
func (r *rotation) progressed(s step) {
	delete(r.attempts, s.key())
	if s.kind != stepConnect {
		delete(r.attempts, sessionLost(s.target))
	}
	maps.DeleteFunc(r.attempts, func(waited step, _ *attempt) bool {
		return waited.kind == stepWait || waited.kind == stepAwaitPod
	})
}

// delayFirst is the time before a step is tried for the second time; further ones wait longer.
const delayFirst = 100 * time.Millisecond

// judge decides whether a step that failed is tried again. It sleeps before a further try and returns nil, or returns
// why the request ends here.
func (r *rotation) judge(ctx context.Context, s step, err error) *fault.Error {
	now := r.Clock.Now()
	a := r.attempts[s.key()]
	if a == nil {
		a = &attempt{began: now}
		r.attempts[s.key()] = a
	}
	delay := min(delayFirst<<min(a.pauses, 10), 2*time.Second)
	a.pauses++
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
		a.failures++
	}
	switch {
	case cause.Class == fault.Refuse, cause.Class == fault.Stop:
		return cause
	case left < delayFirst:
		timedOut, what := *cause, cause.Message
		if before != nil && errors.Is(cause, context.DeadlineExceeded) {
			// The end of its time has cut this try short, perhaps as it had just begun: the one before it tells more.
			timedOut, what = *before, before.Message+" (the last try had no answer yet when the time was over)"
		}
		timedOut.Class, timedOut.Reason = fault.Refuse, ReasonTimeout
		timedOut.Message = fmt.Sprintf("the step %q did not end within its timeout of %s: %s", s, timeout, what)
		return &timedOut
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

// gather reads the world.
func (r *rotation) gather(ctx context.Context) (world, error) {
	ctx, cancel := r.stepContext(ctx, step{kind: stepGather})
	defer cancel()
	request := r.status.Request
	w := world{status: r.status}
	var err error
	if w.db, err = r.Cluster.Database(ctx, request.Namespace, request.Database); errors.Is(err, ErrNotFound) {
		return w, fault.New(fault.Refuse, ReasonDatabaseNotFound, "check spec.databaseRef.name and the namespace",
			"there is no MSSQLServer %s", request.DatabaseKey())
	} else if err != nil {
		return w, err
	}
	w.pausedByUs = r.hasPaused(w.db)
	if w.auth, err = r.Cluster.Secret(ctx, w.db.Namespace, w.db.AuthSecret); errors.Is(err, ErrNotFound) {
		w.auth = Secret{Namespace: w.db.Namespace, Name: w.db.AuthSecret}
	} else if err != nil {
		return w, err
	}
	if w.keeper, r.keeperSecret, err = r.readKeeper(ctx, w.db); err != nil {
		return w, err
	}
	if !w.keeper.Next.IsZero() && w.keeper.Next.RotationID != request.ID {
		if err := pausedByOther(w); err != nil {
			return w, err // whoever staged it is at work
		}
		return w, &otherStaged{record: *w.keeper.Record}
	}
	if !w.keeper.Next.IsZero() {
		r.adopt(*w.keeper.Record)
		w.status = r.status
	} else if err := r.gatherBeforeStaging(ctx, &w); err != nil {
		return w, err
	}
	return w, r.gatherReplicas(ctx, &w)
}

// adopt takes over what an earlier run of the same rotation recorded: what was staged is what runs, whatever has become
// of its manifest. The longer list of conditions is the newer one; Git may have had the later word.
func (r *rotation) adopt(record Status) {
	r.status.Request = record.Request
	if len(record.Conditions) > len(r.status.Conditions) {
		r.status = record.clone()
	}
}

// gatherBeforeStaging reads, once, what only a rotation that has not begun wants to know.
func (r *rotation) gatherBeforeStaging(ctx context.Context, w *world) error {
	if r.missing == nil {
		missing, err := r.Cluster.Missing(ctx, w.db.Namespace)
		if err != nil {
			return err
		}
		r.missing = &missing
	}
	if r.supplied == nil && r.status.Request.SecretRef != "" {
		supplied := r.job.Supplied(ctx)
		if errors.Is(supplied.Err, ErrAPIUnavailable) {
			return supplied.Err
		}
		r.supplied = &supplied
	}
	w.missing = *r.missing
	if r.supplied != nil {
		w.supplied = *r.supplied
	}
	return nil
}

// askTimeout bounds a question on an open session; a server that takes longer is as good as gone.
const askTimeout = 10 * time.Second

// gatherReplicas lists the replicas and asks those to which a session is open.
func (r *rotation) gatherReplicas(ctx context.Context, w *world) error {
	pods, err := r.Cluster.Pods(ctx, w.db)
	if err != nil {
		return err
	}
	login := w.keeper.Next.Username
	if login == "" {
		login = w.auth.credential().Username
	}
	for _, pod := range pods {
		state := replica{Pod: pod, verified: r.verified[pod.UID]}
		if session := r.sessions[pod.UID]; session != nil && (pod.Ending || pod.Address == "") {
			r.drop(pod.UID)
		} else if session != nil {
			ask, cancel := context.WithTimeout(ctx, askTimeout)
			accepted, err := session.Accepts(ask, login, w.keeper.Next.Password)
			cancel()
			if err == nil {
				state.connected, state.acceptsNext, w.live = true, accepted[0], session.login
			} else {
				r.lose(pod, err)
			}
		}
		w.replicas = append(w.replicas, state)
	}
	return nil
}

// lose gives a session up that does not answer any more.
func (r *rotation) lose(pod Pod, err error) {
	r.Log.Info("a session was lost", "replica", pod.Name, "error", err)
	r.drop(pod.UID)
	a := r.attempts[sessionLost(pod.Name)]
	if a == nil {
		a = &attempt{began: r.Clock.Now()}
		r.attempts[sessionLost(pod.Name)] = a
	}
	a.failures++
	a.last = fault.As(err)
}

func (r *rotation) drop(uid string) {
	if session := r.sessions[uid]; session != nil {
		session.Close()
		delete(r.sessions, uid)
	}
}

func (r *rotation) closeSessions() {
	for uid := range r.sessions {
		r.drop(uid)
	}
}

func endpoint(w world, pod Pod) mssql.Endpoint {
	return mssql.Endpoint{Name: pod.Name, Address: pod.Address, ServerName: pod.ServerName, RootCAs: w.db.RootCAs}
}

// candidates lists the credentials that may open a replica, the likeliest first.
func candidates(w world, replica string) []credential.Credential {
	var list []credential.Credential
	switch {
	case w.promoted():
		list = append(list, w.keeper.Next.Credential)
	case !w.keeper.Next.IsZero():
		list = append(list, w.keeper.Live.Credential, w.keeper.Next.Credential)
		if w.keeper.TryFirst[replica] == keyNext {
			slices.Reverse(list)
		}
	case w.keeper.Live.IsZero():
		list = append(list, w.auth.credential())
	default:
		// The keeper's is what every replica accepted last; the auth Secret is shared ground.
		list = append(list, w.keeper.Live.Credential, w.auth.credential())
	}
	return slices.Compact(list)
}
