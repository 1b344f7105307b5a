package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A year later, an auditor has nothing but a clone and the agent's public key.
func TestWhatAnAgentWritesIsSignedAndGitSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.git.NewSSHKey("ed25519", "correct horse")
	w.database("db")
	w.repo.Commit(map[string]string{"rotations/rotate.yaml": w.request("rotate", "db")}, "Rotate db")
	require.Zero(t, w.once("--signing-key", key.Dir, "--author-email", "gitrota@example.com"))
	require.Equal(t, "Successful", w.status("rotate").phase())

	signed := 0
	for _, entry := range w.repo.Log() {
		words, err := w.repo.VerifyCommit(entry.Hash, key, "gitrota@example.com namespaces=\"git\" "+key.Public)
		if entry.Author != "gitrota" {
			require.Error(t, err, "%s is not gitrota's: %s", entry.Subject, words)
			continue
		}
		require.NoError(t, err, "%s: %s", entry.Subject, words)
		require.Contains(t, words, "Good \"git\" signature for gitrota@example.com")
		signed++
	}
	require.NotZero(t, signed)
	w.repo.Check()
}
