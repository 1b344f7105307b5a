package gitsource_test

import (
	"context"
	"fmt"
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

func contextWithTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// soon is long after any deadline of these tests, and long before anybody's patience ends.
const soon = 5 * time.Second

func TestASilentServer(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{SSH: true})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"a": "a"}, "first")
	overHTTP, overSSH := options(t, server, repo, false), options(t, server, repo, true)
	server.Break(server.Stall)
	server.SilenceSSH()

	for wire, o := range map[string]gitsource.Options{"HTTP": overHTTP, "SSH": overSSH} {
		t.Run("over "+wire+" is given up when the context ends", func(t *testing.T) {
			ctx, cancel := contextWithTimeout(t, 100*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err := open(t, o).Head(ctx)
			requireError(t, err, gitsource.ErrUnreachable)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, time.Since(began), soon)
		})
		t.Run("over "+wire+" is given up after the repository's own timeout", func(t *testing.T) {
			o.Timeout = 100 * time.Millisecond
			began := time.Now()
			_, err := open(t, o).Write(t.Context(), []string{statusDir}, write(nil))
			require.Equal(t, "no answer within 100ms", requireError(t, err, gitsource.ErrUnreachable).Detail)
			require.Less(t, time.Since(began), soon)
		})
		t.Run("over "+wire+" is left when somebody cancels", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			_, err := open(t, o).Snapshot(ctx)
			requireError(t, err, gitsource.ErrUnreachable)
			require.ErrorIs(t, err, context.Canceled)
		})
	}

	t.Run("that stalls in the middle of a push is given up", func(t *testing.T) {
		o := overHTTP
		o.Timeout = 500 * time.Millisecond
		server.Break(gittest.OnPush(server.Stall))
		_, err := open(t, o).Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/n": "n"}))
		requireError(t, err, gitsource.ErrUnreachable)
	})
}

func TestAnIllServer(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"a": "a"}, "first")
	r := open(t, options(t, server, repo, false))
	page := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>please log in</html>"))
	}
	sha256 := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		ref := strings.Repeat("a", 64) + " refs/heads/main\x00side-band-64k object-format=sha256\n"
		_, _ = fmt.Fprintf(w, "001e# service=git-upload-pack\n0000%04x%s0000", len(ref)+4, ref)
	}
	for story, test := range map[string]struct {
		fault gittest.Fault
		says  string
		rest  time.Duration
	}{
		"a repository with other hashes":           {sha256, "--object-format=sha1", 0},
		"too many requests, and when to come back": {gittest.Status(http.StatusTooManyRequests), "HTTP 429", 30 * time.Second},
		"an internal error":                        {gittest.Status(http.StatusInternalServerError), "HTTP 500", 30 * time.Second},
		"a connection that breaks":                 {gittest.Cut, "EOF", 0},
		"a web page in place of Git":               {page, "is the URL a repository's?", 0},
	} {
		t.Run(story+" is said", func(t *testing.T) {
			server.Break(test.fault)
			_, err := r.Head(t.Context())
			full := requireError(t, err, gitsource.ErrUnreachable)
			require.Contains(t, full.Error(), test.says)
			require.Equal(t, test.rest, full.RetryAfter)
			require.Contains(t, full.Error(), repo.URL())
		})
	}
	t.Run("a server that is well again is read again", func(t *testing.T) {
		server.Break(nil)
		_, err := r.Head(t.Context())
		require.NoError(t, err)
	})
}

func TestCredentials(t *testing.T) {
	t.Run("a wrong token is said, and not shown", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{BearerToken: "right"})
		repo := server.NewRepo("ops")
		o := options(t, server, repo, false)
		o.Auth.BearerToken = credential.NewPassword(canary)
		_, err := open(t, o).Head(t.Context())
		require.Equal(t, "bad credentials", requireError(t, err, gitsource.ErrAuth).Server)
	})

	t.Run("a token is sent as one", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{BearerToken: canary})
		repo := server.NewRepo("ops")
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		got, err := open(t, options(t, server, repo, false)).Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, head, got)
	})

	t.Run("a server that repeats the token does not get it into an error", func(t *testing.T) {
		echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			http.Error(w, "no: "+user+" "+password+" "+url.QueryEscape(password)+" "+r.Header.Get("Authorization"), http.StatusForbidden)
		}))
		defer echo.Close()
		token := canary + "/+é"
		r := open(t, gitsource.Options{URL: echo.URL, Branch: "main", Auth: gitsource.Auth{Username: "git", Password: credential.NewPassword(token)}})
		_, err := r.Head(t.Context())
		require.Equal(t, "no: git <secret> <secret> Basic <secret>", requireError(t, err, gitsource.ErrAuth).Server)
	})

	t.Run("a certificate of a stranger is refused", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{TLS: true})
		repo := server.NewRepo("ops")
		o := options(t, server, repo, false)
		o.Auth.CA = nil
		_, err := open(t, o).Head(t.Context())
		require.Contains(t, requireError(t, err, gitsource.ErrUnreachable).Detail, "certificate")
	})

	t.Run("one connection serves many polls", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{})
		repo := server.NewRepo("ops")
		repo.Commit(map[string]string{"a": "a"}, "first")
		from := map[string]bool{}
		server.Break(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			from[r.RemoteAddr] = true
			next.ServeHTTP(w, r)
		})
		r := open(t, options(t, server, repo, false))
		for range 5 {
			_, err := r.Head(t.Context())
			require.NoError(t, err)
		}
		require.Len(t, from, 1)
		require.Equal(t, 6, server.Requests(), "one of them asked what the server can do")
	})
}

func TestRedirects(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{Username: "git", Password: canary})
	repo := server.NewRepo("new")
	head := repo.Commit(map[string]string{"a": "a"}, "first")

	t.Run("a repository that was renamed is found, for pushes too", func(t *testing.T) {
		server.Break(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasPrefix(r.URL.Path, "/old.git/") {
				http.Redirect(w, r, strings.Replace(r.URL.String(), "/old.git/", "/new.git/", 1), http.StatusMovedPermanently)
				return
			}
			next.ServeHTTP(w, r)
		})
		defer server.Break(nil)
		o := options(t, server, repo, false)
		o.URL = strings.Replace(o.URL, "/new.git", "/old.git", 1)
		snapshot, err := open(t, o).Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/n": "n"}))
		require.NoError(t, err)
		require.NotEqual(t, head, snapshot.Revision)
	})

	t.Run("credentials are not taken to another host", func(t *testing.T) {
		asked := 0
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
		defer elsewhere.Close()
		server.Break(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, elsewhere.URL+r.URL.String(), http.StatusFound)
		})
		defer server.Break(nil)
		_, err := open(t, options(t, server, repo, false)).Head(t.Context())
		require.Contains(t, requireError(t, err, gitsource.ErrUnreachable).Detail, "redirects to "+elsewhere.URL)
		require.Zero(t, asked)
	})
}

func TestHostKeys(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{SSH: true})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"a": "a"}, "first")
	o := options(t, server, repo, true)

	t.Run("a host key that has changed is refused, with both fingerprints and what to do", func(t *testing.T) {
		r := open(t, o)
		_, err := r.Head(t.Context())
		require.NoError(t, err)
		server.NewHostKey()
		r.Close()
		_, err = r.Head(t.Context())
		full := requireError(t, err, gitsource.ErrHostKey)
		require.Regexp(t, `^127\.0\.0\.1:\d+ offers the ssh-ed25519 key SHA256:\S+, and known_hosts has ssh-ed25519 SHA256:\S+; `+
			`if the server's owner confirms that key, put the line of ssh-keyscan -p \d+ 127\.0\.0\.1 into known_hosts$`, full.Detail)
		_, err = open(t, options(t, server, repo, true)).Head(t.Context())
		require.NoError(t, err, "the new known_hosts is right")
	})

	t.Run("a host that is not in known_hosts is refused", func(t *testing.T) {
		other := o
		other.Auth.KnownHostsFile = filepath.Join(t.TempDir(), "known_hosts")
		line := strings.Fields(server.KnownHosts())
		require.NoError(t, os.WriteFile(other.Auth.KnownHostsFile, []byte("example.com "+line[1]+" "+line[2]+"\n"), 0o600))
		_, err := open(t, other).Head(t.Context())
		require.Contains(t, requireError(t, err, gitsource.ErrHostKey).Detail, "known_hosts has none for this host")
	})

	t.Run("a server that offers other types of keys only is refused", func(t *testing.T) {
		other := o
		other.Auth.KnownHostsFile = filepath.Join(t.TempDir(), "known_hosts")
		host := strings.Fields(server.KnownHosts())[0]
		const ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg="
		require.NoError(t, os.WriteFile(other.Auth.KnownHostsFile, []byte(host+" "+ecdsa+"\n"), 0o600))
		_, err := open(t, other).Head(t.Context())
		require.Contains(t, requireError(t, err, gitsource.ErrHostKey).Detail, "offers keys of the types")
	})

	t.Run("a key that the server does not know is named by its fingerprint", func(t *testing.T) {
		stranger := gittest.NewServer(t, gittest.Options{SSH: true})
		other := options(t, server, repo, true)
		other.Auth.Identity = options(t, stranger, stranger.NewRepo("x"), true).Auth.Identity
		_, err := open(t, other).Head(t.Context())
		require.Regexp(t, `does not accept the SSH key SHA256:\S+ for the user git`, requireError(t, err, gitsource.ErrAuth).Detail)
	})
}
