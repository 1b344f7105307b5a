package mssqltest_test

import (
	"crypto/tls"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

const (
	day     = 24 * time.Hour
	timeout = 10 * time.Second // for what takes a moment
	tick    = 10 * time.Millisecond
)

var saPassword = password("Sa-Password-1")

// start runs a stand-in that ends with the test.
func start(t testing.TB, options mssqltest.Options) *mssqltest.Server {
	t.Helper()
	if options.SAPassword.IsZero() {
		options.SAPassword = saPassword
	}
	server, err := mssqltest.Start(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

// instance is how tests reach a stand-in that they started themselves.
func instance(t testing.TB, server *mssqltest.Server) *mssqltest.Instance {
	t.Helper()
	host, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	return &mssqltest.Instance{Host: host, Port: number, TrustServerCertificate: true,
		Admin: credential.Credential{Username: "sa", Password: saPassword}}
}

// issued is a certificate that a client can check.
func issued(t testing.TB, names ...string) *tls.Certificate {
	t.Helper()
	certificate, err := mssqltest.Issued(names...)
	require.NoError(t, err)
	return certificate
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// clock stands still until it is advanced.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
