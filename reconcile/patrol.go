package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// patrolTimeout bounds one look: a request for the same database waits for its end.
const patrolTimeout = 30 * time.Second

// Patrol looks whether the auth Secret of a database at rest still holds what gitrota published there, and what to do if
// it does not: a GitOps tool may have restored an old one, or an operator made a new one with a password of its own. The
// keeper and the servers say who is right. If they agree, the Secret is written once more, and once only: somebody who
// overwrites it again wants to be talked to, not fought with. With ask, it also asks the servers whether they accept what
// everybody reads; see [rotation.inspect]. It returns the last request's status, with what it found.
//
// It costs three reads as long as nothing is wrong, and at most one failed login a replica after a foreign write, for
// which somebody has changed the password as well. To ask costs a replica one login.
func (e *Engine) Patrol(ctx context.Context, last Status, ask bool) (Status, error) {
	r := e.rotation(Job{Status: last})
	defer r.closeSessions()
	ctx, cancel := context.WithTimeout(ctx, patrolTimeout)
	defer cancel()
	w, err := r.look(ctx)
	if err != nil || w.keeper.Live.IsZero() {
		return last, err
	}
	if w.inOrder() {
		if r.status.Has(TypeOverwritten) {
			r.status.set(Condition{Type: TypeOverwritten, Status: "False", Reason: ReasonAuthSecretOverwritten,
				Message: fmt.Sprintf("the Secret %s/%s holds the live credential", w.auth.Namespace, w.auth.Name)}, e.Clock.Now())
		}
		if ask && w.keeper.Next.IsZero() {
			err = r.inspect(ctx, w)
		}
		return r.status, err
	}
	verdict := w.keeper.Repaired
	fresh := verdict == nil || verdict.Mended && verdict.Version != w.auth.version()
	if fresh {
		if verdict, err = r.judgeOverwrite(ctx, w); err != nil {
			return last, err
		}
	}
	key, published, before := w.publishedEntry()
	r.status.set(Condition{Type: TypeOverwritten, Status: "True", Reason: ReasonAuthSecretOverwritten, Message: verdict.message(w.auth, key)}, e.Clock.Now())
	if fresh {
		keeper := w.keeper
		keeper.Repaired = verdict
		keeper.journal(e.Owner, r.status, e.Clock.Now())
		if err := r.keep(ctx, keeper); err != nil {
			return last, err
		}
	}
	if verdict.Mended {
		if err := r.publish(ctx, w.auth, w.target.AuthSecret, published, before.Credential); err != nil {
			return last, err
		}
	}
	e.Log.Warn("an auth Secret was overwritten", "secret", w.auth, "writer", verdict.Writer, "mended", verdict.Mended)
	return r.status, nil
}

// inOrder reports whether the auth Secret holds a credential that gitrota published. While something is staged that is
// either of two: where a rotation stands, it knows itself.
func (w world) inOrder() bool {
	switch w.auth.credential(w.target.AuthSecret) {
	case w.keeper.Live.Credential:
		return w.keeper.Next.IsZero() || !w.published() || w.keeper.Failure != nil
	case w.keeper.Next.Credential:
		return !w.keeper.Next.IsZero()
	}
	return false
}

// publishedEntry is what gitrota published last, with its key in the keeper and what was published before it.
func (w world) publishedEntry() (key string, published, before Entry) {
	if !w.keeper.Next.IsZero() && w.published() && w.keeper.Failure == nil {
		return keyNext, w.keeper.Next, w.keeper.Live
	}
	return keyLive, w.keeper.Live, w.keeper.Previous
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

// judgeOverwrite finds out whether the servers are with the keeper. Nothing is written yet. While something is staged,
// one server that is will do: the others wait for the rotation to be brought to its end. Where the Secret is gone, a pod
// may be waiting for it and cannot be asked: that no server speaks against the keeper is enough then.
func (r *rotation) judgeOverwrite(ctx context.Context, w world) (*Overwrite, error) {
	verdict := &Overwrite{Version: w.auth.version(), Writer: w.auth.writer(w.target.AuthSecret), Again: w.keeper.Repaired != nil}
	if verdict.Again {
		return verdict, nil
	}
	replicas, err := r.patrolled(ctx, &w)
	if err != nil {
		return nil, err
	}
	_, published, _ := w.publishedEntry()
	staged := !w.keeper.Next.IsZero()
	verdict.Mended = len(replicas) > 0 || w.authLost()
	for _, replica := range replicas {
		is, err := r.isInForce(ctx, w, replica, published.Credential)
		if err != nil && w.authLost() && !replica.Ready {
			continue
		}
		if err != nil && !staged {
			return nil, err
		}
		verdict.Mended = is && err == nil
		if verdict.Mended == staged {
			break
		}
	}
	return verdict, nil
}

// patrolled returns the replicas that a patrol may speak to, and reads the administrator's login for it.
func (r *rotation) patrolled(ctx context.Context, w *world) ([]Replica, error) {
	if err := r.gatherAdmin(ctx, w); err != nil {
		return nil, err
	}
	replicas, err := r.Cluster.Replicas(ctx, w.target)
	if err != nil {
		return nil, err
	}
	for _, replica := range replicas {
		if !replica.Pod && !r.mayConnect(replica.Endpoint.Address) {
			return nil, endpointsAllowed(world{target: w.target, strangers: []string{replica.Endpoint.Address}})
		}
	}
	return replicas, nil
}

// isInForce asks one replica whether a credential is.
func (r *rotation) isInForce(ctx context.Context, w world, replica Replica, c credential.Credential) (bool, error) {
	login := c
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
	accepted, _, err := session.Accepts(ctx, c.Username, c.Password)
	if errors.Is(err, mssql.ErrCannotCompare) {
		proof, err := r.Servers.Open(ctx, replica.Endpoint, c)
		if err == nil {
			proof.Close()
		}
		if reasonOf(err) == mssql.ReasonRefusedLogin {
			return false, nil
		}
		return err == nil, err
	}
	if err != nil {
		return false, err
	}
	return accepted[0], nil
}

// message says what was found in the auth Secret, and what was done. key is that of what was published, in the keeper.
func (o *Overwrite) message(auth Secret, key string) string {
	name := auth.Namespace + "/" + auth.Name
	switch {
	case o.Mended:
		return fmt.Sprintf("%s wrote another credential into the Secret %s than the one that the servers accept; gitrota has put that back, once", o.Writer, name)
	case o.Again:
		return fmt.Sprintf("%s has overwritten the Secret %s again, after gitrota had repaired it once; the servers accept %s.password of the Secret %s%s; keep that writer off the Secret", o.Writer, name, key, name, KeeperSuffix)
	}
	return fmt.Sprintf("%s wrote another credential into the Secret %s, and the servers refuse the one that gitrota knows: the password was changed elsewhere, so nothing was done; the next rotation begins from what the Secret holds", o.Writer, name)
}
