package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

func TestWhereMainIsProtectedStatusesGoToABranchOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, document := w.shop("shop")
	w.repo.Protect("main takes pull requests only")
	w.repo.Commit(map[string]string{"rotations/shop.yaml": document, "rotations/r.yaml": w.request("r", "shop")}, "Rotate shop")

	require.Equal(t, 0, w.once("--allow-hosts", "127.0.0.1", "--status-branch", "gitrota-status"))
	require.Equal(t, []string{"README.md", "rotations/r.yaml", "rotations/shop.yaml"}, w.repo.Files())
	w.repo = w.repo.OnBranch("gitrota-status")
	require.Equal(t, "Successful", w.status("r").phase())
	require.Contains(t, w.repo.Log()[0].Message, "[skip ci]")

	// Who undoes it has that branch beside the clone.
	clone, statuses := t.TempDir(), t.TempDir()
	for _, args := range [][]string{
		{"clone", "--quiet", strings.Replace(w.repo.URL(), "://", "://gitrota:forge-token-1@", 1), clone},
		{"-C", clone, "worktree", "add", "--quiet", statuses + "/of", "gitrota-status"},
	} {
		text, err := exec.Command("git", args...).CombinedOutput()
		require.NoError(t, err, string(text))
	}
	undo := gitrota(t, "", nil, "rollback", "shop", "--repo-dir", clone, "--status-dir", statuses+"/of", "--dry-run")
	require.Equal(t, 0, undo.code, undo.stderr)
	require.Contains(t, undo.stdout, "kind: RotationRollback")
}

func TestWhatWasDoneWhileGitWasAwayIsWrittenByTheNextAgentThoughTheRequestIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, document := w.shop("shop")
	begin := w.repo.Commit(map[string]string{"rotations/shop.yaml": document}, "The shop")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "shop")}, "Rotate shop")
	w.git.Break(gittest.OnPush(gittest.Status(503)))
	agent := w.agent("--allow-hosts", "127.0.0.1")
	w.eventually("r has ended, and Git does not know", func() bool {
		_, metrics := agent.get("/metrics")
		return metric(metrics, `gitrota_requests_ended{phase="Successful"}`) == 1
	})
	_, metrics := agent.get("/metrics")
	require.Equal(t, 1, metric(metrics, "gitrota_journal_pending"))
	require.Contains(t, metrics, "gitrota_journal_oldest_age_seconds ")
	require.Empty(t, w.status("r").phase())
	live := w.kept("shop-auth")
	agent.kill()

	w.repo.Reset(begin)
	w.git.Break(nil)
	require.Equal(t, 0, w.once("--allow-hosts", "127.0.0.1"))
	r := w.status("r")
	require.Equal(t, "Successful", r.phase())
	for _, kind := range []string{"RotateAuth", "CredentialStaged", "CredentialPromoted", "CredentialVerified", "Successful"} {
		require.Equal(t, "True", r.condition(kind).Status, kind)
	}
	require.Equal(t, live, w.kept("shop-auth"))
	w.requireOneTruth(s)
}
