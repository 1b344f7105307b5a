package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// A process can be stopped at any instruction, and go on when others have finished this rotation and the next ones. What
// it then does must change nothing. The writes to the cluster carry the version that was read; an ALTER has conditions
// of its own. The login's hash is gathered first, then the keeper is found unchanged, and the server compares the hash
// when it makes the change: whoever has changed the password since, even to what it was, has made another hash. Where
// hashes cannot be seen, the server is given the old password to compare, if it takes that and the keeper has it. Where
// it has neither, only the look at the keeper is left, and a process that is stopped between that look and its ALTER
// does harm: README.md says so to those who install gitrota.

// confirm reads the keeper once more. ErrConflict if it is not what this run has read or written last.
func (r *rotation) confirm(ctx context.Context) error {
	now, err := r.Cluster.Secret(ctx, r.keeperSecret.Namespace, r.keeperSecret.Name)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && now.version() != r.keeperSecret.version():
		return fmt.Errorf("the keeper: %w", ErrConflict)
	}
	return err
}

// setPassword gives a login its password on one replica, if the keeper and the login still are what was gathered; hash
// is the login's.
func (r *rotation) setPassword(ctx context.Context, w world, replica replica, to credential.Credential, hash mssql.Hash) error {
	s := r.of(replica.Replica)
	session, done, err := r.forChange(ctx, w, replica, s)
	if err != nil {
		return err
	}
	defer done()
	if err := r.confirm(ctx); err != nil {
		return err
	}
	change := mssql.Change{Login: to.Username, Next: to.Password, If: hash}
	if !s.facts.Resets || hash.IsZero() && !s.withoutOld {
		change.Old = w.keeper.before(to)
	}
	staged := to.Username == w.keeper.Next.Username // and not the login that a pair was switched away from
	err = session.SetPassword(ctx, change)
	if !change.Old.IsZero() && hash.IsZero() && isRefusal(err) {
		if reasonOf(err) == mssql.ReasonMissing && !s.tried && staged {
			s.forget() // it is not the old one any more: it may be the new one
			return fmt.Errorf("%s has another password by now: %w", replica.Name, ErrConflict)
		}
		if s.facts.Resets {
			// Who may reset passwords is bound by no history and no minimum age, and some servers do not know OLD_PASSWORD.
			s.withoutOld, change.Old = true, credential.Password{}
			err = session.SetPassword(ctx, change)
		}
	}
	switch {
	case errors.Is(err, mssql.ErrChanged):
		return fmt.Errorf("%s has another password by now: %w", replica.Name, ErrConflict)
	case err == nil && staged:
		s.last = to
		s.proved(to == w.keeper.Next.Credential)
		s.acknowledged, s.tried = true, false
	case staged && !isRefusal(err): // its answer was lost
		s.forget()
	}
	return err
}

// forget notes that nothing is known of the staged credential any more.
func (s *server) forget() { s.took, s.acknowledged = unknown, false }

// before is the password that a login has when it is given the one in to; zero: it is not known.
func (k *Keeper) before(to credential.Credential) credential.Password {
	known := []Entry{k.Live, k.Retired, k.Previous} // the other login of a pair was retired, unless that failed
	if to == k.Live.Credential {
		known = []Entry{k.Next} // on the way back
	}
	for _, e := range known {
		if e.Username == to.Username && e.Password != to.Password {
			return e.Password
		}
	}
	return credential.Password{}
}

// isRefusal reports whether the server has said no, so that nothing was changed.
func isRefusal(err error) bool {
	return err != nil && !errors.Is(err, ErrConflict) && (fault.As(err).Class == fault.Refuse || fault.As(err).Class == fault.Stop)
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
	if s.refused[login] {
		return s.session, func() {}, nil
	}
	session, err := r.Servers.Open(ctx, replica.Endpoint, login)
	if reasonOf(err) == mssql.ReasonRefusedLogin {
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

// prove asks a server by one login: whether it accepts what it has acknowledged or, where it cannot compare and nothing is
// known, the staged credential. Clients read it afterwards, and not before. It is refused only if it is not in force.
func (r *rotation) prove(ctx context.Context, w world, s step) error {
	replica := w.replica(s.target)
	known := r.of(replica.Replica)
	login := w.keeper.Next.Credential
	if replica.next == no {
		login = w.keeper.Live.Credential // which was put back
	}
	session, err := r.Servers.Open(ctx, replica.Endpoint, login)
	switch {
	case err == nil && w.admin.IsZero():
		return r.greet(ctx, w, replica, session, login)
	case err == nil:
		session.Close()
		known.proved(login == w.keeper.Next.Credential)
	case replica.next == unknown && reasonOf(err) == mssql.ReasonRefusedLogin:
		known.proved(false)
		known.tried = true
	default:
		return err
	}
	return nil
}
