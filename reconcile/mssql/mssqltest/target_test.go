package mssqltest_test

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func TestTargetCanBeAServerThatRunsAlready(t *testing.T) {
	server := start(t, mssqltest.Options{Certificate: issued(t, "127.0.0.1")})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, string(server.CertificatePEM()))
	dsn := url.URL{
		Scheme: "sqlserver", Host: server.Addr(), User: url.UserPassword("sa", saPassword.Reveal()),
		RawQuery: url.Values{"encrypt": {"true"}, "certificate": {ca}}.Encode(),
	}
	t.Setenv(mssqltest.TargetEnv, dsn.String())

	t.Run("logins that a test made are gone when it ends, with their sessions", func(t *testing.T) {
		var target *mssqltest.Instance
		t.Run("a test", func(t *testing.T) {
			target = mssqltest.Target(t)
			require.Nil(t, target.StandIn())
			require.False(t, target.TrustServerCertificate)
			db := target.Open(t, target.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{Roles: []string{"sysadmin"}}))
			require.NoError(t, db.Ping())
		})
		require.Equal(t, 0, query[int](t, target.Open(t, target.Admin), "SELECT COUNT(*) FROM sys.sql_logins WHERE name = 'orders'"))
	})
}

func TestClosingAServer(t *testing.T) {
	server, err := mssqltest.Start(mssqltest.Options{SAPassword: saPassword})
	require.NoError(t, err)
	target := instance(t, server)
	idle, busy := target.Open(t, target.Admin), target.Open(t, target.Admin)
	require.NoError(t, idle.Ping())
	ended := make(chan error, 1)
	go func() {
		_, err := busy.Exec("WAITFOR DELAY '01:00:00'")
		ended <- err
	}()
	waitUntilBusy(t, idle, 1)

	require.NoError(t, server.Close())
	require.Error(t, <-ended)
	require.Error(t, idle.Ping())
	start(t, mssqltest.Options{Addr: server.Addr()}) // its address is free again
}
