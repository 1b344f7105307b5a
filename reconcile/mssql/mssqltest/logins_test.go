package mssqltest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func TestAPasswordIsChanged(t *testing.T) {
	server := mssqltest.Target(t)
	old := server.CreateLogin(t, "orders", credential.NewPassword("Old-Password-1"), mssqltest.LoginOptions{})
	admin := server.Open(t, server.Admin)
	session := server.Open(t, old)
	require.NoError(t, session.Ping())

	_, err := admin.Exec("ALTER LOGIN [orders] WITH PASSWORD = N'New-Password-2'")
	require.NoError(t, err)

	var matches int
	require.NoError(t, admin.QueryRow("SELECT PWDCOMPARE(@p1, password_hash) FROM sys.sql_logins WHERE name = @p2", "New-Password-2", "orders").Scan(&matches))
	require.Equal(t, 1, matches)
	require.NoError(t, server.Open(t, credential.Credential{Username: "orders", Password: credential.NewPassword("New-Password-2")}).Ping())
	require.Error(t, server.Open(t, old).Ping())
	var who string
	require.NoError(t, session.QueryRow("SELECT SUSER_SNAME()").Scan(&who))
	require.Equal(t, "orders", who)
}
