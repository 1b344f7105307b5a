package gitsource

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func newHTTPWire(to remote, auth Auth) (*httpWire, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM(auth.CA)
	return &httpWire{
		known: map[string]httpGreeting{},
		base:  strings.TrimSuffix(to.String(), "/"),
		auth:  auth,
		client: &http.Client{
			CheckRedirect: checkRedirect,
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
				ForceAttemptHTTP2:   true,
				MaxIdleConns:        2,
				MaxIdleConnsPerHost: 2,
				IdleConnTimeout:     10 * time.Minute, // longer than anybody polls: an idle poll needs no handshake
				// A connection that died in its sleep is noticed before the next poll waits for it.
				HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second},
			},
		},
	}, nil
}

// checkRedirect follows a redirect only while it stays with the host that the credentials are for, and only for the
// first request of a conversation, as git does.
func checkRedirect(next *http.Request, before []*http.Request) error {
	first := before[0].URL
	upgrade := first.Scheme == "http" && next.URL.Scheme == "https" && first.Hostname() == next.URL.Hostname()
	same := first.Scheme == next.URL.Scheme && first.Host == next.URL.Host
	switch {
	case next.Method != http.MethodGet || before[0].Method != http.MethodGet:
		return errors.New("the server redirects a request that carries data")
	case len(before) >= 5:
		return errors.New("the server redirects in circles")
	case !same && !upgrade:
		return fmt.Errorf("the server redirects to %s://%s: if that is right, make it the Git URL",
			next.URL.Scheme, next.URL.Host)
	}
	return nil
}

// do sends a request with the credentials and returns a successful response.
func (w *httpWire) do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", "git/gitrota")
	w.authorise(req)
	res, err := w.client.Do(req)
	if err != nil {
		var asked *url.Error
		if errors.As(err, &asked) {
			err = asked.Err
		}
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	words, _ := io.ReadAll(io.LimitReader(res.Body, maxWords))
	refused := &Error{Detail: "HTTP " + res.Status, Server: plainWords(res.Header.Get("Content-Type"), words)}
	switch {
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		refused.Kind = ErrAuth
		refused.Detail += ": check username and password or bearerToken, and that they may read and write this repository"
	case res.StatusCode == http.StatusNotFound:
		refused.Kind = ErrRepositoryNotFound
	default:
		refused.Kind = ErrUnreachable
		refused.RetryAfter = retryAfter(res.Header.Get("Retry-After"))
	}
	return nil, refused
}

// plainWords returns a server's words, and nothing where they are a web page.
func plainWords(kind string, words []byte) string {
	if strings.HasPrefix(kind, "text/plain") {
		return string(words)
	}
	return ""
}

// retryAfter reads the header of that name, in seconds or as a date; 0 when there is none.
func retryAfter(header string) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, 24*time.Hour)
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// authorise adds the credentials to a request.
func (w *httpWire) authorise(req *http.Request) {
	if token := w.auth.BearerToken; !token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	} else if w.auth.Username != "" {
		req.SetBasicAuth(w.auth.Username, w.auth.Password.Reveal())
	}
}
