package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// proxy stands between the clients and the server and counts the bytes that go by, whatever they are.
type proxy struct {
	listener net.Listener
	server   string // host:port
	in, out  atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newProxy(server string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, server: server, conns: map[net.Conn]struct{}{}}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve(client net.Conn) {
	defer p.forget(client)
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		client.Close()
		return
	}
	defer p.forget(server)
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	go func() {
		_, _ = io.Copy(counted{server, &p.out}, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(counted{client, &p.in}, server)
}

func (p *proxy) forget(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// close ends every connection.
func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// counted counts before it hands on, so that whoever has got a byte finds it counted.
type counted struct {
	to    io.Writer
	total *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.total.Add(int64(len(b)))
	return c.to.Write(b)
}
