package gitsource

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
)

// API is the HTTP API of the server that a repository is on. It is reached as the repository is: with the same
// credentials, which are read again when they change, the same certificate authorities and proxy, and nothing to any
// other host. It is safe for concurrent use.
type API struct {
	base remote
	door *door
}

// Presenter puts credentials on a request. The user name is "" for a bearer token.
type Presenter func(req *http.Request, username string, secret credential.Password)

// OpenAPI prepares requests to the API at base, an https:// or http:// URL. Of the options, Auth, AuthDir,
// AllowPlainHTTP, Now and Log count. It does not touch the network.
func OpenAPI(base string, opts Options, present Presenter) (*API, error) {
	to, err := parseRemote(base)
	if err == nil && to.scheme == "ssh" {
		err = fmt.Errorf("%s is spoken to over SSH", to)
	}
	if err != nil {
		return nil, fmt.Errorf("the URL of the API: %w", err)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	judged := to
	if base == publicGitHubAPI {
		judged.host = "github.com" // whose Apps' tokens are meant for it
	}
	d, err := newDoor(opts, func(auth Auth) (access, error) {
		if err := auth.check(judged, opts.AllowPlainHTTP); err != nil {
			return nil, err
		}
		wire, err := newHTTPWire(to, auth, opts.Now)
		if err != nil {
			return nil, err
		}
		wire.present = present
		return wire, nil
	})
	if err != nil {
		return nil, err
	}
	return &API{base: to, door: d}, nil
}

// Do sends a request to the API, with the newest credentials, and returns the answer whatever it says.
func (a *API) Do(req *http.Request) (*http.Response, error) {
	if host := req.URL.Scheme + "://" + req.URL.Host; host != (remote{scheme: a.base.scheme, host: a.base.host, port: a.base.port}).String() {
		return nil, fmt.Errorf("refusing to send the credentials for %s to %s", a.base, host)
	}
	return a.door.enter().(*httpWire).ask(req)
}

// Close lets go of the connections that nobody uses. The API can be used again.
func (a *API) Close() { a.door.forget() }

// Scrub makes a text of the server's fit to be shown: no credentials, one line, no control characters, not endless.
func (a *API) Scrub(text string) string { return scrub(text, a.door.secrets()) }

// RetryAfter reads for how long an answer asks to be left alone, from its header of that name; 0 when it does not.
func RetryAfter(header http.Header) time.Duration { return retryAfter(header.Get("Retry-After")) }

// Locate splits the URL of a repository into the scheme and the host of its server, with the port unless that is SSH's,
// and the path there.
func Locate(repository string) (scheme, host, path string, err error) {
	at, err := parseRemote(repository)
	if err != nil {
		return "", "", "", err
	}
	path = strings.Trim(at.path, "/")
	if at.scheme == "ssh" {
		at.port = ""
	}
	_, host, _ = strings.Cut(remote{scheme: "https", host: at.host, port: at.port}.String(), "://")
	return at.scheme, host, path, nil
}
