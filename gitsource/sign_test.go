package gitsource_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/signature"
)

func TestSigningCommits(t *testing.T) {
	keys := gittest.NewServer(t, gittest.Options{})
	made := map[string]*gittest.SigningKey{
		"an SSH key":     keys.NewSSHKey("ed25519", ""),
		"an OpenPGP key": keys.NewOpenPGPKey("gitrota <gitrota@example.com>", "correct horse", time.Now().AddDate(0, 0, -2), "1y"),
	}
	for kind, key := range made {
		onBoth(t, "what is written is signed with "+kind+", and git calls it good", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
			repo.Commit(map[string]string{"rotations/a.yaml": "a"}, "first")
			loaded, err := signature.LoadKey(key.Dir)
			require.NoError(t, err)
			o.Signing = loaded
			r := open(t, o)
			for _, content := range []string{"1", "2"} {
				snapshot, err := r.Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/a.yaml": content}))
				require.NoError(t, err)
				require.Equal(t, repo.Head(), snapshot.Revision)
				words, err := repo.VerifyCommit(snapshot.Revision, key, "gitrota@example.com "+key.Public)
				require.NoError(t, err, words)
			}
			repo.Check()
			log := repo.Log()
			require.Len(t, log, 3)
			require.Equal(t, map[string]string{"Rotation-Id": "1234"}, log[0].Trailers)

			_, err = repo.VerifyCommit(log[2].Hash, key, "gitrota@example.com "+key.Public)
			require.Error(t, err, "the person has not signed")
		})
	}

	t.Run("with a key that was taken away, nothing is written, and the next key is used", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{})
		repo := server.NewRepo("ops")
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		dir := t.TempDir()
		mount := func(key *gittest.SigningKey) {
			text, err := os.ReadFile(filepath.Join(key.Dir, "identity"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "identity"), text, 0o600))
		}
		mount(keys.NewSSHKey("ed25519", ""))
		o := options(t, server, repo, false)
		var err error
		o.Signing, err = signature.LoadKey(dir)
		require.NoError(t, err)
		r := open(t, o)

		require.NoError(t, os.Remove(filepath.Join(dir, "identity")))
		_, err = r.Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/n": "n"}))
		require.ErrorContains(t, err, "reading the signing key again")
		require.Equal(t, head, repo.Head())

		next := keys.NewSSHKey("ecdsa", "")
		mount(next)
		_, err = r.Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/n": "n"}))
		require.NoError(t, err)
		words, err := repo.VerifyCommit(repo.Head(), next, "gitrota@example.com "+next.Public)
		require.NoError(t, err, words)
	})
}
