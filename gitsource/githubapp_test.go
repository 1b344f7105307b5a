package gitsource_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
)

func TestGitHubApp(t *testing.T) {
	clock := now
	app := gittest.NewGitHubApp(t, func() time.Time { return clock })
	server := gittest.NewServer(t, gittest.Options{GitHubApp: app, TLS: true})
	repo := server.NewRepo("ops")
	head := repo.Commit(map[string]string{"a": "a"}, "first")
	o := options(t, server, repo, false)
	o.Now = func() time.Time { return clock }

	t.Run("a token is fetched, kept until shortly before its end, and used to write as well", func(t *testing.T) {
		r := open(t, o)
		for range 3 {
			got, err := r.Head(t.Context())
			require.NoError(t, err)
			require.Equal(t, head, got)
		}
		require.Equal(t, 1, app.Tokens())
		clock = clock.Add(54 * time.Minute)
		_, err := r.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, app.Tokens())
		clock = clock.Add(2 * time.Minute)
		_, err = r.Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/n": "n"}))
		require.NoError(t, err)
		require.Equal(t, 2, app.Tokens())
	})

	t.Run("a token that the server does not take any more is fetched anew, once", func(t *testing.T) {
		r := open(t, o)
		_, err := r.Head(t.Context())
		require.NoError(t, err)
		before := app.Tokens()
		app.Revoke()
		_, err = r.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, before+1, app.Tokens())
		server.Break(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			http.Error(w, "no", http.StatusUnauthorized)
		})
		defer server.Break(nil)
		_, err = r.Head(t.Context())
		requireError(t, err, gitsource.ErrAuth)
		require.Equal(t, before+2, app.Tokens())
	})

	t.Run("the installation is found by its owner", func(t *testing.T) {
		o := o
		o.Auth.GitHubApp.InstallationID, o.Auth.GitHubApp.InstallationOwner = "", app.Owner
		_, err := open(t, o).Head(t.Context())
		require.NoError(t, err)
	})

	t.Run("a key in PKCS #8 is read", func(t *testing.T) {
		o := o
		o.Auth.GitHubApp.PrivateKey = credential.NewPassword(app.PrivateKeyPKCS8())
		_, err := open(t, o).Head(t.Context())
		require.NoError(t, err)
	})

	for story, test := range map[string]struct {
		change func(*gitsource.GitHubApp)
		refuse func(http.ResponseWriter) bool
		kind   error
		says   string
		rest   time.Duration
	}{
		"an App with another ID": {func(g *gitsource.GitHubApp) { g.ID = "1" }, nil, gitsource.ErrAuth, `Integration not found: Bearer <secret>`, 0},
		"the key of another App": {func(g *gitsource.GitHubApp) {
			g.PrivateKey = credential.NewPassword(gittest.NewGitHubApp(t, time.Now).PrivateKey())
		},
			nil, gitsource.ErrAuth, "check githubAppID, githubAppPrivateKey and this machine's clock", 0},
		"an installation that is not there": {func(g *gitsource.GitHubApp) { g.InstallationID = "1" }, nil, gitsource.ErrAuth, "there is no such installation", 0},
		"an owner without an installation":  {func(g *gitsource.GitHubApp) { g.InstallationID, g.InstallationOwner = "", "nobody" }, nil, gitsource.ErrAuth, "there is no such installation", 0},
		"an API that has had enough": {nil, func(w http.ResponseWriter) bool {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusForbidden)
			return true
		}, gitsource.ErrUnreachable, "HTTP 403", time.Minute},
		"an API that is ill": {nil, func(w http.ResponseWriter) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}, gitsource.ErrUnreachable, "HTTP 502", 0},
		"a web page in place of the API": {nil, func(w http.ResponseWriter) bool {
			_, _ = w.Write([]byte("<html>"))
			return true
		}, gitsource.ErrUnreachable, "is githubAppBaseURL an API's URL?", 0},
		"an API that redirects to somebody else": {nil, func(w http.ResponseWriter) bool {
			w.Header().Set("Location", "https://elsewhere.example.com/")
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		}, gitsource.ErrUnreachable, "the server redirects a request that carries data", 0},
	} {
		t.Run(story+" is said", func(t *testing.T) {
			o := o
			if test.change != nil {
				test.change(&o.Auth.GitHubApp)
			}
			app.Refuse(test.refuse)
			defer app.Refuse(nil)
			_, err := open(t, o).Head(t.Context())
			full := requireError(t, err, test.kind)
			require.Contains(t, full.Error(), test.says)
			require.Equal(t, test.rest, full.RetryAfter)
			require.NotContains(t, full.Error(), "eyJ")
		})
	}

	t.Run("a server that repeats a token, the present or the one before, does not get it into an error", func(t *testing.T) {
		r := open(t, o)
		_, err := r.Head(t.Context())
		require.NoError(t, err)
		var first string
		server.Break(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			_, token, _ := r.BasicAuth()
			if first == "" {
				first = token
			}
			http.Error(w, first+" "+token, http.StatusUnauthorized)
		})
		defer server.Break(nil)
		_, err = r.Head(t.Context())
		require.Equal(t, "<secret> <secret>", requireError(t, err, gitsource.ErrAuth).Server)
	})
}
