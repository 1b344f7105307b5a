package forge_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/policies/credential"
)

// canary is the token of these tests. It must be in no error.
const canary = "Canary5ecretToken"

// The commits of these tests.
const (
	first  = "1111111111111111111111111111111111111111"
	second = "2222222222222222222222222222222222222222"
	merge  = "3333333333333333333333333333333333333333"
	blob   = "ce013625030ba8dba906f756967f9e9ca394464a" // of "hello\n"
)

// fake answers as a forge documents it: each request, "METHOD path?query" with the query unescaped, with a text of JSON.
type fake struct {
	server  *httptest.Server
	answers map[string]string

	mu    sync.Mutex
	asked []string // with the bodies of requests that have one
	auth  string   // of the last request
}

func newFake(t *testing.T, answers map[string]string) *fake {
	f := &fake{answers: answers}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := r.Method + " " + r.URL.EscapedPath()
	if query, _ := url.QueryUnescape(r.URL.RawQuery); query != "" {
		request += "?" + query
	}
	answer, known := f.answers[request]
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.asked = append(f.asked, strings.TrimSpace(request+" "+string(body)))
	f.auth = r.Header.Get("Authorization")
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if !known {
		w.WriteHeader(http.StatusNotFound)
		answer = `{"message": "Not Found"}`
	}
	_, _ = io.WriteString(w, strings.ReplaceAll(answer, "HOST", f.server.URL))
}

// requests returns what was asked since the last call.
func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

// client is one of a repository at the fake's address.
func (f *fake) client(t *testing.T, kind forge.Kind, path string) *forge.Client {
	return open(t, forge.Options{
		Kind: kind, URL: f.server.URL + "/" + path, API: map[forge.Kind]string{forge.Bitbucket: f.server.URL}[kind],
		Auth: gitsource.Auth{BearerToken: credential.NewPassword(canary)},
	})
}

func open(t *testing.T, o forge.Options) *forge.Client {
	t.Helper()
	c, err := forge.Open(o)
	require.NoError(t, err)
	return c
}

func at(text string) time.Time {
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return parsed
}
