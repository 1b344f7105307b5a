package gitsource

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/gitrota/gitrota/gitsource/protocol"
	"github.com/gitrota/gitrota/policies/credential"
)

// httpWire speaks Git's smart HTTP protocol over a client of its own, so that one repository's CA, credentials and
// connection are nobody else's.
//
// What a server can do is asked for once and remembered, so that a conversation is one request: with version 2 of the
// protocol every request stands for itself, and so does a push, which names the commit that it replaces.
type httpWire struct {
	base   string // the repository's URL
	auth   Auth
	app    *appTokens // nil: the credentials are not a GitHub App's
	client *http.Client
	// present puts a user name, "" for a bearer token, and a secret on a request.
	present func(req *http.Request, username string, secret credential.Password)

	mu    sync.Mutex
	known map[service]httpGreeting
}

// httpGreeting is how a server has introduced itself, and where.
type httpGreeting struct {
	base string // the repository's URL after redirects
	said *greeting
}

func (w *httpWire) open(ctx context.Context, of service) (conversation, error) {
	w.mu.Lock()
	known, ok := w.known[of]
	w.mu.Unlock()
	if ok {
		return &httpConversation{wire: w, service: of, httpGreeting: known, kept: true}, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+"/info/refs?service="+of.program, nil)
	if err != nil {
		return nil, err
	}
	c := &httpConversation{wire: w, service: of}
	if of.v2 {
		req.Header.Set("Git-Protocol", protocol.Version)
	}
	res, err := w.do(req)
	if err != nil {
		return nil, err
	}
	c.body = res.Body
	if kind := res.Header.Get("Content-Type"); kind != "application/x-"+of.program+"-advertisement" {
		c.close()
		return nil, fmt.Errorf("the server answers with %q and not with a Git repository: is the URL a repository's?", kind)
	}
	if c.said, err = readGreeting(arriving{res.Body}, of, c.words); err != nil {
		c.close()
		return nil, err
	}
	// A renamed repository is asked under its new name from here on.
	c.base = strings.TrimSuffix(res.Request.URL.Scheme+"://"+res.Request.URL.Host+res.Request.URL.EscapedPath(), "/info/refs")
	if said := c.said.remembered(of); said != nil {
		w.mu.Lock()
		w.known[of] = httpGreeting{base: c.base, said: said}
		w.mu.Unlock()
	}
	return c, nil
}

func (w *httpWire) forget() {
	w.mu.Lock()
	clear(w.known)
	w.mu.Unlock()
	w.client.CloseIdleConnections()
}

// httpConversation is a GET for the greeting, unless that is known, and a POST for each request.
type httpConversation struct {
	wire    *httpWire
	service service
	httpGreeting
	kept bool
	body io.ReadCloser // the last answer's
}

func (c *httpConversation) greeting() *greeting { return c.said }

func (c *httpConversation) warm() bool { return c.kept }

func (c *httpConversation) ask(ctx context.Context, request []byte) (io.Reader, error) {
	c.close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/"+c.service.program, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	kind := "application/x-" + c.service.program + "-result"
	req.Header.Set("Content-Type", "application/x-"+c.service.program+"-request")
	req.Header.Set("Accept", kind)
	if c.said.v2 != nil {
		req.Header.Set("Git-Protocol", protocol.Version)
	}
	res, err := c.wire.do(req)
	if err != nil {
		return nil, err
	}
	c.body = res.Body
	if got := res.Header.Get("Content-Type"); got != kind {
		return nil, fmt.Errorf("the server answers with %q and not with Git's protocol", got)
	}
	return arriving{res.Body}, nil
}

func (c *httpConversation) words() string { return "" }

// close reads what is left of the last answer, within reason, so that the connection can be used again.
func (c *httpConversation) close() {
	if c.body != nil {
		_, _ = io.CopyN(io.Discard, c.body, 64<<10)
		c.body.Close()
		c.body = nil
	}
}
