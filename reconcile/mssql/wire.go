package mssql

import (
	"context"
	"database/sql/driver"
	"net"
	"sync"
	"time"

	"github.com/microsoft/go-mssqldb"
)

// connector dials for go-mssqldb and adds what it lacks: a login that ends with its context (the driver bounds only
// the dial), and exactly one try (database/sql would repeat a login that broke with driver.ErrBadConn).
type connector struct {
	*mssql.Connector
	wire *wire
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	// The context that the driver dials with ends with the dial; the whole login is bound to the caller's.
	c.Connector.Dialer = dialer(func(dial context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(dial, network, address)
		if err != nil {
			return nil, err
		}
		c.wire = &wire{Conn: conn}
		c.wire.release = c.wire.cut(ctx, 0)
		return c.wire, nil
	})
	conn, err := c.Connector.Connect(ctx)
	if c.wire != nil {
		c.wire.release()
	}
	if err != nil {
		return nil, opaque{err}
	}
	return conn, nil
}

// opaque hides that an error is driver.ErrBadConn, and keeps its text and its SQL Server number.
type opaque struct{ err error }

func (o opaque) Error() string { return o.err.Error() }

func (o opaque) As(target any) bool {
	if number, ok := target.(*mssql.Error); ok {
		return asServerError(o.err, number)
	}
	return false
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// DialContext implements [mssql.Dialer].
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}

// attentionGrace is how long a server may take to acknowledge a cancelled statement before its connection is cut.
const attentionGrace = time.Second

// wire is the network connection below a session.
type wire struct {
	net.Conn
	release func() // ends the login's bond to its context
}

// bound ties the connection to ctx, since the driver itself would wait without end for a server that does not
// acknowledge a cancellation. The caller calls what it returns.
func (w *wire) bound(ctx context.Context) func() { return w.cut(ctx, attentionGrace) }

func (w *wire) cut(ctx context.Context, grace time.Duration) func() {
	stop := context.AfterFunc(ctx, func() { w.SetDeadline(time.Now().Add(grace)) })
	return sync.OnceFunc(func() { stop() })
}
