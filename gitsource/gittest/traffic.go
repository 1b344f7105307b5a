package gittest

import (
	"net"
	"sync/atomic"
)

// Traffic is what went over the wire, as the server counts it: everything from the first byte of a connection on, TLS
// and SSH included.
type Traffic struct {
	Connections int
	Received    int64 // bytes from clients
	Sent        int64 // bytes to clients
}

// Traffic returns what went over HTTP and SSH since the server was started.
func (s *Server) Traffic() Traffic {
	return Traffic{int(s.traffic.connections.Load()), s.traffic.received.Load(), s.traffic.sent.Load()}
}

// Since returns what came on top of an earlier count.
func (t Traffic) Since(before Traffic) Traffic {
	return Traffic{t.Connections - before.Connections, t.Received - before.Received, t.Sent - before.Sent}
}

type counters struct {
	connections    atomic.Int64
	received, sent atomic.Int64
}

// counted counts what goes over its connections.
type counted struct {
	net.Listener
	to *counters
}

func (l counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.to.connections.Add(1)
	return countedConn{conn, l.to}, nil
}

type countedConn struct {
	net.Conn
	to *counters
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.to.received.Add(int64(n))
	return n, err
}

// Write counts first: who has read an answer finds it counted.
func (c countedConn) Write(p []byte) (int, error) {
	c.to.sent.Add(int64(len(p)))
	n, err := c.Conn.Write(p)
	c.to.sent.Add(int64(n - len(p)))
	return n, err
}
