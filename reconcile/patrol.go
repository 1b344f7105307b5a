package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/gitrota/gitrota/reconcile/mssql"
)

// patrolTimeout bounds one look: a request for the same database waits for its end.
const patrolTimeout = 30 * time.Second

// Patrol looks whether the auth Secret of a database at rest still holds what the last rotation put there, and what to
// do if it does not: a GitOps tool may have restored an old one, or an operator made a new one with a password of its
// own. The keeper and the servers say who is right. If they agree, the Secret is written once more, and once only:
// somebody who overwrites it again wants to be talked to, not fought with. It returns the last request's status, with
// what it found. It costs three reads as long as nothing is wrong, and at most one failed login a replica after a
// foreign write, for which somebody has changed the password as well.
func (e *Engine) Patrol(ctx context.Context, last Status) (Status, error) {
	r := e.rotation(Job{Status: last})
	defer r.closeSessions()
	ctx, cancel := context.WithTimeout(ctx, patrolTimeout)
	defer cancel()
	w, err := r.look(ctx)
	if err != nil || !w.keeper.Next.IsZero() || w.keeper.Live.IsZero() {
		return last, err
	}
	if w.auth.credential(w.target.AuthSecret) == w.keeper.Live.Credential {
		if r.status.Has(TypeOverwritten) {
			r.status.set(Condition{Type: TypeOverwritten, Status: "False", Reason: ReasonAuthSecretOverwritten,
				Message: fmt.Sprintf("the Secret %s/%s holds the live credential", w.auth.Namespace, w.auth.Name)}, e.Clock.Now())
		}
		return r.status, nil
	}
	verdict := w.keeper.Repaired
	fresh := verdict == nil || verdict.Mended && verdict.Version != w.auth.version()
	if fresh {
		if verdict, err = r.judgeOverwrite(ctx, w); err != nil {
			return last, err
		}
	}
	r.status.set(Condition{Type: TypeOverwritten, Status: "True", Reason: ReasonAuthSecretOverwritten, Message: verdict.message(w.auth)}, e.Clock.Now())
	if fresh {
		keeper := w.keeper
		keeper.Repaired = verdict
		keeper.journal(e.Owner, r.status, e.Clock.Now())
		if err := r.keep(ctx, keeper); err != nil {
			return last, err
		}
	}
	if verdict.Mended {
		if err := r.publish(ctx, w.auth, w.target.AuthSecret, w.keeper.Live, w.keeper.Previous.Credential); err != nil {
			return last, err
		}
	}
	e.Log.Warn("an auth Secret was overwritten", "secret", w.auth, "writer", verdict.Writer, "mended", verdict.Mended)
	return r.status, nil
}

// look reads what a patrol has to compare.
func (r *rotation) look(ctx context.Context) (w world, err error) {
	w = world{status: r.status}
	if w.target, err = r.Cluster.Target(ctx, r.status.Request); err != nil {
		return w, err
	}
	if w.auth, err = r.readAuth(ctx, w.target); err != nil {
		return w, err
	}
	w.keeper, r.keeperSecret, err = r.readKeeper(ctx, w.target.Namespace, w.target.AuthSecret.Name)
	return w, err
}

// judgeOverwrite finds out whether the servers are with the keeper. Nothing is written yet.
func (r *rotation) judgeOverwrite(ctx context.Context, w world) (*Overwrite, error) {
	verdict := &Overwrite{Version: w.auth.version(), Writer: w.auth.writer(w.target.AuthSecret), Again: w.keeper.Repaired != nil}
	if verdict.Again {
		return verdict, nil
	}
	if err := r.gatherAdmin(ctx, &w); err != nil {
		return nil, err
	}
	replicas, err := r.Cluster.Replicas(ctx, w.target)
	if err != nil {
		return nil, err
	}
	verdict.Mended = len(replicas) > 0
	for _, replica := range replicas {
		if !replica.Pod && !r.mayConnect(replica.Endpoint.Address) {
			return nil, endpointsAllowed(world{target: w.target, strangers: []string{replica.Endpoint.Address}})
		}
		is, err := r.isLive(ctx, w, replica)
		if err != nil {
			return nil, err
		}
		if !is {
			verdict.Mended = false
			break
		}
	}
	return verdict, nil
}

// isLive asks one replica whether the keeper's live credential is the login's.
func (r *rotation) isLive(ctx context.Context, w world, replica Replica) (bool, error) {
	login, live := w.keeper.Live.Credential, w.keeper.Live.Credential
	if !w.admin.IsZero() {
		login = w.admin
	}
	session, err := r.Servers.Open(ctx, replica.Endpoint, login)
	switch {
	case reasonOf(err) == mssql.ReasonRefusedLogin && w.admin.IsZero():
		return false, nil
	case err != nil:
		return false, err
	}
	defer session.Close()
	if w.admin.IsZero() {
		return true, nil
	}
	accepted, _, err := session.Accepts(ctx, live.Username, live.Password)
	if err != nil {
		return false, err
	}
	return accepted[0], nil
}

// message says what was found in the auth Secret, and what was done.
func (o *Overwrite) message(auth Secret) string {
	name := auth.Namespace + "/" + auth.Name
	switch {
	case o.Mended:
		return fmt.Sprintf("%s wrote another credential into the Secret %s than the one that the servers accept; gitrota has put that back, once", o.Writer, name)
	case o.Again:
		return fmt.Sprintf("%s has overwritten the Secret %s again, after gitrota had repaired it once; the servers accept live.password of the Secret %s%s; keep that writer off the Secret", o.Writer, name, name, KeeperSuffix)
	}
	return fmt.Sprintf("%s wrote another credential into the Secret %s, and the servers refuse the one that gitrota knows: the password was changed elsewhere, so nothing was done; the next rotation begins from what the Secret holds", o.Writer, name)
}
