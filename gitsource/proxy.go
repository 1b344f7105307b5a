package gitsource

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	xproxy "golang.org/x/net/proxy"

	"github.com/gitrota/gitrota/policies/credential"
)

// parseProxy reads the URL of a proxy: http://host:port or https://host:port, which is asked to CONNECT, or
// socks5://host:port, which is given the server's name to look up; each may begin with user:password@. The zero value is
// nil. Its errors do not quote the URL.
func parseProxy(raw credential.Password) (*url.URL, error) {
	if raw.IsZero() {
		return nil, nil
	}
	u, err := url.Parse(raw.Reveal())
	switch {
	case err != nil || u.Hostname() == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the key proxy of the Git credentials is not the URL of a proxy: give http://user:password@host:port or socks5://host:port")
	case u.Scheme == "socks5h":
		u.Scheme = "socks5" // names are always looked up by the proxy
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5":
		return nil, errors.New("the key proxy of the Git credentials has a scheme other than http, https and socks5")
	}
	return u, nil
}

// formsOfProxy lists the forms in which a proxy's password travels.
func formsOfProxy(proxy *url.URL) []string {
	password, _ := proxy.User.Password()
	forms := formsOf(proxy.User.Username(), password)
	if password != "" {
		forms = append(forms, proxy.User.String())
	}
	return forms
}

// dialer connects directly, or through a proxy.
type dialer struct {
	proxy *url.URL    // nil: none
	trust *tls.Config // for a proxy that speaks TLS
}

// dial connects to address, host:port. The context ends a dial and the handshake with a silent proxy alike, and not the
// connection that was made.
func (d dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	var direct net.Dialer
	proxy := d.proxy
	if proxy == nil {
		return direct.DialContext(ctx, "tcp", address)
	}
	at := proxyAddress(proxy)
	if proxy.Scheme == "socks5" {
		var login *xproxy.Auth
		if proxy.User != nil {
			password, _ := proxy.User.Password()
			login = &xproxy.Auth{User: proxy.User.Username(), Password: password}
		}
		socks, err := xproxy.SOCKS5("tcp", at, login, &direct)
		if err != nil {
			return nil, err
		}
		conn, err := socks.(xproxy.ContextDialer).DialContext(ctx, "tcp", address)
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			<-ctx.Done() // the connection's deadline is the context's, and its clock was a little faster
		}
		if err != nil {
			return nil, ended(ctx, proxyFailed(proxy, err.Error()))
		}
		return conn, nil
	}
	conn, err := direct.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, proxyFailed(proxy, err.Error())
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	through, err := d.connect(ctx, conn, address)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return through, nil
}

// connect asks an HTTP proxy for a tunnel.
func (d dialer) connect(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	proxy := d.proxy
	if proxy.Scheme == "https" {
		trust := d.trust.Clone()
		trust.ServerName = proxy.Hostname()
		secure := tls.Client(conn, trust)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, proxyFailed(proxy, err.Error())
		}
		conn = secure
	}
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		login := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
		ask.Header.Set("Proxy-Authorization", "Basic "+login)
	}
	if err := ask.Write(conn); err != nil {
		return nil, proxyFailed(proxy, err.Error())
	}
	answer := bufio.NewReader(conn)
	response, err := http.ReadResponse(answer, ask)
	if err != nil {
		return nil, proxyFailed(proxy, err.Error())
	}
	response.Body.Close()
	if err := refusedByProxy(proxy, response.StatusCode, response.Status); err != nil {
		return nil, err
	}
	return &tunnel{Conn: conn, answer: answer}, nil
}

// tunnel is a connection whose first bytes may have been read together with the proxy's answer.
type tunnel struct {
	net.Conn
	answer *bufio.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.answer.Read(p) }

// refusedByProxy explains an answer to CONNECT; nil for a good one.
func refusedByProxy(proxy *url.URL, code int, status string) error {
	switch {
	case code == http.StatusOK:
		return nil
	case code == http.StatusProxyAuthRequired:
		return proxyFailed(proxy, "HTTP "+status+": check the user and password in its URL")
	}
	return proxyFailed(proxy, "HTTP "+status)
}

func proxyFailed(proxy *url.URL, why string) error {
	return &Error{Kind: ErrUnreachable, Detail: fmt.Sprintf("the proxy %s://%s: %s", proxy.Scheme, proxy.Host, why)}
}

func proxyAddress(proxy *url.URL) string {
	port := proxy.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080"}[proxy.Scheme]
	}
	return net.JoinHostPort(proxy.Hostname(), port)
}
