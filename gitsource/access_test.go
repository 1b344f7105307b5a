package gitsource_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

func TestProxies(t *testing.T) {
	for _, scheme := range []string{"http", "https", "socks5"} {
		onBoth(t, "everything goes through a proxy of the scheme "+scheme, func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
			secure := gittest.NewServer(t, gittest.Options{TLS: true})
			repo.Commit(map[string]string{"a": "a"}, "first")
			proxy := gittest.NewProxy(t, scheme, "gateway", "Pr0xy"+canary, secure)
			o.Auth.Proxy = credential.NewPassword(proxy.URL)
			o.Auth.CA = append(o.Auth.CA, secure.CA()...)
			r := open(t, o)
			_, err := r.Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/n": "n"}))
			require.NoError(t, err)
			to, err := url.Parse(o.URL)
			require.NoError(t, err)
			require.NotEmpty(t, proxy.Targets())
			for _, target := range proxy.Targets() {
				require.Equal(t, to.Host, target)
			}

			o.Auth.Proxy = credential.NewPassword(strings.Replace(proxy.URL, "Pr0xy", "Wr0ng", 1))
			before := len(proxy.Targets())
			_, err = open(t, o).Head(t.Context())
			require.NotContains(t, requireError(t, err, gitsource.ErrUnreachable).Detail, "Wr0ng")
			if scheme != "socks5" {
				require.Contains(t, err.Error(), "HTTP 407")
			}
			require.NotZero(t, proxy.Refused())
			require.Len(t, proxy.Targets(), before)
		})
	}

	t.Run("plain HTTP goes through a proxy as well", func(t *testing.T) {
		asked := ""
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r.URL.String()
			http.Error(w, "Proxy-Authorization was "+r.Header.Get("Proxy-Authorization"), http.StatusProxyAuthRequired)
		}))
		defer proxy.Close()
		at := strings.Replace(proxy.URL, "http://", "http://gateway:"+canary+"@", 1)
		_, err := open(t, gitsource.Options{URL: "http://127.0.0.1:1/ops.git", Branch: "main",
			Auth: gitsource.Auth{Proxy: credential.NewPassword(at)}}).Head(t.Context())
		full := requireError(t, err, gitsource.ErrUnreachable)
		require.Contains(t, full.Detail, "check the user and password of the proxy")
		require.Equal(t, "Proxy-Authorization was Basic <secret>", full.Server)
		require.Equal(t, "http://127.0.0.1:1/ops.git/info/refs?service=git-upload-pack", asked)
	})

	t.Run("a proxy that is not there is named, without its password", func(t *testing.T) {
		for _, at := range []string{"http://gateway:" + canary + "@127.0.0.1:1", "socks5://gateway:" + canary + "@127.0.0.1:1"} {
			for _, over := range []string{"https://127.0.0.1:2/ops", "ssh://git@127.0.0.1:2/ops"} {
				hosts := filepath.Join(t.TempDir(), "known_hosts")
				gittest.WriteFile(t, hosts, "")
				o := gitsource.Options{URL: over, Branch: "main", Auth: gitsource.Auth{Proxy: credential.NewPassword(at)}}
				if strings.HasPrefix(over, "ssh") {
					o.Auth.Identity, o.Auth.KnownHostsFile = privateKey(t, ""), hosts
				}
				_, err := open(t, o).Head(t.Context())
				require.Contains(t, requireError(t, err, gitsource.ErrUnreachable).Detail, "127.0.0.1:1", "%s %s", at, over)
			}
		}
	})
}

func TestRedirectsAndCredentials(t *testing.T) {
	var seen []string
	note := func(next http.HandlerFunc) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Header.Get("Authorization"))
			if next != nil {
				next(w, r)
			}
		})
	}
	plain, secure := httptest.NewServer(note(nil)), httptest.NewTLSServer(note(nil))
	defer plain.Close()
	defer secure.Close()
	var server *gittest.Server
	for story, test := range map[string]struct {
		tls bool
		to  func() string
	}{
		"another host":                     {false, func() string { return strings.Replace(plain.URL, "127.0.0.1", "localhost", 1) }},
		"another port of the same host":    {false, func() string { return plain.URL }},
		"HTTPS on another port":            {false, func() string { return secure.URL }},
		"plain HTTP from HTTPS":            {true, func() string { return plain.URL }},
		"plain HTTP from HTTPS, same port": {true, func() string { return strings.Replace(server.URL, "https", "http", 1) }},
	} {
		t.Run("a redirect to "+story+" is not followed, and nobody there sees the credentials", func(t *testing.T) {
			server = gittest.NewServer(t, gittest.Options{Username: "git", Password: canary, TLS: test.tls})
			repo := server.NewRepo("ops")
			target := test.to()
			server.Break(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				http.Redirect(w, r, target+r.URL.String(), http.StatusFound)
			})
			_, err := open(t, options(t, server, repo, false)).Head(t.Context())
			require.Contains(t, requireError(t, err, gitsource.ErrUnreachable).Detail, "redirects to "+target)
			require.Empty(t, seen)
		})
	}
}

func TestSilence(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "known_hosts")
	gittest.WriteFile(t, hosts, "")
	silent := gittest.Silent(t)
	identity := gitsource.Auth{Identity: privateKey(t, ""), KnownHostsFile: hosts}
	app := gittest.NewGitHubApp(t, time.Now)
	withProxy := func(a gitsource.Auth, scheme string) gitsource.Auth {
		a.Proxy = credential.NewPassword(scheme + "://gateway:" + canary + "@" + silent)
		return a
	}
	for story, test := range map[string]struct {
		url  string
		auth gitsource.Auth
	}{
		"after HTTP":                   {"http://" + silent + "/ops", gitsource.Auth{}},
		"in a TLS handshake":           {"https://" + silent + "/ops", gitsource.Auth{}},
		"in an SSH handshake":          {"ssh://git@" + silent + "/ops", identity},
		"of an HTTP proxy, for HTTPS":  {"https://127.0.0.1:1/ops", withProxy(gitsource.Auth{}, "http")},
		"of an HTTPS proxy, for HTTPS": {"https://127.0.0.1:1/ops", withProxy(gitsource.Auth{}, "https")},
		"of a SOCKS5 proxy, for HTTPS": {"https://127.0.0.1:1/ops", withProxy(gitsource.Auth{}, "socks5")},
		"of an HTTP proxy, for SSH":    {"ssh://git@127.0.0.1:1/ops", withProxy(identity, "http")},
		"of an HTTPS proxy, for SSH":   {"ssh://git@127.0.0.1:1/ops", withProxy(identity, "https")},
		"of a SOCKS5 proxy, for SSH":   {"ssh://git@127.0.0.1:1/ops", withProxy(identity, "socks5")},
		"of the API of a GitHub App":   {"http://127.0.0.1:1/ops", gitsource.Auth{GitHubApp: gitsource.GitHubApp{ID: "1", InstallationID: "1", PrivateKey: credential.NewPassword(app.PrivateKey()), BaseURL: "http://" + silent}}},
	} {
		t.Run("silence "+story+" ends with the context", func(t *testing.T) {
			o := gitsource.Options{URL: test.url, Branch: "main", Auth: test.auth, Timeout: time.Hour}
			ctx, cancel := contextWithTimeout(t, 100*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err := open(t, o).Head(ctx)
			requireError(t, err, gitsource.ErrUnreachable)
			require.ErrorIs(t, err, ctx.Err(), fmt.Sprint(err))
			require.Less(t, time.Since(began), soon)
		})
	}
}
