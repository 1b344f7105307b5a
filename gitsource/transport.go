package gitsource

import (
	"context"
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

	"github.com/gitrota/gitrota/policies/credential"
)

const userAgent = "git/gitrota"

func newHTTPWire(to remote, auth Auth, now func() time.Time) (*httpWire, error) {
	trust, err := auth.tlsConfig()
	if err != nil {
		return nil, err
	}
	proxy := http.ProxyFromEnvironment
	if chosen, err := parseProxy(auth.Proxy); err != nil {
		return nil, err
	} else if chosen != nil {
		proxy = http.ProxyURL(chosen)
	}
	w := &httpWire{
		known:   map[service]httpGreeting{},
		base:    strings.TrimSuffix(to.String(), "/"),
		auth:    auth,
		present: presentToGit,
		client: &http.Client{
			CheckRedirect: checkRedirect,
			Transport: &http.Transport{
				Proxy: proxy,
				OnProxyConnectResponse: func(_ context.Context, proxy *url.URL, _ *http.Request, res *http.Response) error {
					return refusedByProxy(proxy, res.StatusCode, res.Status)
				},
				TLSClientConfig:     trust,
				ForceAttemptHTTP2:   true,
				MaxIdleConns:        2,
				MaxIdleConnsPerHost: 2,
				IdleConnTimeout:     10 * time.Minute, // longer than anybody polls: an idle poll needs no handshake
				// A connection that died in its sleep is noticed before the next poll waits for it.
				HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second},
			},
		},
	}
	if !auth.GitHubApp.isZero() {
		if w.app, err = newAppTokens(auth.GitHubApp, w.client, now); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// retire lets go of the connections that nobody uses. Conversations go on.
func (w *httpWire) retire() { w.forget() }

// secrets returns what must not come back in an error's text.
func (w *httpWire) secrets() []string {
	all := w.auth.secrets()
	if w.app != nil {
		all = append(all, w.app.secrets()...)
	}
	if u, err := url.Parse(w.base); err == nil {
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
			all = append(all, formsOfProxy(proxy)...)
		}
	}
	return all
}

// tlsConfig is whom we trust and who we are. A proxy that speaks TLS is met with it as well.
func (a Auth) tlsConfig() (*tls.Config, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM(a.CA)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if len(a.ClientCert) > 0 {
		pair, err := tls.X509KeyPair(a.ClientCert, []byte(a.ClientKey.Reveal()))
		if err != nil {
			return nil, errors.New("tls.crt and tls.key of the Git credentials are not a certificate and its private key in PEM")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// checkRedirect follows a redirect only while it stays with the host and port that the credentials are for, and only for
// the first request of a conversation, as git does. The one step aside is from a host's plain HTTP to its HTTPS.
func checkRedirect(next *http.Request, before []*http.Request) error {
	first := before[0].URL
	upgrade := first.Scheme == "http" && next.URL.Scheme == "https" && first.Hostname() == next.URL.Hostname() &&
		(first.Port() == "" || first.Port() == "80") && (next.URL.Port() == "" || next.URL.Port() == "443")
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

// ask sends a request with the credentials and returns the response, whatever it says. The token of a GitHub App is
// fetched anew if the server does not take the one that we have: it may have been revoked.
func (w *httpWire) ask(req *http.Request) (*http.Response, error) {
	res, used, err := w.send(req)
	if err == nil && res.StatusCode == http.StatusUnauthorized && w.app != nil {
		res.Body.Close()
		w.app.forget(used)
		again := req.Clone(req.Context())
		if req.GetBody != nil {
			if again.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
		res, _, err = w.send(again)
	}
	return res, err
}

// do is ask for a successful response.
func (w *httpWire) do(req *http.Request) (*http.Response, error) {
	res, err := w.ask(req)
	if err != nil {
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
	case res.StatusCode == http.StatusProxyAuthRequired:
		refused.Kind = ErrUnreachable
		refused.Detail += ": check the user and password of the proxy"
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

// send sends a request with the credentials. It returns the GitHub App's token that it used, if that is what they are.
func (w *httpWire) send(req *http.Request) (*http.Response, credential.Password, error) {
	req.Header.Set("User-Agent", userAgent)
	var token credential.Password
	switch {
	case w.app != nil:
		var err error
		if token, err = w.app.token(req.Context()); err != nil {
			return nil, token, err
		}
		w.present(req, appUsername, token)
	case !w.auth.BearerToken.IsZero():
		w.present(req, "", w.auth.BearerToken)
	case w.auth.Username != "":
		w.present(req, w.auth.Username, w.auth.Password)
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, token, brokenOff{withoutURL(err)}
	}
	return res, token, nil
}

// presentToGit puts credentials on a request as Git servers take them. A bearer token has no user name.
func presentToGit(req *http.Request, username string, secret credential.Password) {
	if username == "" {
		req.Header.Set("Authorization", "Bearer "+secret.Reveal())
		return
	}
	req.SetBasicAuth(username, secret.Reveal())
}

// withoutURL returns an HTTP client's error without the method and URL, which are said elsewhere.
func withoutURL(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		return asked.Err
	}
	return err
}
