package gitsource_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
)

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
