package forge_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/policies/credential"
)

// serve starts a server, and returns it with a client that takes it for a kind of forge.
func serve(t *testing.T, kind forge.Kind, handler http.HandlerFunc) (*httptest.Server, *forge.Client) {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server, open(t, forge.Options{
		Kind: kind, URL: server.URL + "/acme/db", Auth: gitsource.Auth{BearerToken: credential.NewPassword(canary)},
		Timeout: 5 * time.Second,
	})
}

func TestErrorsSayWhatWhereAndWhatNext(t *testing.T) {
	for name, c := range map[string]struct {
		kind     forge.Kind
		status   int
		header   http.Header
		body     string
		is       error
		after    time.Duration
		expected string
	}{
		"a wrong token": {forge.GitHub, 401, nil, `{"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"}`, forge.ErrAuth, 0,
			`the forge refuses the credentials: HTTP 401 Unauthorized: check that the token in the Git credentials is right and has not expired; it says: "Bad credentials"`},
		"a token without a scope": {forge.GitLab, 403, nil, `{"error": "insufficient_scope", "error_description": "needs more"}`, forge.ErrAuth, 0,
			`the forge refuses the credentials: HTTP 403 Forbidden: the token needs the scope api, and the role Developer; it says: "insufficient_scope"`},
		"a repository that is not there": {forge.Gitea, 404, nil, `{"message": "The target couldn't be found.", "errors": []}`, forge.ErrNotFound, 0,
			`the forge does not have it, or the credentials may not see it: HTTP 404 Not Found: check the repository's URL, and that the token needs write access to repository and issue, and read access to user; it says: "The target couldn't be found."`},
		"too many requests": {forge.GitLab, 429, http.Header{"Retry-After": {"30"}}, `{"message": {"error": "Too many requests"}}`, forge.ErrUnavailable, 30 * time.Second,
			`the forge cannot answer now: HTTP 429 Too Many Requests: too many requests with this token; it says: "{\"error\": \"Too many requests\"}"`},
		"GitHub's way of saying it": {forge.GitHub, 403, http.Header{"Retry-After": {"60"}}, `{"message": "You have exceeded a secondary rate limit"}`, forge.ErrUnavailable, time.Minute,
			`the forge cannot answer now: HTTP 403 Forbidden: too many requests with this token; it says: "You have exceeded a secondary rate limit"`},
		"a server in trouble": {forge.Azure, 500, nil, `{"message": "TF400898: An Internal Error Occurred"}`, forge.ErrUnavailable, 0,
			`the forge cannot answer now: HTTP 500 Internal Server Error; it says: "TF400898: An Internal Error Occurred"`},
		"a refusal": {forge.GitHub, 422, nil, `{"message": "Validation Failed", "errors": [{"message": "No commits between main and rotate"}]}`, forge.ErrRefused, 0,
			`the forge refuses the request: HTTP 422 Unprocessable Entity; it says: "Validation Failed: [{\"message\": \"No commits between main and rotate\"}]"`},
		"a web page": {forge.GitHub, 200, http.Header{"Content-Type": {"text/html"}}, `<html>Sign in</html>`, forge.ErrUnavailable, 0,
			`the forge cannot answer now: it answers with "text/html" and not with JSON: check that the API's URL is right, and the proxy`},
		"JSON of another kind": {forge.Gitea, 200, nil, `{"number": "seven"}`, forge.ErrUnavailable, 0,
			`the forge cannot answer now: its answer is not what its API's documentation says: json: cannot unmarshal string into Go struct field githubPull.number of type int`},
		"the token sent back": {forge.GitHub, 400, nil, `{"message": "what is ` + canary + `?"}`, forge.ErrRefused, 0,
			`the forge refuses the request: HTTP 400 Bad Request; it says: "what is <secret>?"`},
	} {
		t.Run(name, func(t *testing.T) {
			path, name := "/acme/db", "/acme/db"
			if c.kind == forge.Azure {
				path, name = "/acme/_git/db", "/acme/db/db"
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				for key, values := range c.header {
					w.Header()[key] = values
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			client := open(t, forge.Options{Kind: c.kind, URL: server.URL + path, Auth: gitsource.Auth{BearerToken: credential.NewPassword(canary)}})
			_, err := client.Find(t.Context(), 7)
			host := strings.TrimPrefix(server.URL, "http://")
			require.EqualError(t, err, "reading pull request 7 at "+string(c.kind)+" "+host+name+": "+c.expected)
			require.ErrorIs(t, err, c.is)
			var e *forge.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.after, e.RetryAfter)
			require.NotContains(t, err.Error(), canary)
		})
	}
}

func TestARateLimitThatIsUsedUpSaysUntilWhen(t *testing.T) {
	_, c := serve(t, forge.GitHub, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", "4102444800") // the year 2100
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"message": "API rate limit exceeded"}`))
	})
	_, err := c.Me(t.Context())
	var e *forge.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, forge.ErrUnavailable)
	require.Greater(t, e.RetryAfter, time.Hour)
}

func TestARedirectToAnotherHostDoesNotGetTheToken(t *testing.T) {
	elsewhere := newFake(t, nil)
	away := strings.Replace(elsewhere.server.URL, "127.0.0.1", "localhost", 1)
	for _, kind := range []forge.Kind{forge.GitHub, forge.GitLab, forge.Gitea} {
		_, c := serve(t, kind, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, away, http.StatusFound) })
		_, err := c.Find(t.Context(), 7)
		require.ErrorIs(t, err, forge.ErrUnavailable)
		require.ErrorContains(t, err, "the server redirects to "+away)
		require.ErrorContains(t, c.Close(t.Context(), 7), "the server redirects a request that carries data")
	}
	require.Empty(t, elsewhere.requests())
}

func TestARenamedRepositoryIsFollowedOnItsOwnHost(t *testing.T) {
	_, c := serve(t, forge.GitHub, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/v3/repos/") {
			http.Redirect(w, r, "/api/v3/repositories/1/pulls/7", http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(githubMerged))
	})
	found, err := c.Find(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, 7, found.Number)
}

func TestAnAnswerThatIsTooLargeIsNotRead(t *testing.T) {
	_, c := serve(t, forge.GitHub, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for range 17 {
			_, _ = w.Write(make([]byte, 1<<20))
		}
	})
	_, err := c.Find(t.Context(), 7)
	require.ErrorIs(t, err, forge.ErrUnavailable)
	require.ErrorContains(t, err, "its answer is larger than 16 MiB")
}

func TestASilentForgeAndACancelledRequestEnd(t *testing.T) {
	silent := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(silent) })
	c := open(t, forge.Options{Kind: forge.Gitea, URL: server.URL + "/acme/db", Timeout: 50 * time.Millisecond})
	_, err := c.Me(t.Context())
	require.ErrorIs(t, err, forge.ErrUnavailable)
	require.ErrorContains(t, err, "no answer within 50ms")

	c = open(t, forge.Options{Kind: forge.Gitea, URL: server.URL + "/acme/db"})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = c.Me(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "the request was cancelled")
}

func TestAForgeThatIsNotThere(t *testing.T) {
	server, c := serve(t, forge.Gitea, nil)
	server.Close()
	_, err := c.Me(t.Context())
	require.ErrorIs(t, err, forge.ErrUnavailable)
	require.ErrorContains(t, err, "connection refused")
}

func TestTheForgesCAAndANewTokenAreReadFromTheFolder(t *testing.T) {
	var got string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"login": "gitrota-bot"}`))
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	put := func(key, value string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600))
	}
	put("bearerToken", "old-token")
	c := open(t, forge.Options{Kind: forge.Gitea, URL: server.URL + "/acme/db", AuthDir: dir})
	_, err := c.Me(t.Context())
	require.ErrorContains(t, err, "certificate signed by unknown authority")

	put("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	_, err = c.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Bearer old-token", got)

	put("bearerToken", "another-token")
	_, err = c.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Bearer another-token", got)
}
