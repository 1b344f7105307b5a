package mounted_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/mounted"
)

// pair reads two keys that belong together.
func pair(dir string) (string, error) {
	username, err := os.ReadFile(filepath.Join(dir, "username"))
	if err != nil {
		return "", err
	}
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	if err == nil && len(password) == 0 {
		err = errors.New("the password is empty")
	}
	return string(username) + ":" + string(password), err
}

func follow(t *testing.T, dir string) (*mounted.Secret[string], *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := mounted.Follow(dir, pair, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	return s, &log
}

func TestSecret(t *testing.T) {
	first := map[string]string{"username": "a", "password": "1"}
	second := map[string]string{"username": "b", "password": "2"}

	t.Run("a Secret that Kubernetes replaces is read again", func(t *testing.T) {
		dir := t.TempDir()
		gittest.MountSecret(t, dir, first)
		s, log := follow(t, dir)
		require.Equal(t, "a:1", s.Value())
		require.Equal(t, "a:1", s.Value())
		require.Empty(t, log.String())
		gittest.MountSecret(t, dir, second)
		require.Equal(t, "b:2", s.Value())
		require.Equal(t, "b:2", s.Value())
		require.Equal(t, 1, strings.Count(log.String(), "read again"))
	})

	t.Run("a file that a person writes is read again", func(t *testing.T) {
		dir := t.TempDir()
		gittest.MountSecret(t, dir, first)
		s, _ := follow(t, dir)
		gittest.WriteFile(t, filepath.Join(dir, "password"), "longer")
		require.Equal(t, "a:longer", s.Value())
	})

	t.Run("a version that cannot be read is said once, and the one before it stays", func(t *testing.T) {
		dir := t.TempDir()
		gittest.MountSecret(t, dir, first)
		s, log := follow(t, dir)
		gittest.MountSecret(t, dir, map[string]string{"username": "b", "password": ""})
		require.Equal(t, "a:1", s.Value())
		require.Equal(t, "a:1", s.Value())
		require.Equal(t, 1, strings.Count(log.String(), "the password is empty"), log.String())
		require.NoError(t, os.RemoveAll(dir))
		require.Equal(t, "a:1", s.Value())
		require.Equal(t, 2, strings.Count(log.String(), "goes on being used"), "another trouble is said as well")
		require.NoError(t, os.Mkdir(dir, 0o700))
		gittest.MountSecret(t, dir, second)
		require.Equal(t, "b:2", s.Value())
	})

	t.Run("a Secret that changes while it is read is never half of each", func(t *testing.T) {
		dir := t.TempDir()
		gittest.MountSecret(t, dir, first)
		times := 0
		s, err := mounted.Follow(dir, func(dir string) (string, error) {
			username, err := os.ReadFile(filepath.Join(dir, "username"))
			require.NoError(t, err)
			if times++; times == 1 {
				gittest.MountSecret(t, dir, second)
			}
			password, err := os.ReadFile(filepath.Join(dir, "password"))
			return string(username) + ":" + string(password), err
		}, nil)
		require.NoError(t, err)
		require.Equal(t, "b:2", s.Value())
	})

	t.Run("a first version that cannot be read is an error", func(t *testing.T) {
		_, err := mounted.Follow(t.TempDir(), pair, nil)
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}
