package gittest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// GitHubApp is the part of GitHub's API that hands out the tokens of an App's installation. It checks the App's proof of
// itself as GitHub does. It is safe for concurrent use.
type GitHubApp struct {
	URL          string // of the API
	ID           string
	Installation string
	Owner        string // the account that it is installed for

	key *rsa.PrivateKey
	now func() time.Time

	mu      sync.Mutex
	good    map[string]time.Time // tokens, until when
	handed  int
	refuses func(http.ResponseWriter) bool
}

// NewGitHubApp starts the API of one App, installed for a user, whose clock is now.
func NewGitHubApp(t TB, now func() time.Time) *GitHubApp {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatalf("making a GitHub App: %v", err)
	}
	a := &GitHubApp{ID: "1234", Installation: "567", Owner: "ops-team", key: key, now: now, good: map[string]time.Time{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v3/app/installations/{id}/access_tokens", a.handOut)
	mux.HandleFunc("GET /api/v3/users/{owner}/installation", a.find)
	mux.HandleFunc("GET /api/v3/orgs/{owner}/installation", a.find)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	a.URL = server.URL + "/api/v3"
	return a
}

// PrivateKey is what GitHub lets the App's owner download.
func (a *GitHubApp) PrivateKey() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(a.key)}))
}

// PrivateKeyPKCS8 is the same key in another form.
func (a *GitHubApp) PrivateKeyPKCS8() string {
	raw, _ := x509.MarshalPKCS8PrivateKey(a.key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// Tokens returns how many tokens were handed out.
func (a *GitHubApp) Tokens() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.handed
}

// Revoke makes all tokens bad that were handed out so far.
func (a *GitHubApp) Revoke() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.good)
}

// Refuse lets answer stand in for every answer of the API for which it returns true.
func (a *GitHubApp) Refuse(answer func(http.ResponseWriter) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuses = answer
}

func (a *GitHubApp) valid(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, ok := a.good[token]
	return ok && a.now().Before(until)
}

func (a *GitHubApp) find(w http.ResponseWriter, r *http.Request) {
	switch {
	case !a.proven(w, r):
	case r.PathValue("owner") != a.Owner || strings.Contains(r.URL.Path, "/orgs/"): // it is a user's
		answer(w, http.StatusNotFound, map[string]any{"message": "Not Found"})
	default:
		answer(w, http.StatusOK, map[string]any{"id": json.Number(a.Installation)})
	}
}

func (a *GitHubApp) handOut(w http.ResponseWriter, r *http.Request) {
	if !a.proven(w, r) {
		return
	}
	if r.PathValue("id") != a.Installation {
		answer(w, http.StatusNotFound, map[string]any{"message": "Not Found"})
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handed++
	token, until := fmt.Sprintf("ghs_Canary5ecret%d", a.handed), a.now().Add(time.Hour)
	a.good[token] = until
	answer(w, http.StatusCreated, map[string]any{"token": token, "expires_at": until.UTC().Format(time.RFC3339)})
}

// proven checks the JSON Web Token of a request.
func (a *GitHubApp) proven(w http.ResponseWriter, r *http.Request) bool {
	a.mu.Lock()
	refuses := a.refuses
	a.mu.Unlock()
	if refuses != nil && refuses(w) {
		return false
	}
	if wrong := a.verify(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")); wrong != "" {
		answer(w, http.StatusUnauthorized, map[string]any{"message": wrong + ": " + r.Header.Get("Authorization")})
		return false
	}
	return true
}

// verify says in GitHub's words what is wrong with a JSON Web Token; "" when nothing is.
func (a *GitHubApp) verify(jwt string) string {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return "A JSON web token could not be decoded"
	}
	var header struct{ Alg, Typ string }
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	for i, into := range []any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return "A JSON web token could not be decoded"
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	now := a.now().Unix()
	switch {
	case header.Alg != "RS256" || err != nil || rsa.VerifyPKCS1v15(&a.key.PublicKey, crypto.SHA256, digest[:], signature) != nil:
		return "A JSON web token could not be decoded"
	case claims.Iss != a.ID:
		return "Integration not found"
	case claims.Iat > now:
		return "'Issued at' claim ('iat') must be an Integer representing a time in the past"
	case claims.Exp <= now || claims.Exp > now+600:
		return "'Expiration time' claim ('exp') is too far in the future"
	}
	return ""
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
