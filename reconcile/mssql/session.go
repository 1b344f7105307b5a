// Package mssql is how gitrota speaks to a SQL Server: it opens sessions, asks which password a login has without
// trying one, and changes it.
//
// Three rules of SQL Server shape it. A session stays authenticated after its own password has changed, so an open
// session can ask and repair when a new login could not ([Session] is one connection, never a pool). PWDCOMPARE tells
// on an open session whether a password is a login's, without a failed login, an errorlog line or a count towards a
// lockout. And ALTER LOGIN takes no parameters, so its text is built here, in one place, with the quoting that T-SQL
// defines.
//
// Every error that leaves this package is a [fault.Error] whose class says what to do, and holds no password.
package mssql

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/microsoft/go-mssqldb"

	"github.com/gitrota/gitrota/policies/credential"
)

// Session is one authenticated connection. It is not safe for concurrent use. It never reconnects: after a broken
// connection every method fails, and the caller decides with which credential to come back.
type Session struct {
	endpoint Endpoint
	db       *sql.DB
	conn     *sql.Conn
	wire     *wire
	facts    map[string]Facts // by login, once asked for
}

// Open logs in once, with no second try behind the caller's back, and ends when ctx does even if the server says
// nothing at all. The caller closes the session.
func Open(ctx context.Context, endpoint Endpoint, login credential.Credential) (*Session, error) {
	return open(ctx, endpoint, login, credential.Password{})
}

// OpenWithNewPassword logs in with a password that has expired or must be changed, and changes it to next by that.
func OpenWithNewPassword(ctx context.Context, endpoint Endpoint, login credential.Credential, next credential.Password) (*Session, error) {
	return open(ctx, endpoint, login, next)
}

func open(ctx context.Context, endpoint Endpoint, login credential.Credential, next credential.Password) (*Session, error) {
	config, err := configFor(endpoint, login)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", endpoint.Name, err)
	}
	config.ChangePassword = next.Reveal()
	once := &connector{Connector: mssql.NewConnectorConfig(config)}
	db := sql.OpenDB(once)
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, loginFault(ctx, endpoint, login, err)
	}
	return &Session{endpoint: endpoint, db: db, conn: conn, wire: once.wire, facts: map[string]Facts{}}, nil
}

// Close ends the session. It may be called more than once.
func (s *Session) Close() {
	// A session that is no longer answered must not hold up its own end.
	s.wire.SetDeadline(time.Now().Add(time.Second))
	s.conn.Close()
	s.db.Close()
}
