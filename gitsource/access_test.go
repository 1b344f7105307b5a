package gitsource_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
)

// follow makes options follow a mounted Secret, which it returns with what is in it.
func follow(t *testing.T, server *gittest.Server, o gitsource.Options, overSSH bool) (gitsource.Options, string, map[string]string) {
	t.Helper()
	values := map[string]string{}
	from := server.AuthDir(overSSH)
	files, err := os.ReadDir(from)
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(from, file.Name()))
		require.NoError(t, err)
		values[file.Name()] = string(text)
	}
	dir := t.TempDir()
	gittest.MountSecret(t, dir, values)
	o.Auth, o.AuthDir = gitsource.Auth{}, dir
	return o, dir, values
}

func TestCredentialsThatChange(t *testing.T) {
	onBoth(t, "the next conversation has the new credentials, and one under way keeps its own", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		overSSH := strings.HasPrefix(o.URL, "ssh")
		var log bytes.Buffer
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		o, dir, right := follow(t, repo.Server(), o, overSSH)
		r := open(t, o)
		got, err := r.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, head, got)

		wrong := map[string]string{"username": "gitrota", "password": "An0ther" + canary, "ca.crt": right["ca.crt"]}
		if overSSH {
			wrong = map[string]string{"identity": privateKey(t, "").Reveal(), "known_hosts": right["known_hosts"]}
		}
		gittest.MountSecret(t, dir, wrong)
		_, err = r.Head(t.Context())
		requireError(t, err, gitsource.ErrAuth)

		broken := map[string]string{"username": "only", "ca.crt": right["ca.crt"]}
		gittest.MountSecret(t, dir, right)
		_, err = r.Head(t.Context())
		require.NoError(t, err)
		gittest.MountSecret(t, dir, broken)
		for range 3 {
			_, err = r.Head(t.Context())
			require.NoError(t, err, "the version before goes on being used")
		}
		require.Equal(t, 1, strings.Count(log.String(), "goes on being used"), log.String())
		require.NotContains(t, log.String(), canary)

		gittest.MountSecret(t, dir, right)
		swapped := false
		_, err = r.Write(t.Context(), []string{statusDir}, func(s *gitsource.Snapshot) (*gitsource.Change, error) {
			if !swapped {
				swapped = true
				gittest.MountSecret(t, dir, broken) // cannot be used: the write goes on with what it has
			}
			return write(map[string]string{"rotation-status/n": "n"})(s)
		})
		require.NoError(t, err)
	})

	t.Run("a conversation goes on with the credentials that it began with", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{Username: "gitrota", Password: canary})
		repo := server.NewRepo("ops")
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		o, dir, _ := follow(t, server, options(t, server, repo, false), false)
		server.Break(gittest.Before(func() {
			gittest.MountSecret(t, dir, map[string]string{"username": "gitrota", "password": "wrong"})
		}))
		r := open(t, o)
		snapshot, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		require.Equal(t, head, snapshot.Revision)
		_, err = r.Snapshot(t.Context())
		requireError(t, err, gitsource.ErrAuth)
	})

	t.Run("no connection of the old credentials is used again, and their text stays secret", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{Username: "gitrota", Password: canary})
		repo := server.NewRepo("ops")
		repo.Commit(map[string]string{"a": "a"}, "first")
		o, dir, right := follow(t, server, options(t, server, repo, false), false)
		var from []string
		server.Break(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			from = append(from, r.RemoteAddr)
			next.ServeHTTP(w, r)
		})
		r := open(t, o)
		for range 2 {
			_, err := r.Head(t.Context())
			require.NoError(t, err)
		}
		before := from[0]
		require.Equal(t, before, from[len(from)-1])
		right["other"] = "a key that changes nothing but the version"
		gittest.MountSecret(t, dir, right)
		_, err := r.Head(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, before, from[len(from)-1])

		gittest.MountSecret(t, dir, map[string]string{"username": "gitrota", "password": "new-one"})
		server.Break(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Error(w, "it was "+canary+" before", http.StatusInternalServerError)
		})
		_, err = r.Head(t.Context())
		requireError(t, err, gitsource.ErrAuth) // of the new password
		gittest.MountSecret(t, dir, right)
		_, err = r.Head(t.Context())
		require.Equal(t, "it was <secret> before", requireError(t, err, gitsource.ErrUnreachable).Server)
	})

	t.Run("a folder that cannot be used at the start is an error", func(t *testing.T) {
		dir := t.TempDir()
		gittest.MountSecret(t, dir, map[string]string{"username": "only"})
		_, err := gitsource.Open(gitsource.Options{URL: "https://git.example.com/ops", Branch: "main", AuthDir: dir})
		require.ErrorContains(t, err, "both username and password")
	})
}

func TestClientCertificates(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{TLS: true, ClientCert: true})
	repo := server.NewRepo("ops")
	head := repo.Commit(map[string]string{"a": "a"}, "first")
	o := options(t, server, repo, false)
	got, err := open(t, o).Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, head, got)

	o.Auth.ClientCert, o.Auth.ClientKey = nil, credential.Password{}
	_, err = open(t, o).Head(t.Context())
	require.Contains(t, requireError(t, err, gitsource.ErrUnreachable).Detail, "certificate required")
}

func TestSecretsOfAccessDoNotPrint(t *testing.T) {
	dir := t.TempDir()
	gittest.MountSecret(t, dir, map[string]string{"proxy": "http://gateway:" + canary + "@proxy.example.com", "tls.key": canary,
		"githubAppPrivateKey": canary, "identity": canary, "bearerToken": canary})
	auth, err := gitsource.LoadAuth(dir)
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%+v %#v", auth, auth), canary)
}

func TestAnOldNameForTheCA(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{TLS: true})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"a": "a"}, "first")
	dir := t.TempDir()
	gittest.MountSecret(t, dir, map[string]string{"caFile": string(server.CA())})
	_, err := open(t, gitsource.Options{URL: repo.URL(), Branch: "main", AuthDir: dir}).Head(t.Context())
	require.NoError(t, err)
}
