package reconcile_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

// past is a database whose requests follow each other.
type past struct {
	world    *simulation
	requests int
}

// rotate serves a request that supplies a password, or lets one be generated.
func (p *past) rotate(t *testing.T, password string, rules *credential.Rules) reconcile.Status {
	t.Helper()
	p.requests++
	request := reconcile.Request{Kind: manifest.KindRequest, Namespace: "demo", Name: fmt.Sprint("r", p.requests),
		ID: fmt.Sprint("rotation-", p.requests), Database: "db", Password: rules}
	return p.serve(t, request, password)
}

func (p *past) serve(t *testing.T, request reconcile.Request, password string) reconcile.Status {
	t.Helper()
	if password != "" {
		request.SecretRef = "user"
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	i := &incarnation{world: p.world, at: schedule{}.at, cancel: cancel}
	return engineOn(i, uint64(p.requests), nil).Rotate(ctx, reconcile.Job{
		Status: reconcile.Status{Request: request},
		Supplied: func(context.Context) reconcile.Supplied {
			return reconcile.Supplied{Credential: credential.Credential{Username: "sa", Password: credential.NewPassword(password)}, From: "rotations/demo/user.yaml:1"}
		},
	})
}

func requireReused(t *testing.T, status reconcile.Status, message string) {
	t.Helper()
	require.Equal(t, reconcile.PhaseDenied, status.Phase)
	last := status.Conditions[len(status.Conditions)-1]
	require.Equal(t, reconcile.ReasonPasswordReused, last.Reason)
	require.Equal(t, message+"; supply another password under a new request", last.Message)
}

func TestTheLastPasswordsAreNotUsedAgain(t *testing.T) {
	three := &credential.Rules{Reuse: remembered}
	const lastThree = "the Secret (rotations/demo/user.yaml:1) holds one of the last 3 passwords of demo/db"
	p := &past{world: newSimulation(mode{credential: "supplied", replicas: 1})}
	password := func(n int) string { return fmt.Sprint("Supplied-Password-", n) }

	require.Equal(t, reconcile.PhaseSuccessful, p.rotate(t, password(1), three).Phase)
	requireReused(t, p.rotate(t, initialPassword, three), lastThree) // from before there was a history
	requireReused(t, p.rotate(t, password(1), three), lastThree)     // the live one
	require.Equal(t, password(1), p.world.value("db-auth", "password"))

	require.Equal(t, reconcile.PhaseSuccessful, p.rotate(t, password(2), three).Phase)
	require.Equal(t, reconcile.PhaseSuccessful, p.rotate(t, "", three).Phase, "a generated one counts as well")
	requireReused(t, p.rotate(t, password(1), three), lastThree)
	require.Equal(t, reconcile.PhaseSuccessful, p.rotate(t, initialPassword, three).Phase, "the fourth last may come back")
	requireReused(t, p.rotate(t, password(2), three), lastThree)
	require.Empty(t, p.world.violations)

	t.Run("a rollback may go back to one, and that one is the newest again", func(t *testing.T) {
		generated := p.world.value("db-auth-keeper", "previous.password")
		p.requests++
		status := p.serve(t, reconcile.Request{Kind: manifest.KindRollback, Namespace: "demo", Name: "back", ID: "rotation-back", Database: "db", Password: three}, "")
		require.Equal(t, reconcile.PhaseSuccessful, status.Phase)
		require.Equal(t, generated, p.world.value("db-auth", "password"))
		requireReused(t, p.rotate(t, initialPassword, three), lastThree)
		require.Empty(t, p.world.violations)
	})
}

func TestWithoutARuleNothingIsRemembered(t *testing.T) {
	p := &past{world: newSimulation(mode{credential: "supplied", replicas: 1})}
	p.world.unasked = true
	require.Equal(t, reconcile.PhaseSuccessful, p.rotate(t, "Supplied-Password-1", nil).Phase)
	require.Equal(t, reconcile.PhaseSuccessful, p.rotate(t, initialPassword, nil).Phase)
	require.Empty(t, p.world.violations)

	t.Run("a rule that comes later knows the two that the keeper holds", func(t *testing.T) {
		requireReused(t, p.rotate(t, "Supplied-Password-1", &credential.Rules{Reuse: 2}), "the Secret (rotations/demo/user.yaml:1) holds one of the last 2 passwords of demo/db")
		requireReused(t, p.rotate(t, initialPassword, &credential.Rules{Reuse: 1}), "the Secret (rotations/demo/user.yaml:1) holds the last password of demo/db")
		require.Equal(t, reconcile.PhaseSuccessful, p.rotate(t, "Supplied-Password-1", &credential.Rules{Reuse: 1}).Phase)
	})
}

func TestGeneratedPasswordsFollowThePolicy(t *testing.T) {
	p := &past{world: newSimulation(mode{credential: "generated", replicas: 1})}
	require.Equal(t, reconcile.PhaseSuccessful, p.rotate(t, "", &credential.Rules{Length: 40, Exclude: "abc", Reuse: remembered}).Phase)
	require.Regexp(t, `^[-_.d-zA-Z0-9]{40}$`, p.world.value("db-auth", "password"))
}
