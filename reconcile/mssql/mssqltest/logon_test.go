package mssqltest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func TestLogon(t *testing.T) {
	server := mssqltest.Target(t)
	admin := server.Open(t, server.Admin)

	t.Run("a wrong password and a wrong name look the same", func(t *testing.T) {
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		wrong, missing := logsIn(t, server, "orders", "wrong"), logsIn(t, server, "nobody", "wrong")
		require.EqualValues(t, 18456, number(wrong))
		require.ErrorContains(t, wrong, "Login failed for user 'orders'.")
		require.EqualValues(t, 18456, number(missing))
	})
	t.Run("names do not tell upper from lower case, passwords do", func(t *testing.T) {
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		require.NoError(t, logsIn(t, server, "ORDERS", "Old-Password-1"))
		require.Error(t, logsIn(t, server, "orders", "OLD-Password-1"))
	})
	t.Run("a disabled login is told so if it knows its password", func(t *testing.T) {
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		execute(t, admin, "ALTER LOGIN orders DISABLE")
		require.EqualValues(t, 18470, number(logsIn(t, server, "orders", "Old-Password-1")))
		require.EqualValues(t, 18456, number(logsIn(t, server, "orders", "wrong")))
		execute(t, admin, "ALTER LOGIN orders ENABLE")
		require.NoError(t, logsIn(t, server, "orders", "Old-Password-1"))
	})
	t.Run("a password that must be changed is changed while logging in", func(t *testing.T) {
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{CheckExpiration: true, MustChange: true})
		require.EqualValues(t, 18488, number(logsIn(t, server, "orders", "Old-Password-1")))
		require.EqualValues(t, 18466, number(logsIn(t, server, "orders", "Old-Password-1", "change password=tooweakpassword")))
		require.NoError(t, logsIn(t, server, "orders", "Old-Password-1", "change password=New-Password-2"))
		require.NoError(t, logsIn(t, server, "orders", "New-Password-2"))
	})
	t.Run("a database that is not there is no way in", func(t *testing.T) {
		require.Error(t, logsIn(t, server, "sa", server.Admin.Password.Reveal(), "database=nowhere"))
	})
}

func TestLockout(t *testing.T) {
	server := start(t, mssqltest.Options{LockoutThreshold: 2, DataDir: t.TempDir()})
	target := instance(t, server)
	admin := target.Open(t, target.Admin)
	locked := func(name string) {
		t.Helper()
		for range 2 {
			require.EqualValues(t, 18456, number(logsIn(t, target, name, "wrong")))
		}
	}
	target.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{CheckExpiration: true})

	t.Run("after enough bad passwords the right one is refused too", func(t *testing.T) {
		locked("orders")
		require.EqualValues(t, 18486, number(logsIn(t, target, "orders", "Old-Password-1")))
		require.Equal(t, 1, query[int](t, admin, "SELECT LOGINPROPERTY('orders', 'IsLocked')"))
		require.Equal(t, 2, query[int](t, admin, "SELECT LOGINPROPERTY('orders', 'BadPasswordCount')"))
	})
	t.Run("a new password alone does not unlock", func(t *testing.T) {
		execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2'")
		require.EqualValues(t, 18486, number(logsIn(t, target, "orders", "New-Password-2")))
		refused(t, admin, 15113, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-3' OLD_PASSWORD = N'New-Password-2'")
	})
	t.Run("UNLOCK does", func(t *testing.T) {
		execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-3' UNLOCK")
		require.NoError(t, logsIn(t, target, "orders", "New-Password-3"))
	})
	t.Run("so does turning the policy off", func(t *testing.T) {
		locked("orders")
		execute(t, admin, "ALTER LOGIN orders WITH CHECK_POLICY = OFF")
		require.NoError(t, logsIn(t, target, "orders", "New-Password-3"))
	})
	t.Run("a login without the policy is never locked", func(t *testing.T) {
		target.CreateLogin(t, "free", password("Old-Password-1"), mssqltest.LoginOptions{NoPolicy: true})
		locked("free")
		require.NoError(t, logsIn(t, target, "free", "Old-Password-1"))
	})
}

func TestAnExpiredPasswordIsChangedWhileLoggingIn(t *testing.T) {
	clock := newClock()
	target := instance(t, start(t, mssqltest.Options{Now: clock.now, MaxPasswordAge: 90 * day}))
	target.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{CheckExpiration: true})
	admin := target.Open(t, target.Admin)
	require.Equal(t, 90, query[int](t, admin, "SELECT LOGINPROPERTY('orders', 'DaysUntilExpiration')"))

	clock.advance(90 * day)
	require.EqualValues(t, 18487, number(logsIn(t, target, "orders", "Old-Password-1")))
	require.NoError(t, logsIn(t, target, "orders", "Old-Password-1", "change password=New-Password-2"))
	require.NoError(t, logsIn(t, target, "orders", "New-Password-2"))
}
