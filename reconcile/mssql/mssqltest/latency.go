package mssqltest

import (
	"net"
	"sync/atomic"
	"time"
)

// distant is a connection to a client far away: what the server says after it was asked arrives later. Each round trip
// takes that time, of the TLS handshake and the login, too; an answer of many packets takes it once.
type distant struct {
	net.Conn
	server *Server
	asked  atomic.Bool // something came in since the last answer
}

func (d *distant) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if n > 0 {
		d.asked.Store(true)
	}
	return n, err
}

func (d *distant) Write(p []byte) (int, error) {
	if d.asked.Swap(false) {
		sleep(d.server.ctx, time.Duration(d.server.plan.get().Latency))
	}
	return d.Conn.Write(p)
}
