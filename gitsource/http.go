package gitsource

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// httpWire speaks Git's smart HTTP protocol over a client of its own, so that one repository's CA, credentials and
// connection are nobody else's.
type httpWire struct {
	base   string // the repository's URL
	auth   Auth
	app    *appTokens // nil: the credentials are not a GitHub App's
	client *http.Client
}

func (w *httpWire) open(ctx context.Context, service string) (conversation, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+"/info/refs?service="+service, nil)
	if err != nil {
		return nil, err
	}
	res, err := w.do(req)
	if err != nil {
		return nil, err
	}
	if kind := res.Header.Get("Content-Type"); kind != "application/x-"+service+"-advertisement" {
		res.Body.Close()
		return nil, fmt.Errorf("the server answers with %q and not with a Git repository: is the URL a repository's?", kind)
	}
	// A renamed repository is asked under its new name from here on.
	base := strings.TrimSuffix(res.Request.URL.Scheme+"://"+res.Request.URL.Host+res.Request.URL.EscapedPath(), "/info/refs")
	return &httpConversation{wire: w, base: base, service: service, bodies: []io.ReadCloser{res.Body}}, nil
}

// httpConversation is a GET for the advertisement and a POST for the request.
type httpConversation struct {
	wire          *httpWire
	base, service string
	bodies        []io.ReadCloser
}

func (c *httpConversation) advertisement() io.Reader { return c.bodies[0] }

func (c *httpConversation) ask(ctx context.Context, request []byte) (io.Reader, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/"+c.service, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-"+c.service+"-request")
	req.Header.Set("Accept", "application/x-"+c.service+"-result")
	res, err := c.wire.do(req)
	if err != nil {
		return nil, err
	}
	c.bodies = append(c.bodies, res.Body)
	return res.Body, nil
}

func (c *httpConversation) words() string { return "" }

// close reads what is left of the answers, within reason, so that the connection can be used again.
func (c *httpConversation) close() {
	for _, body := range c.bodies {
		_, _ = io.CopyN(io.Discard, body, 64<<10)
		body.Close()
	}
}
