package mssqltest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func TestAzureSQLDatabase(t *testing.T) {
	server := start(t, mssqltest.Options{Flavour: mssqltest.FlavourAzureSQLDatabase})
	target := instance(t, server)
	admin := target.Open(t, target.Admin)
	login := target.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
	require.NoError(t, server.AddContainedDatabase("shop"))

	require.Equal(t, 5, query[int](t, admin, "SELECT CAST(SERVERPROPERTY('EngineEdition') AS int)"))
	require.Contains(t, query[string](t, admin, "SELECT @@VERSION"), "Microsoft SQL Azure")
	for statement, number := range map[string]int32{
		"SELECT PWDCOMPARE(N'x', 0x01)":                         195,
		"SELECT LOGINPROPERTY('orders', 'PasswordLastSetTime')": 195,
		"SELECT password_hash FROM sys.sql_logins":              207,
		"SELECT name FROM sys.server_principals":                208,
		"SELECT name FROM sys.availability_groups":              208,
		"USE shop":                                   40508,
		"GRANT CONTROL SERVER TO orders":             40510,
		"ALTER LOGIN orders WITH CHECK_POLICY = OFF": 40517,
		"ALTER LOGIN orders WITH PASSWORD = N'New-Password-2' UNLOCK":   40517,
		"ALTER LOGIN orders WITH PASSWORD = N'simplesimple'":            33064,
		"ALTER LOGIN orders WITH DEFAULT_DATABASE = shop":               40517,
		"CREATE LOGIN x WITH PASSWORD = N'New-Password-2' MUST_CHANGE":  40517,
		"ALTER LOGIN nobody WITH PASSWORD = N'New-Password-2'":          15151,
		"ALTER LOGIN orders WITH PASSWORD = 0x0200 HASHED, NAME = x":    40517,
		"CREATE LOGIN x WITH PASSWORD = N'New-Password-2', SID = 0x123": 15419,
	} {
		refused(t, admin, number, statement)
	}
	execute(t, target.Open(t, login), "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2' OLD_PASSWORD = N'Old-Password-1'")
	require.NoError(t, logsIn(t, target, "orders", "New-Password-2"))
	require.Contains(t, names(t, admin, "SELECT name FROM sys.sql_logins"), "orders")

	elsewhere := target.Open(t, target.Admin, "database=shop")
	refused(t, elsewhere, 208, "SELECT name FROM sys.sql_logins")
	refused(t, elsewhere, 5001, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-3'")
}

func TestAForeignServerHasErrorNumbersOfItsOwn(t *testing.T) {
	target := instance(t, start(t, mssqltest.Options{Flavour: mssqltest.FlavourForeign}))
	admin := target.Open(t, target.Admin)
	for _, statement := range []string{
		"SELECT PWDCOMPARE(N'x', 0x01)", "SELECT SERVERPROPERTY('Edition')", "SELECT name FROM sys.sql_logins", "SELECT nothing FROM sys.databases",
		"SELECT name FROM sys.availability_groups", "ALTER LOGIN sa WITH PASSWORD = N'New-Password-2' OLD_PASSWORD = N'x'", "SELECT FROM x",
	} {
		refused(t, admin, 33557097, statement)
	}
	execute(t, admin, "ALTER LOGIN sa WITH PASSWORD = N'New-Password-2'")
	require.NoError(t, logsIn(t, target, "sa", "New-Password-2"))
	require.EqualValues(t, 18456, number(logsIn(t, target, "sa", "Old-Password-1")))
}

func TestADistantServerTakesItsTimeForEachRoundTrip(t *testing.T) {
	const latency = 50 * time.Millisecond
	server := start(t, mssqltest.Options{})
	target := instance(t, server)
	took := func(f func()) time.Duration {
		began := time.Now()
		f()
		return time.Since(began)
	}
	session := target.Open(t, target.Admin)
	session.SetMaxOpenConns(1)
	execute(t, session, "SELECT 1")
	server.SetFaults(mssqltest.Faults{Latency: mssqltest.Duration(latency)})
	statement := took(func() { execute(t, session, "SELECT 1") })
	require.GreaterOrEqual(t, statement, latency)
	login := took(func() { require.NoError(t, logsIn(t, target, "sa", saPassword.Reveal())) })
	require.GreaterOrEqual(t, login, 4*latency, "PRELOGIN, two for TLS, LOGIN7")
}
