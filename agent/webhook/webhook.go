// Package webhook lets a forge say that somebody has pushed, so that the next poll comes at once.
//
// What a request says is never read: it is only proven to come from somebody who knows the secret, over its raw body and
// in constant time, and then counts as a hint. A forged, lost or repeated hook costs a poll or an interval, and no more.
package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/gitrota/gitrota/policies/credential"
)

// Path is where the hooks of all forges arrive: followed by the name of the forge.
const Path = "/hook/"

// MaxBody is how long a hook may be, in bytes.
const MaxBody = 1 << 20

// The rate at which hooks are looked at, together: a forge sends one for each push, a flood is turned away before its
// bodies are read.
const (
	perSecond = 20
	burst     = 100
)

// Secret is what the forge and we both know. It does not print.
type Secret struct {
	Token    credential.Password // for all but Azure DevOps
	Username string              // for Azure DevOps, with Password
	Password credential.Password
}

// LoadSecret reads a mounted Secret: a folder with the key token, or username and password, or all three.
func LoadSecret(dir string) (Secret, error) {
	values := map[string]string{}
	for _, key := range []string{"token", "username", "password"} {
		text, err := os.ReadFile(filepath.Join(dir, key))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return Secret{}, fmt.Errorf("reading the webhooks' secret: %w", err)
		}
		// A line break at the end is an editor's or echo's, and no part of a token.
		values[key] = strings.TrimRight(string(text), "\r\n")
	}
	s := Secret{
		Token:    credential.NewPassword(values["token"]),
		Username: values["username"], Password: credential.NewPassword(values["password"]),
	}
	switch {
	case (s.Username == "") != s.Password.IsZero():
		return Secret{}, fmt.Errorf("the webhooks' secret in %s needs both username and password, or neither", dir)
	case s.Token.IsZero() && s.Username == "":
		return Secret{}, fmt.Errorf("the webhooks' secret in %s holds neither the key token nor username and password (for Azure DevOps)", dir)
	}
	return s, nil
}

// Options say what a handler needs. All fields but Log are needed.
type Options struct {
	Secret func() Secret    // asked for each hook, so that it may change
	Notify func()           // called for each good hook; must not block
	Now    func() time.Time // for signatures that hold a time
	Log    *slog.Logger     // nil: none
}

// handler is the hooks' HTTP handler.
type handler struct {
	Options
	limit   *rate.Limiter
	refusal rate.Sometimes // for the log
}

// New returns a handler for [Path]. It answers 202 to a good hook, 401 to one whose signature is wrong or missing, 404
// where there is no such forge, 405 to anything but POST, 413 to a body over MaxBody, and 429 to a flood.
func New(options Options) http.Handler {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &handler{
		Options: options,
		limit:   rate.NewLimiter(perSecond, burst),
		refusal: rate.Sometimes{First: 3, Interval: time.Minute},
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, found := strings.CutPrefix(r.URL.Path, Path)
	forge, known := forges[name]
	switch {
	case !found || !known:
		http.Error(w, "there is no such hook: use "+Path+"github, gitlab, gitea, bitbucket, azure or generic", http.StatusNotFound)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "a hook is sent with POST", http.StatusMethodNotAllowed)
		return
	case !h.limit.Allow():
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many hooks: the repository is polled anyway", http.StatusTooManyRequests)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, fmt.Sprintf("the hook is larger than %d bytes", MaxBody), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "the hook could not be read", http.StatusBadRequest)
		return
	}
	if !forge.proves(proof{h.Secret(), r.Header, body, h.Now()}) {
		h.refusal.Do(func() {
			h.Log.Warn("a webhook was refused: its signature is wrong or missing", "forge", name, "from", r.RemoteAddr)
		})
		w.Header().Set("WWW-Authenticate", forge.asks)
		http.Error(w, forge.wants, http.StatusUnauthorized)
		return
	}
	h.Log.Debug("a webhook came in", "forge", name)
	h.Notify()
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, "the repository is polled next\n")
}

// same compares in constant time, whatever the lengths.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
