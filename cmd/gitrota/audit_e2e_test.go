package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a real agent writes is proven by a clone and its public key, and whatever somebody does to it afterwards is not.
func TestAnAuditorProvesWhatAnAgentDid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.git.NewSSHKey("ed25519", "")
	signers := filepath.Join(t.TempDir(), "gitrota.allowed_signers")
	writeFile(t, signers, "gitrota@localhost "+key.Public+"\n")
	w.database("orders")
	w.repo.Commit(map[string]string{"rotations/first.yaml": w.request("first", "orders")}, "Rotate orders")
	require.Zero(t, w.once("--signing-key", key.Dir))
	w.repo.Commit(map[string]string{"rotations/second.yaml": w.request("second", "orders"), "rotations/typo.yaml": w.request("typo", "orders", "timout: 5m")}, "Rotate orders again")
	w.once("--signing-key", key.Dir)
	w.repo.Commit(map[string]string{"rotations/first.yaml": w.request("first", "orders", "timeout: 1h")}, "Change what has run")
	w.once("--signing-key", key.Dir)
	require.Equal(t, "Successful", w.status("second").phase())

	proven := gitrota(t, w.repo.Clone(), nil, "audit", "verify", "--agent-signers", signers)
	require.Equal(t, 0, proven.code, proven.stdout+proven.stderr)
	require.Contains(t, proven.stdout, w.namespace+"/orders  2  ")
	require.Contains(t, proven.stdout, "tip: "+w.repo.Head()+"\n")

	told := gitrota(t, w.repo.Clone(), nil, "history", "orders")
	require.Equal(t, 0, told.code, told.stderr)
	require.Contains(t, told.stdout, w.namespace+"/orders: 3 requests, 2 rotations, the last on ")
	require.Contains(t, told.stdout, w.namespace+"/typo: Denied\n")
	require.Contains(t, told.stdout, "RequestChanged (SpecImmutable): ")

	file := "rotation-status/" + w.namespace + "/second.yaml"
	edited := w.repo.Delete("Clean up", file)
	broken := gitrota(t, w.repo.Clone(), nil, "audit", "verify", "--agent-signers", signers)
	require.Equal(t, 1, broken.code)
	require.Contains(t, broken.stdout, "broken  StatusDeleted\ncommit  "+edited+"\n")
}

func TestAnAuditorProvesStatusesOnABranchOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.git.NewSSHKey("ed25519", "")
	signers := filepath.Join(t.TempDir(), "gitrota.allowed_signers")
	writeFile(t, signers, "gitrota@localhost "+key.Public+"\n")
	w.database("orders")
	w.repo.Commit(map[string]string{"rotations/first.yaml": w.request("first", "orders")}, "Rotate orders")
	require.Zero(t, w.once("--signing-key", key.Dir, "--status-branch", "gitrota-status"))

	proven := gitrota(t, w.repo.Clone(), nil, "audit", "verify", "--agent-signers", signers, "--status-branch", "gitrota-status")
	require.Equal(t, 0, proven.code, proven.stdout+proven.stderr)
	require.Contains(t, proven.stdout, "tip: "+w.repo.OnBranch("gitrota-status").Head()+"\n")
	told := gitrota(t, w.repo.Clone(), nil, "history", "orders", "--status-branch", "gitrota-status")
	require.Contains(t, told.stdout, w.namespace+"/orders: 1 request, 1 rotation, the last on ")
}
