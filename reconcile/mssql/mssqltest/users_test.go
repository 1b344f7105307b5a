package mssqltest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func TestUsersOfAContainedDatabase(t *testing.T) {
	dir := t.TempDir()
	server := start(t, mssqltest.Options{DataDir: dir})
	require.NoError(t, server.AddContainedDatabase("shop"))
	require.Error(t, server.AddContainedDatabase("SHOP"))
	target := instance(t, server)
	owner := target.Open(t, target.Admin, "database=shop")
	execute(t, owner, "CREATE USER clerk WITH PASSWORD = N'Old-Password-1'")
	execute(t, owner, "CREATE USER boss WITH PASSWORD = N'Old-Password-1', DEFAULT_SCHEMA = dbo; ALTER ROLE db_owner ADD MEMBER boss")
	as := func(name string) credential.Credential {
		return credential.Credential{Username: name, Password: password("Old-Password-1")}
	}

	t.Run("log in to it, and nowhere else", func(t *testing.T) {
		require.NoError(t, logsIn(t, target, "clerk", "Old-Password-1", "database=shop"))
		require.EqualValues(t, 18456, number(logsIn(t, target, "clerk", "Old-Password-1")))
		require.EqualValues(t, 18456, number(logsIn(t, target, "clerk", "wrong", "database=shop")))
		refused(t, target.Open(t, as("clerk"), "database=shop"), 916, "USE kubedb_system")
	})
	t.Run("logins come in, too", func(t *testing.T) {
		require.NoError(t, logsIn(t, target, "sa", saPassword.Reveal(), "database=shop"))
		target.CreateLogin(t, "clerk", password("Login-Password-1"), mssqltest.LoginOptions{})
		require.EqualValues(t, 18456, number(logsIn(t, target, "clerk", "Login-Password-1", "database=shop")), "unless a user has the name")
		require.NoError(t, logsIn(t, target, "clerk", "Login-Password-1"))
	})
	t.Run("are told from those of other databases", func(t *testing.T) {
		require.Equal(t, 1, query[int](t, owner, "SELECT containment FROM sys.databases WHERE name = 'shop'"))
		require.Equal(t, []string{"boss", "clerk"}, names(t, owner, "SELECT name FROM sys.database_principals WHERE authentication_type_desc = 'DATABASE' ORDER BY name"))
		clerk := target.Open(t, as("clerk"), "database=shop")
		require.Equal(t, []string{"clerk"}, names(t, clerk, "SELECT name FROM sys.database_principals WHERE authentication_type = 2"))
		require.Equal(t, "clerk", query[string](t, clerk, "SELECT USER_NAME()"))
		require.Equal(t, "clerk", query[string](t, clerk, "SELECT original_login_name FROM sys.dm_exec_sessions WHERE authenticating_database_id = DB_ID()"))
		refused(t, owner, 207, "SELECT PWDCOMPARE(N'Old-Password-1', password_hash) FROM sys.database_principals")
		require.Empty(t, names(t, owner, "SELECT name FROM sys.sql_logins WHERE name = 'boss'"))
	})
	t.Run("change their own password with the old one, and the owner all of them", func(t *testing.T) {
		clerk := target.Open(t, as("clerk"), "database=shop")
		refused(t, clerk, 15151, "ALTER USER clerk WITH PASSWORD = N'New-Password-2'")
		refused(t, clerk, 15151, "ALTER USER clerk WITH PASSWORD = N'New-Password-2' OLD_PASSWORD = N'wrong'")
		refused(t, clerk, 15151, "ALTER USER boss WITH PASSWORD = N'New-Password-2'")
		refused(t, clerk, 33064, "ALTER USER clerk WITH PASSWORD = N'simplesimple' OLD_PASSWORD = N'Old-Password-1'")
		execute(t, clerk, "ALTER USER clerk WITH PASSWORD = N'New-Password-2' OLD_PASSWORD = N'Old-Password-1'")
		require.NoError(t, logsIn(t, target, "clerk", "New-Password-2", "database=shop"))
		execute(t, target.Open(t, as("boss"), "database=shop"), "ALTER USER clerk WITH PASSWORD = N'Newer-Password-3'")
		require.NoError(t, logsIn(t, target, "clerk", "Newer-Password-3", "database=shop"))
		execute(t, owner, "ALTER USER clerk WITH PASSWORD = N'Old-Password-1'")
	})
	t.Run("are not made elsewhere", func(t *testing.T) {
		refused(t, target.Open(t, target.Admin), 33233, "CREATE USER clerk WITH PASSWORD = N'Old-Password-1'")
		refused(t, target.Open(t, target.Admin), 15151, "ALTER USER clerk WITH PASSWORD = N'Old-Password-1'")
		refused(t, owner, 15023, "CREATE USER CLERK WITH PASSWORD = N'Old-Password-1'")
		refused(t, owner, 102, "ALTER USER clerk WITH PASSWORD = N'Old-Password-1' UNLOCK")
	})
	t.Run("have no way to change it while logging in", func(t *testing.T) {
		require.EqualValues(t, 18471, number(logsIn(t, target, "clerk", "Old-Password-1", "database=shop", "change password=New-Password-2")))
	})
	t.Run("are there after a restart", func(t *testing.T) {
		require.NoError(t, server.Close())
		again := instance(t, start(t, mssqltest.Options{DataDir: dir}))
		require.NoError(t, logsIn(t, again, "clerk", "Old-Password-1", "database=shop"))
		execute(t, again.Open(t, again.Admin, "database=shop"), "DROP USER clerk")
		require.EqualValues(t, 18456, number(logsIn(t, again, "clerk", "Old-Password-1", "database=shop")))
	})
}
