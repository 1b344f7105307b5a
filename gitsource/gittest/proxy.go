package gittest

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// Proxy tunnels TCP connections for those who know its user and password: with CONNECT (RFC 9110), or SOCKS5 (RFC 1928,
// RFC 1929). It is safe for concurrent use.
type Proxy struct {
	// URL holds the user and password that the proxy asks for.
	URL string

	login    string // user:password
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	targets []string
	refused int
	conns   map[net.Conn]struct{}
}

// NewProxy starts a proxy of the scheme http, https or socks5 that asks for this user and password. The scheme https
// takes the certificate of a server with TLS.
func NewProxy(t TB, scheme, username, password string, certificate *Server) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("starting a proxy: %v", err)
	}
	address := listener.Addr().String()
	if scheme == "https" {
		listener = tls.NewListener(listener, &tls.Config{Certificates: certificate.http.TLS.Certificates})
	}
	p := &Proxy{URL: scheme + "://" + username + ":" + password + "@" + address, login: username + ":" + password, listener: listener, conns: map[net.Conn]struct{}{}}
	serve := p.connect
	if scheme == "socks5" {
		serve = p.socks
	}
	p.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.hold(conn)
			p.wg.Go(func() {
				defer p.drop(conn)
				serve(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(p.close)
	return p
}

// Targets lists the addresses that the proxy was asked to tunnel to by somebody who may.
func (p *Proxy) Targets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.targets...)
}

// Refused returns how many clients came with a wrong user or password, or none.
func (p *Proxy) Refused() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) hold(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = struct{}{}
}

func (p *Proxy) drop(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// knows notes a client's login and where it wants to go.
func (p *Proxy) knows(login, target string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if login != p.login {
		p.refused++
		return false
	}
	if target != "" {
		p.targets = append(p.targets, target)
	}
	return true
}

func (p *Proxy) connect(conn net.Conn, from *bufio.Reader) {
	req, err := http.ReadRequest(from)
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.login))
	login := p.login
	if got := req.Header.Get("Proxy-Authorization"); got != want {
		login = "somebody else"
	}
	if !p.knows(login, req.Host) {
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
		return
	}
	to, err := net.Dial("tcp", req.Host)
	if err != nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection Established\r\n\r\n")
	p.tunnel(conn, from, to)
}

func (p *Proxy) socks(conn net.Conn, from *bufio.Reader) {
	read := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(from, b)
		return b
	}
	text := func() string { return string(read(int(read(1)[0]))) }
	read(1)
	_ = text() // the methods that the client knows
	_, _ = conn.Write([]byte{5, 2})
	if version := read(1)[0]; version != 1 { // user and password, or a client that went away
		p.knows("", "")
		return
	}
	username, password := text(), text()
	if !p.knows(username+":"+password, "") {
		_, _ = conn.Write([]byte{1, 1})
		return
	}
	_, _ = conn.Write([]byte{1, 0})
	var host string
	switch read(4)[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = text()
	case 4:
		host = net.IP(read(16)).String()
	}
	target := net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(read(2)))))
	p.knows(username+":"+password, target)
	to, err := net.Dial("tcp", target)
	if err != nil {
		_, _ = conn.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	p.tunnel(conn, from, to)
}

// tunnel copies both ways until both sides are done.
func (p *Proxy) tunnel(client net.Conn, from io.Reader, server net.Conn) {
	p.hold(server)
	defer p.drop(server)
	p.wg.Go(func() {
		_, _ = io.Copy(server, from)
		server.Close()
	})
	_, _ = io.Copy(client, server)
}

// Silent listens, accepts and says nothing, until the test ends. It returns host:port.
func Silent(t TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening: %v", err)
	}
	p := &Proxy{listener: listener, conns: map[net.Conn]struct{}{}}
	p.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.hold(conn)
		}
	})
	t.Cleanup(p.close)
	return listener.Addr().String()
}
