package mssqltest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/gitrota/gitrota/policies/credential"
)

// TargetEnv names a real SQL Server for [Target], as sqlserver://sa:password@host:1433?encrypt=true&certificate=/ca.pem.
// Its user has to be a member of sysadmin, the host one that the certificate names, and the server one that nothing else
// depends on.
const TargetEnv = "GITROTA_TEST_MSSQL"

// An Instance is the SQL Server that a test talks to.
type Instance struct {
	Host  string
	Port  int
	Admin credential.Credential // a member of sysadmin
	// CA is what the server's certificate is checked against, as PEM. Where it is empty the system's authorities are
	// used, unless TrustServerCertificate says that any certificate will do.
	CA                     []byte
	TrustServerCertificate bool

	standIn *Server
}

// Target gives a test the SQL Server that TargetEnv names, or else a stand-in of its own, which ends with the test.
// Options change the stand-in; a real server has those that it has.
func Target(t testing.TB, options ...func(*Options)) *Instance {
	t.Helper()
	if dsn := os.Getenv(TargetEnv); dsn != "" {
		return realServer(t, dsn)
	}
	return StandIn(t, options...)
}

// StandIn gives a test a stand-in of its own, which ends with the test, wherever the environment points: for what can
// be asked of a stand-in alone, as faults, flavours and availability groups.
func StandIn(t testing.TB, options ...func(*Options)) *Instance {
	t.Helper()
	password := credential.NewPassword("Sa-" + rand.Text())
	o := Options{SAPassword: password}
	for _, change := range options {
		change(&o)
	}
	server, err := Start(o)
	if err != nil {
		t.Fatalf("starting a SQL Server stand-in: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("stopping the SQL Server stand-in: %v", err)
		}
	})
	host, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	i := &Instance{
		Host: host, Port: number, TrustServerCertificate: o.Certificate == nil, standIn: server,
		Admin: credential.Credential{Username: "sa", Password: o.SAPassword},
	}
	if o.Certificate != nil {
		i.CA = server.CertificatePEM()
	}
	return i
}

func realServer(t testing.TB, dsn string) *Instance {
	t.Helper()
	config, err := msdsn.Parse(dsn)
	if err != nil {
		t.Fatalf("%s cannot be read as sqlserver://user:password@host:port", TargetEnv) // err may quote the password
	}
	i := &Instance{
		Host: config.Host, Port: int(config.Port), TrustServerCertificate: config.TLSConfig == nil || config.TLSConfig.InsecureSkipVerify,
		Admin: credential.Credential{Username: config.User, Password: credential.NewPassword(config.Password)},
	}
	if i.Port == 0 {
		i.Port = 1433
	}
	if path := config.Parameters["certificate"]; path != "" {
		if i.CA, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

// StandIn is the stand-in, for faults and counters; it is nil where the test talks to a real server.
func (i *Instance) StandIn() *Server { return i.standIn }

// Open returns a pool of sessions of c, encrypted, which is closed when the test ends. Nothing is tried yet: Ping logs
// in. Settings are those of the driver's URL, as "database=msdb".
func (i *Instance) Open(t testing.TB, c credential.Credential, settings ...string) *sql.DB {
	t.Helper()
	query := url.Values{"encrypt": {"true"}, "disableretry": {"true"}, "dial timeout": {"10"}}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		query.Set(name, value)
	}
	dsn := url.URL{Scheme: "sqlserver", Host: net.JoinHostPort(i.Host, strconv.Itoa(i.Port)), RawQuery: query.Encode()}
	config, err := msdsn.Parse(dsn.String())
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password = c.Username, c.Password.Reveal()
	if config.TLSConfig == nil {
		config.TLSConfig = &tls.Config{}
	}
	config.TLSConfig.InsecureSkipVerify = i.TrustServerCertificate
	if len(bytes.TrimSpace(i.CA)) > 0 {
		config.TLSConfig.RootCAs = x509.NewCertPool()
		config.TLSConfig.RootCAs.AppendCertsFromPEM(i.CA)
	}
	db := sql.OpenDB(mssql.NewConnectorConfig(config))
	t.Cleanup(func() { db.Close() })
	return db
}

// LoginOptions say what a login that a test makes is to be like. The zero value is SQL Server's own default.
type LoginOptions struct {
	NoPolicy        bool     // CHECK_POLICY = OFF
	CheckExpiration bool     // CHECK_EXPIRATION = ON
	MustChange      bool     // the first login has to change the password; needs CheckExpiration
	Roles           []string // server roles, as "sysadmin"
	Permissions     []string // as "ALTER ANY LOGIN"
}

// CreateLogin makes a login and drops it when the test ends, together with its sessions. One of that name that was
// left over is replaced. It returns what to log in with.
func (i *Instance) CreateLogin(t testing.TB, name string, password credential.Password, options LoginOptions) credential.Credential {
	t.Helper()
	admin := i.Open(t, i.Admin, "database=master")
	drop := func() error { return dropLogin(admin, name) }
	if err := drop(); err != nil {
		t.Fatalf("dropping what is left of login %s: %v", name, err)
	}
	statement := fmt.Sprintf("CREATE LOGIN %s WITH PASSWORD = N'%s'", quote(name), strings.ReplaceAll(password.Reveal(), "'", "''"))
	if options.MustChange {
		statement += " MUST_CHANGE"
	}
	if options.NoPolicy {
		statement += ", CHECK_POLICY = OFF"
	}
	if options.CheckExpiration {
		statement += ", CHECK_EXPIRATION = ON"
	}
	statements := []string{statement}
	for _, role := range options.Roles {
		statements = append(statements, fmt.Sprintf("ALTER SERVER ROLE %s ADD MEMBER %s", quote(role), quote(name)))
	}
	for _, permission := range options.Permissions {
		statements = append(statements, fmt.Sprintf("GRANT %s TO %s", permission, quote(name)))
	}
	for _, s := range statements {
		if _, err := admin.Exec(s); err != nil {
			t.Fatalf("creating login %s: %v", name, err)
		}
	}
	t.Cleanup(func() {
		if err := drop(); err != nil && (i.standIn == nil || i.standIn.ctx.Err() == nil) {
			t.Errorf("dropping login %s: %v", name, err)
		}
	})
	return credential.Credential{Username: name, Password: password}
}

// dropLogin drops a login, if there is one, and its sessions first.
func dropLogin(admin *sql.DB, name string) error {
	const missing = 15151
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		_, err := admin.ExecContext(ctx, "DROP LOGIN "+quote(name))
		var refused mssql.Error
		if err == nil || errors.As(err, &refused) && refused.Number == missing {
			return nil
		}
		sessions, asked := columnOf[int](ctx, admin, "SELECT session_id FROM sys.dm_exec_sessions WHERE login_name = @p1", name)
		if asked != nil {
			return errors.Join(err, asked)
		}
		for _, id := range sessions {
			admin.ExecContext(ctx, fmt.Sprintf("KILL %d", id)) // it may have ended by itself
		}
		if !sleep(ctx, 20*time.Millisecond) { // a killed session takes a moment
			return err
		}
	}
}

// columnOf returns the values of a query's only column. It reads to the end, which QueryRow does not: the driver may then
// still be reading when the connection's buffer is given to another one.
func columnOf[T any](ctx context.Context, db *sql.DB, text string, args ...any) (values []T, err error) {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}

func quote(identifier string) string { return mssql.TSQLQuoter{}.ID(identifier) }
