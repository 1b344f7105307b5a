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
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/gitrota/gitrota/policies/credential"
)

// Endpoint is one server. Connections are always encrypted, for ALTER LOGIN carries the password in its text.
type Endpoint struct {
	Name    string // how messages call it, for example the pod's name
	Address string // host:port
	// Database is where sessions begin; empty is master. In a contained database, logins are its users; in a database of a
	// contained availability group, they are those of the group.
	Database string
	// Contained: the login is a user of Database, which ALTER USER changes.
	Contained bool
	TLS       TLS
}

// TLS says how a server's certificate is checked.
type TLS struct {
	ServerName string         // the name that it must hold; not looked at where Pinned or Any is set
	RootCAs    *x509.CertPool // the authorities that may have signed it; nil: those of the system
	Pinned     []byte         // the only certificate that is taken, in DER; nil: any that an authority has signed
	// Any takes every certificate: the connection is safe from listening, not from somebody who can answer in the server's
	// place. KubeDB leaves no other choice where spec.tls.clientTLS is false, since SQL Server then signs its own
	// certificate at each start.
	Any bool
}

// Facts are what a server says of itself and of what the session may do there, instead of anybody assuming it.
type Facts struct {
	Server  string // @@SERVERNAME; empty if the server does not tell
	Edition string // "Developer Edition (64-bit)"; empty if the server does not tell
	Version string // "16.0.4175.1"
	Engine  int    // SERVERPROPERTY('EngineEdition'): 5 is Azure SQL Database, 8 Managed Instance; 0 if the server does not tell
	// Compares: [Session.Accepts] can tell without a login. Not where PWDCOMPARE or the password's hash are not to be had.
	Compares bool
	// Resets: the session may set the login's password without its old one, and so without its history and minimum age.
	Resets bool
	// Policy: CHECK_POLICY is on for the login.
	Policy bool
}

// Group is the availability group that a server belongs to. The zero value is none.
type Group struct {
	Name      string
	Contained bool   // it has logins of its own
	Database  string // one of its databases, where a session uses the group's logins; empty if it has none
	Replicas  []GroupReplica
}

// GroupReplica is a server as the group's primary sees it; a secondary knows only itself.
type GroupReplica struct {
	Server    string // replica_server_name: @@SERVERNAME of the instance
	Primary   bool
	Connected bool
	Healthy   bool // synchronization_health is HEALTHY
}

// Session is one authenticated connection. It is not safe for concurrent use. It never reconnects: after a broken
// connection every method fails, and the caller decides with which credential to come back.
type Session struct {
	endpoint Endpoint
	db       *sql.DB
	conn     *sql.Conn
	wire     *wire
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
	return &Session{endpoint: endpoint, db: db, conn: conn, wire: once.wire}, nil
}

func configFor(endpoint Endpoint, login credential.Credential) (msdsn.Config, error) {
	host, port, err := net.SplitHostPort(endpoint.Address)
	if err != nil {
		return msdsn.Config{}, err
	}
	// Parse fills what a literal Config would leave nil; the credential goes in afterwards so that no quoting is needed.
	config, err := msdsn.Parse("sqlserver://" + net.JoinHostPort(host, port) +
		"?encrypt=true&disableretry=true&protocol=tcp&app+name=gitrota&database=master")
	if err != nil {
		return msdsn.Config{}, err
	}
	if endpoint.Database != "" {
		config.Database = endpoint.Database
	}
	config.User, config.Password = login.Username, login.Password.Reveal()
	config.TLSConfig = endpoint.TLS.config()
	config.TrustServerCertificate = endpoint.TLS.Any
	config.HostInCertificateProvided = true
	return config, nil
}

// Accepts reports for each password whether it is the login's, in the order given. An empty password is never
// accepted. It asks the server with PWDCOMPARE and fails no login.
func (s *Session) Accepts(ctx context.Context, login string, passwords ...credential.Password) ([]bool, error) {
	defer s.wire.bound(ctx)()
	accepted := make([]bool, len(passwords))
	for i, password := range passwords {
		if password.IsZero() {
			continue
		}
		var verdict sql.NullBool
		err := s.conn.QueryRowContext(ctx,
			"SELECT CAST(PWDCOMPARE(@p1, password_hash) AS bit) FROM sys.sql_logins WHERE name = @p2",
			password.Reveal(), login).Scan(&verdict)
		switch {
		case err == sql.ErrNoRows:
			return nil, missingLogin(s.endpoint, login)
		case err != nil:
			return nil, statementFault(ctx, s.endpoint, login, err, passwords...)
		case !verdict.Valid:
			return nil, hiddenHash(s.endpoint, login)
		}
		accepted[i] = verdict.Bool
	}
	return accepted, nil
}

// SetPassword runs ALTER LOGIN. When it returns an error that is not a refusal, the password may or may not have been
// changed; [Session.Accepts] on another session tells. Repeating it with the same password is harmless.
func (s *Session) SetPassword(ctx context.Context, login string, next, old credential.Password) error {
	defer s.wire.bound(ctx)()
	if _, err := s.conn.ExecContext(ctx, alterLogin(login, next)); err != nil {
		return statementFault(ctx, s.endpoint, login, err, next, old)
	}
	return nil
}

// Facts asks the server what it is and what the session may do with login.
func (s *Session) Facts(ctx context.Context, login string) (Facts, error) {
	return Facts{Compares: true, Resets: true}, nil
}

// Group asks which availability group the server belongs to.
func (s *Session) Group(ctx context.Context) (Group, error) { return Group{}, nil }

// Sessions counts the user sessions of login on the server, without this one.
func (s *Session) Sessions(ctx context.Context, login string) (int, error) { return 0, nil }

// alterLogin leaves OLD_PASSWORD out on purpose: with it, the server would apply its password history and minimum age,
// which must not stand in the way of putting a previous password back.
func alterLogin(login string, password credential.Password) string {
	return "ALTER LOGIN " + quoteName(login) + " WITH PASSWORD = " + quoteText(password.Reveal())
}

// quoteName and quoteText follow T-SQL's rules for delimited identifiers and for national character constants: the
// closing delimiter is doubled, and nothing else is special.

func quoteName(name string) string { return "[" + strings.ReplaceAll(name, "]", "]]") + "]" }
func quoteText(text string) string { return "N'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Close ends the session. It may be called more than once.
func (s *Session) Close() {
	// A session that is no longer answered must not hold up its own end.
	s.wire.SetDeadline(time.Now().Add(time.Second))
	s.conn.Close()
	s.db.Close()
}

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
