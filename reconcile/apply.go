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
	r.endSuperseded(&keeper)
	status := r.status.clone()
	status.set(condition(TypeStaged, stagedMessage(w)), r.Clock.Now())
	keeper.Record, keeper.Owner = &status, r.Owner
	if err := r.keep(ctx, keeper); err != nil {
		return err
	}
	r.staged = next
	for _, s := range r.servers {
		s.proved(false) // nobody else has had the time to set what was made here
	}
	r.tellSuperseded()
	return nil
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
	return r.setPassword(ctx, w, replica, next, replica.hash)
}

// changeExpired changes a password that has expired, which a server lets its login do while it logs in.
func (r *rotation) changeExpired(ctx context.Context, w world, replica replica) error {
	s := r.of(replica.Replica)
	if err := r.confirm(ctx); err != nil {
		return err // the server compares the old password itself
	}
	session, err := r.Servers.OpenWithNewPassword(ctx, replica.Endpoint, w.keeper.Live.Credential, w.keeper.Next.Password)
	if reasonOf(err) == mssql.ReasonRefusedLogin && !s.raced {
		s.raced, s.expired = true, false // its answer was lost, or another agent was quicker: the new one opens it
		s.refused = map[credential.Credential]bool{w.keeper.Live.Credential: true}
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
	if err := r.setPassword(ctx, w, replica, w.keeper.Live.Credential, replica.hash); err != nil {
		return err
	}
	if w.keeper.TryFirst[replica.Name] == keyNext {
		_ = r.noteFirst(ctx, &w, replica.Name, w.keeper.Live.Credential) // a help for the next run, and no more
	}
	return nil
}
