package clone_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/clone"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

func TestAClone(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	first := repo.Commit(map[string]string{"a/file": "one\n"}, "first")
	second := repo.Commit(map[string]string{"a/file": "two\n"}, "second")
	side := repo.OnBranch("statuses").Commit(map[string]string{"a/file": "three\n"}, "third")
	open := func(t *testing.T, dir string) *clone.Clone {
		t.Helper()
		c, err := clone.Open(dir)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		return c
	}

	for name, dir := range map[string]string{
		"is read": repo.Clone(), "is read where it is bare": repo.Clone("--bare"),
		"is read from a folder in it": filepath.Join(repo.Clone(), "a"),
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, dir)
			for branch, tip := range map[string]string{"main": second, "statuses": side, first[:10]: first} {
				got, err := c.Branch(branch)
				require.NoError(t, err)
				require.Equal(t, tip, got.String())
			}
			content, err := c.Object(plumbing.CommitObject, plumbing.NewHash(first))
			require.NoError(t, err)
			require.Equal(t, repo.Raw(first), string(content))
			_, err = c.Branch("nowhere")
			require.ErrorContains(t, err, "has no branch nowhere: fetch it, or name another")
			_, err = c.Object(plumbing.BlobObject, plumbing.NewHash(first))
			require.ErrorIs(t, err, clone.ErrNotFound)
		})
	}
	t.Run("tells what was fetched last, and not what this clone has made of it", func(t *testing.T) {
		dir := repo.Clone()
		run(t, dir, "update-ref", "refs/heads/main", first)
		got, err := open(t, dir).Branch("main")
		require.NoError(t, err)
		require.Equal(t, second, got.String())
	})
	t.Run("is read in a worktree of its own", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "tree")
		run(t, repo.Clone(), "worktree", "add", "--quiet", "--detach", dir)
		got, err := open(t, dir).Branch("main")
		require.NoError(t, err)
		require.Equal(t, second, got.String())
	})
	t.Run("is read where its objects are another clone's", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "shared")
		run(t, "", "clone", "--quiet", "--shared", repo.Clone(), dir)
		_, err := open(t, dir).Object(plumbing.CommitObject, plumbing.NewHash(first))
		require.NoError(t, err)
	})
	t.Run("is not fooled by a replacement", func(t *testing.T) {
		dir := repo.Clone()
		run(t, dir, "replace", first, side)
		content, err := open(t, dir).Object(plumbing.CommitObject, plumbing.NewHash(first))
		require.NoError(t, err)
		require.Equal(t, repo.Raw(first), string(content))
	})
	t.Run("is not fooled by an object under another's name", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "loose")
		run(t, "", "init", "--quiet", "--bare", dir)
		run(t, dir, "-c", "transfer.unpackLimit=1000", "fetch", "--quiet", repo.Clone(), "main:main")
		loose := func(hash string) string { return filepath.Join(dir, "objects", hash[:2], hash[2:]) }
		content, err := os.ReadFile(loose(second))
		require.NoError(t, err)
		require.NoError(t, os.Chmod(loose(first), 0o600))
		require.NoError(t, os.WriteFile(loose(first), content, 0o600))
		_, err = open(t, dir).Object(plumbing.CommitObject, plumbing.NewHash(first))
		require.ErrorContains(t, err, "so the clone is damaged")
	})
	t.Run("is refused where it is shallow", func(t *testing.T) {
		_, err := clone.Open(repo.Clone("--depth", "1"))
		require.ErrorContains(t, err, "run git fetch --unshallow")
	})
	t.Run("is refused where its names are SHA-256", func(t *testing.T) {
		dir := t.TempDir()
		run(t, "", "init", "--quiet", "--object-format=sha256", dir)
		_, err := clone.Open(dir)
		require.ErrorContains(t, err, "SHA-256 names, which gitrota cannot read")
	})
	t.Run("is refused where it is none", func(t *testing.T) {
		_, err := clone.Open(t.TempDir())
		require.ErrorContains(t, err, "is in no Git repository")
	})
	t.Run("says what a partial one lacks", func(t *testing.T) {
		c := open(t, repo.Clone("--filter=blob:none", "--no-checkout"))
		_, err := c.Object(plumbing.BlobObject, plumbing.ComputeHash(plumbing.BlobObject, []byte("one\n")))
		require.ErrorIs(t, err, clone.ErrNotFound)
		require.ErrorContains(t, err, "clone it anew without a filter")
	})
}

func run(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
