package reconcile

import (
	"context"
	"fmt"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// stage makes the new credential durable before any server hears of it.
func (r *rotation) stage(ctx context.Context, w world, _ step) error {
	next, escrow, err := r.newCredential(w)
	if err != nil {
		return err
	}
	keeper := w.keeper
	if keeper.Live.Credential != w.live {
		// The server accepted what the auth Secret holds, and not what the keeper took for the live credential.
		if !keeper.Live.IsZero() {
			keeper.Previous = keeper.Live
		}
		keeper.Live = Entry{Credential: w.live}
	}
	keeper.clear()
	keeper.Next, keeper.Escrow = Entry{Credential: next, RotationID: r.status.Request.ID}, escrow
	for _, skipped := range r.job.Superseded {
		keeper.end(r.Owner, skipped, r.Clock.Now())
	}
	status := r.status.clone()
	status.set(condition(TypeStaged, stagedMessage(w)), r.Clock.Now())
	keeper.Record, keeper.Owner = &status, r.Owner
	return r.keep(ctx, keeper)
}

// newCredential makes the credential to rotate to, with its escrow, or takes it from the user or, for a rollback, from the
// keeper.
func (r *rotation) newCredential(w world) (next credential.Credential, escrow []byte, err error) {
	switch {
	case r.status.Request.Kind == manifest.KindRollback:
		return w.keeper.Previous.Credential, nil, nil
	case !w.supplied.Credential.IsZero():
		return w.supplied.Credential, nil, nil
	}
	if next, err = credential.Generate(r.Random, w.nextUsername(), r.status.Request.passwordRules()); err != nil {
		return credential.Credential{}, nil, err
	}
	escrow, err = r.escrow(next)
	return next, escrow, err
}

func (r *rotation) pause(ctx context.Context, w world, _ step) error {
	request := r.status.Request
	r.Cluster.Event(ctx, w.target, "Starting", "Pausing MSSQLServer database: "+request.DatabaseKey())
	return r.Cluster.Pause(ctx, w.target, r.pauseReason(request))
}

// apply changes the password on one replica. A login that changes itself uses a session of its own: should the
// connection break before the answer, the other session is still authenticated and tells what happened. The next
// gathering reads the result back.
func (r *rotation) apply(ctx context.Context, w world, s step) error {
	replica := w.replica(s.target)
	next := w.keeper.Next.Credential
	if replica.expired {
		return r.changeExpired(ctx, w, replica)
	}
	return r.setPassword(ctx, w, replica, next, w.keeper.Live.Password)
}

// setPassword gives a login its password on one replica; old is the one that it has.
func (r *rotation) setPassword(ctx context.Context, w world, replica replica, to credential.Credential, old credential.Password) error {
	s := r.of(replica.Replica)
	if s.facts.Resets {
		old = credential.Password{}
	}
	session, done, err := r.forChange(ctx, w, replica, s)
	if err != nil {
		return err
	}
	err = session.SetPassword(ctx, to.Username, to.Password, old)
	done()
	if err == nil {
		s.last = to
	}
	if s.facts.Compares || s.took != unknown && isRefusal(err) {
		return err
	}
	return r.readBackByLogin(ctx, w, replica, to, err)
}

// isRefusal reports whether the server has said no, so that nothing was changed.
func isRefusal(err error) bool {
	return err != nil && (fault.As(err).Class == fault.Refuse || fault.As(err).Class == fault.Stop)
}

// forChange returns the session to change a password on, and what to do with it afterwards.
func (r *rotation) forChange(ctx context.Context, w world, replica replica, s *server) (Session, func(), error) {
	if !w.admin.IsZero() {
		return s.session, func() {}, nil // should it break, the administrator comes back at any time
	}
	session := s.spare
	s.spare = nil
	if session != nil {
		return session, session.Close, nil
	}
	login := s.login
	if !s.last.IsZero() {
		login = s.last
	}
	session, err := r.Servers.Open(ctx, replica.Endpoint, login)
	if reasonOf(err) == mssql.ReasonRefusedLogin && !s.refused[login] {
		// It was accepted a moment ago, so somebody has changed the password since: another agent with the same staged
		// credential, most likely, or this rotation on its way back. The open session can do it, too.
		s.refused[login] = true
		return s.session, func() {}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return session, session.Close, nil
}

// readBackByLogin finds out what became of a change on a server that cannot compare: by one login with what was set. It
// is refused only if the change did not happen.
func (r *rotation) readBackByLogin(ctx context.Context, w world, replica replica, set credential.Credential, changed error) error {
	s := r.of(replica.Replica)
	s.took = unknown
	session, err := r.Servers.Open(ctx, replica.Endpoint, set)
	switch {
	case err == nil && w.admin.IsZero():
		err = r.greet(ctx, w, replica, session, set)
	case err == nil:
		session.Close()
	}
	if err == nil {
		s.took = no
		if set == w.keeper.Next.Credential {
			s.took = yes
		}
		return nil
	}
	if changed != nil {
		return changed
	}
	return err
}

// changeExpired changes a password that has expired, which a server lets its login do while it logs in.
func (r *rotation) changeExpired(ctx context.Context, w world, replica replica) error {
	s := r.of(replica.Replica)
	session, err := r.Servers.OpenWithNewPassword(ctx, replica.Endpoint, w.keeper.Live.Credential, w.keeper.Next.Password)
	if reasonOf(err) == mssql.ReasonRefusedLogin && !s.raced {
		s.raced, s.expired = true, false // its answer was lost, or another agent was quicker: the new one opens it
		s.refused[w.keeper.Live.Credential] = true
		return fmt.Errorf("%s has another password by now: %w", replica.Name, ErrConflict)
	}
	if err != nil {
		return err
	}
	return r.greet(ctx, w, replica, session, w.keeper.Next.Credential)
}

// fence writes the auth Secret without changing what it says. Whoever has read it before cannot publish the credential
// that is about to be rolled back.
func (r *rotation) fence(ctx context.Context, w world, _ step) error {
	secret := w.auth.annotated(annotationRolledBack, w.keeper.Next.RotationID)
	_, err := r.Cluster.UpdateSecret(ctx, secret)
	if err != nil && fault.As(err).Class == fault.Refuse {
		r.unfenceable = true // nor could another agent publish
		return nil
	}
	return err
}

// revert puts the live password back on one replica. It leaves the old password out where it can, so that no password
// history stands in the way.
func (r *rotation) revert(ctx context.Context, w world, s step) error {
	replica := w.replica(s.target)
	if err := r.setPassword(ctx, w, replica, w.keeper.Live.Credential, w.keeper.Next.Password); err != nil {
		return err
	}
	if w.keeper.TryFirst[replica.Name] == keyNext {
		_ = r.noteFirst(ctx, &w, replica.Name, w.keeper.Live.Credential) // a help for the next run, and no more
	}
	return nil
}
