package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
)

func TestAnEncryptedSecretIsGoodOnceAndInItsPlaceOnly(t *testing.T) {
	own, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	keys, err := sopsfile.ParseKeys([]byte(own.String()))
	require.NoError(t, err)
	b := besiege(newStage(t), reconcile.Options{Guardrails: func() guardrails.Guardrails { return tenancy }, Keys: func() sopsfile.Keys { return keys }})
	supplies := func(name string) string { return asks(name, "demo", db+", authentication: {secretRef: {name: user}}") }
	old := sealed(t, "user", "demo", "Mssqlserver-first-1", own)
	rotated := func(name, secret, password string) {
		b.repo.Commit(map[string]string{"rotations/demo/user.yaml": secret, "rotations/demo/" + name + ".yaml": supplies(name)}, "Rotate")
		b.round(b.Controller)
		require.Equal(t, reconcile.PhaseSuccessful, b.stage.status(b.repo, name).Phase)
		require.Equal(t, password, b.world.value("db-auth", "password"))
	}
	b.repo.Commit(map[string]string{"rotations/policies/p.yaml": policy(fmt.Sprintf("{password: {reuse: %d}}", remembered))}, "Remember some")
	b.world.unasked = false
	rotated("first", old, "Mssqlserver-first-1")
	rotated("second", sealed(t, "user", "demo", "Mssqlserver-second-1", own), "Mssqlserver-second-1")

	for _, attempt := range []struct{ story, name, secret, said string }{
		{"an old one, out of Git's history", "old", old,
			"PasswordReused rotations/demo/old.yaml:1: the Secret (rotations/demo/user.yaml:1) holds one of the last 3 passwords of demo/db; supply another password under a new request"},
		{"one that was encrypted for another namespace", "moved", strings.Replace(sealed(t, "user", "team-a", "Mssqlserver-theirs-1", own), "team-a", "demo", 1),
			"Undecryptable rotations/demo/moved.yaml:1: rotations/demo/user.yaml:1: the Secret cannot be decrypted: the MAC does not match: the file was changed after it was encrypted"},
		{"an old one that was given another name of the login", "spliced", strings.Replace(old, "username:", "other:", 1),
			"InvalidSecret rotations/demo/spliced.yaml:1: rotations/demo/user.yaml:1: the Secret has no key username; it needs username and password"},
	} {
		t.Run(attempt.story, func(t *testing.T) {
			b.harmless(t, func() {
				b.repo.Commit(map[string]string{"rotations/demo/user.yaml": attempt.secret, "rotations/demo/" + attempt.name + ".yaml": supplies(attempt.name)}, "Replay it")
			})
			require.Equal(t, reconcile.PhaseDenied, b.stage.status(b.repo, attempt.name).Phase)
			require.Contains(t, b.said(t), attempt.said)
		})
	}
	t.Run("an old request, whose file comes back with its Secret", func(t *testing.T) {
		b.harmless(t, func() {
			b.repo.Delete("Tidy up", "rotations/demo/first.yaml")
			b.round(b.Controller)
			b.repo.Commit(map[string]string{"rotations/demo/user.yaml": old, "rotations/demo/first.yaml": supplies("first")}, "Bring it back")
		})
	})
	b.serves(t)
}
