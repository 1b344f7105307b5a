package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// verify proves the new credential with a fresh login, and the previous one's refusal by comparison.
func (r *rotation) verify(ctx context.Context, w world, s step) error {
	replica := w.replica(s.target)
	known := r.of(replica.Replica)
	next, live := w.keeper.Next.Credential, w.keeper.Live.Credential
	asks := known.session
	if !w.admin.IsZero() || known.login != next {
		session, err := r.Servers.Open(ctx, replica.Endpoint, next)
		if err != nil {
			return err
		}
		if w.admin.IsZero() {
			if err := r.greet(ctx, w, replica, session, next); err != nil {
				return err
			}
			asks = session
		} else {
			session.Close()
		}
	}
	if w.pair() {
		known.verified = true // the previous login is still welcome
		return nil
	}
	accepted, _, err := asks.Accepts(ctx, next.Username, next.Password, live.Password)
	switch {
	case errors.Is(err, mssql.ErrCannotCompare):
		// The one password that a login has was replaced, and a login has just proven the new one. To try the previous one
		// would be a failed login, an alarm in somebody's log.
		known.unproven = true
	case err != nil:
		known.hangUp()
		return err
	case !accepted[0] || accepted[1]:
		return fault.New(fault.Stop, ReasonNotVerified, "look at who else changes this login",
			"%s opened with the new credential, but accepts the previous one too, or not the new one alone", replica.Name)
	}
	known.verified = true
	return nil
}

func (r *rotation) resume(ctx context.Context, w world, _ step) error {
	r.Cluster.Event(ctx, w.target, "Starting", "Resuming MSSQLServer database: "+r.status.Request.DatabaseKey())
	return r.Cluster.Resume(ctx, w.target, w.target.PauseReason)
}

// gracePoll is how often a wait for the end of a grace period looks at the world.
const gracePoll = 15 * time.Second

// grace waits until clients have had the time to read the new login, and then makes the password that the previous one
// will have while nobody uses it. As every password it is in the keeper before a server hears of it.
func (r *rotation) grace(ctx context.Context, w world, _ step) error {
	if left := w.graceEnds().Sub(r.Clock.Now()); left > 0 {
		r.Clock.Sleep(ctx, min(left, gracePoll))
		return nil
	}
	keeper := w.keeper
	retired, err := credential.Generate(r.Random, keeper.Live.Username, r.status.Request.passwordRules())
	if err != nil {
		return err
	}
	keeper.Retired = Entry{Credential: retired, RotationID: keeper.Next.RotationID}
	status := r.status.clone()
	status.set(r.leftBehind(ctx, w), r.Clock.Now())
	keeper.Record = &status
	return r.keep(ctx, keeper)
}

// TypeStale says how many sessions the previous login still has when its password is taken away. They go on; a session
// stays authenticated.
const TypeStale = "PreviousLoginSessions"

// leftBehind counts the sessions of the previous login.
func (r *rotation) leftBehind(ctx context.Context, w world) Condition {
	total, hidden := 0, ""
	for _, replica := range w.replicas {
		s := r.of(replica.Replica)
		if s.session == nil {
			continue
		}
		n, err := s.session.Sessions(ctx, w.keeper.Live.Username)
		if err != nil || n < 0 {
			hidden = "; " + replica.Name + " does not show its sessions"
			continue
		}
		total += n
	}
	c := condition(TypeStale, fmt.Sprintf("%q has %d open sessions after the grace period of %s%s", w.keeper.Live.Username, total, w.target.GracePeriod, hidden))
	c.Reason = "NoneLeft"
	if total > 0 {
		c.Reason = "SomeLeft"
	}
	return c
}

// retire takes the previous login's password away on one replica.
func (r *rotation) retire(ctx context.Context, w world, s step) error {
	replica, retired := w.replica(s.target), w.keeper.Retired.Credential
	known := r.of(replica.Replica)
	err := r.setPassword(ctx, w, replica, retired, replica.retiredHash)
	if reasonOf(err) == mssql.ReasonMissing && !known.facts.Compares {
		// The old password is not the old one any more: a run before this one may have come so far. A login tells.
		if session, refused := r.Servers.Open(ctx, replica.Endpoint, retired); refused == nil {
			session.Close()
			err = nil
		}
	}
	known.retired = err == nil
	return err
}

// settle ends a rotation that succeeded: from here on the new credential is the live one.
func (r *rotation) settle(ctx context.Context, w world, _ step) error {
	keeper := w.keeper
	if err := keeper.settle(r.digestCost(), r.Random); err != nil {
		return err
	}
	status := r.status.clone()
	status.Escrow = w.keeper.Escrow
	if !status.Phase.Finished() {
		status.Phase = PhaseSuccessful
		status.set(condition(TypeSuccessful, "Successfully completed mssqlserver auth rotate"), r.Clock.Now())
	}
	keeper.end(w.keeper.Owner, status, r.Clock.Now())
	if err := r.keep(ctx, keeper); err != nil {
		return err
	}
	r.status = status
	r.report()
	r.Cluster.Event(ctx, w.target, "Successful", fmt.Sprintf("Successfully completed mssqlserver auth rotate for %s: %s", r.status.Request.Kind, r.status.Request.Name))
	return nil
}

// discard ends a rotation that failed and whose staged credential no replica accepts, after a rollback or because none
// ever did.
func (r *rotation) discard(ctx context.Context, w world, _ step) error {
	keeper := w.keeper
	status := r.status.clone()
	if failure := keeper.Failure; failure != nil && !status.Phase.Finished() {
		status.set(condition(TypeRolledBack, "every replica has the previous credential again, which the auth Secret holds"), r.Clock.Now())
		status.Phase = PhaseFailed
		status.set(Condition{Type: TypeFailed, Status: "True", Reason: failure.Reason, Message: status.Request.Source.locate(failure.Message)}, r.Clock.Now())
	}
	keeper.drop()
	keeper.end(w.keeper.Owner, status, r.Clock.Now())
	if err := r.keep(ctx, keeper); err != nil {
		return err
	}
	r.status = status
	r.report()
	return nil
}
