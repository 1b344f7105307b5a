package gitsource

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
)

// appTokens fetches a GitHub App's tokens and keeps the newest. It is safe for concurrent use.
type appTokens struct {
	app    GitHubApp
	base   string
	key    *rsa.PrivateKey
	client *http.Client
	now    func() time.Time

	busy chan struct{} // holds one token: the right to fetch

	mu       sync.Mutex
	current  credential.Password
	previous credential.Password // a conversation may still be using it
	expires  time.Time
	jwt      string // that was sent last
}

func newAppTokens(app GitHubApp, client *http.Client, now func() time.Time) (*appTokens, error) {
	key, err := parseAppKey(app.PrivateKey)
	if err != nil {
		return nil, err
	}
	base := app.BaseURL
	if base == "" {
		base = publicGitHubAPI
	}
	return &appTokens{
		app: app, base: strings.TrimSuffix(base, "/"), key: key, client: client, now: now, busy: make(chan struct{}, 1),
	}, nil
}

// token returns a token that is good for a while, and fetches one when there is none. Many callers wait for one fetch.
func (t *appTokens) token(ctx context.Context) (credential.Password, error) {
	token, err := t.keptOrFetched(ctx)
	if errors.Is(err, errNoInstallation) {
		err = appFailed(ErrAuth, err.Error())
	}
	return token, err
}

func (t *appTokens) keptOrFetched(ctx context.Context) (credential.Password, error) {
	select {
	case t.busy <- struct{}{}:
		defer func() { <-t.busy }()
	case <-ctx.Done():
		return credential.Password{}, ctx.Err()
	}
	if token, ok := t.kept(); ok {
		return token, nil
	}
	installation := t.app.InstallationID
	if installation == "" {
		var err error
		if installation, err = t.findInstallation(ctx); err != nil {
			return credential.Password{}, err
		}
	}
	var answer struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := t.ask(ctx, http.MethodPost, "/app/installations/"+installation+"/access_tokens", &answer); err != nil {
		return credential.Password{}, err
	}
	if answer.Token == "" || answer.ExpiresAt.IsZero() {
		return credential.Password{}, appFailed(ErrUnreachable, "its answer holds no token: is githubAppBaseURL an API's URL?")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.previous, t.current, t.expires = t.current, credential.NewPassword(answer.Token), answer.ExpiresAt
	return t.current, nil
}

// beforeExpiry is how long before its end a token is given up: longer than an operation takes.
const beforeExpiry = 5 * time.Minute

func (t *appTokens) kept() (credential.Password, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current, !t.current.IsZero() && t.now().Add(beforeExpiry).Before(t.expires)
}

// forget drops a token that the server did not take, unless there is a newer one already.
func (t *appTokens) forget(refused credential.Password) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.Reveal() == refused.Reveal() {
		t.expires = time.Time{}
	}
}

func (t *appTokens) secrets() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := append(formsOf(appUsername, t.current.Reveal()), formsOf(appUsername, t.previous.Reveal())...)
	if t.jwt != "" {
		all = append(all, t.jwt)
	}
	return all
}

// findInstallation asks for the installation of an account, which is an organisation or a user.
func (t *appTokens) findInstallation(ctx context.Context) (string, error) {
	var answer struct {
		ID json.Number `json:"id"`
	}
	err := t.ask(ctx, http.MethodGet, "/orgs/"+t.app.InstallationOwner+"/installation", &answer)
	if errors.Is(err, errNoInstallation) {
		err = t.ask(ctx, http.MethodGet, "/users/"+t.app.InstallationOwner+"/installation", &answer)
	}
	if err == nil && !installationIDs.MatchString(answer.ID.String()) {
		err = appFailed(ErrUnreachable, "its answer holds no installation: is githubAppBaseURL an API's URL?")
	}
	return answer.ID.String(), err
}

var errNoInstallation = errors.New("there is no such installation: check githubAppID, and that the App is installed " +
	"for the account that githubAppInstallationID or githubAppInstallationOwner names")

// ask sends one request in the App's own name.
func (t *appTokens) ask(ctx context.Context, method, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, t.base+path, nil)
	if err != nil {
		return err
	}
	jwt, err := signJWT(t.app.ID, t.key, t.now())
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.jwt = jwt
	t.mu.Unlock()
	req.Header.Set("Authorization", "Bearer "+jwt)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	req.Header.Set("User-Agent", userAgent)
	res, err := t.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking GitHub's API at %s for a token: %w", t.base, withoutURL(err))
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("asking GitHub's API at %s for a token: %w", t.base, err)
	}
	if res.StatusCode/100 == 2 {
		if json.Unmarshal(text, answer) != nil {
			return appFailed(ErrUnreachable, "its answer is not JSON: is githubAppBaseURL an API's URL?")
		}
		return nil
	}
	var refusal struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(bytes.TrimSpace(text), &refusal)
	rest := retryAfter(res.Header.Get("Retry-After"))
	switch {
	case res.StatusCode == http.StatusNotFound:
		return errNoInstallation
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden && rest == 0:
		return &Error{Kind: ErrAuth, Server: refusal.Message, Detail: "GitHub's API answers HTTP " + res.Status +
			" to the App: check githubAppID, githubAppPrivateKey and this machine's clock"}
	}
	return &Error{Kind: ErrUnreachable, Server: refusal.Message, Detail: "GitHub's API answers HTTP " + res.Status, RetryAfter: rest}
}

func appFailed(kind error, why string) *Error {
	return &Error{Kind: kind, Detail: "asking GitHub's API for a token: " + why}
}
