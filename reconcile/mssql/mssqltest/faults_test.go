package mssqltest_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func TestFaults(t *testing.T) {
	const change = "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2'"
	begin := func(t *testing.T, faults mssqltest.Faults) (*mssqltest.Server, *mssqltest.Instance) {
		server := start(t, mssqltest.Options{})
		target := instance(t, server)
		target.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		server.SetFaults(faults)
		t.Cleanup(func() { server.SetFaults(mssqltest.Faults{}) })
		return server, target
	}

	t.Run("a connection lost before a statement leaves it undone", func(t *testing.T) {
		_, target := begin(t, mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Drop: mssqltest.DropBefore, Times: 1}}})
		admin := target.Open(t, target.Admin)
		_, err := admin.Exec(change)
		require.Error(t, err)
		require.Zero(t, number(err))
		require.NoError(t, logsIn(t, target, "orders", "Old-Password-1"))
		execute(t, admin, change)
	})
	t.Run("one lost before the answer looks the same, and it is done", func(t *testing.T) {
		server, target := begin(t, mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Drop: mssqltest.DropAfter, Times: 1}}})
		_, err := target.Open(t, target.Admin).Exec(change)
		require.Error(t, err)
		require.Zero(t, number(err))
		require.NoError(t, logsIn(t, target, "orders", "New-Password-2"))
		require.Equal(t, 1, server.PasswordChanges("orders"))
	})
	t.Run("the answer to a commit can be lost", func(t *testing.T) {
		_, target := begin(t, mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "COMMIT", Drop: mssqltest.DropAfter, Times: 1}}})
		tx, err := target.Open(t, target.Admin).Begin()
		require.NoError(t, err)
		_, err = tx.Exec(change)
		require.NoError(t, err)
		require.Error(t, tx.Commit())
		require.NoError(t, logsIn(t, target, "orders", "New-Password-2"))
	})
	t.Run("a fault can wait for the second statement of its kind", func(t *testing.T) {
		_, target := begin(t, mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Error: 15151, Skip: 1, Times: 1}}})
		admin := target.Open(t, target.Admin)
		execute(t, admin, change)
		refused(t, admin, 15151, change)
		execute(t, admin, change)
	})
	t.Run("it finds its statement inside of EXEC", func(t *testing.T) {
		_, target := begin(t, mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Error: 33064}}})
		refused(t, target.Open(t, target.Admin), 33064, "EXEC (N'ALTER LOGIN orders WITH PASSWORD = N''New-Password-2''')")
	})
	t.Run("a slow statement can be given up", func(t *testing.T) {
		_, target := begin(t, mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Delay: mssqltest.Duration(time.Hour)}}})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := target.Open(t, target.Admin).ExecContext(ctx, change)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, logsIn(t, target, "orders", "Old-Password-1"))
	})
	t.Run("logins fail with the number that is asked for, as often as asked for", func(t *testing.T) {
		_, target := begin(t, mssqltest.Faults{Logins: []mssqltest.LoginFault{{User: "orders", Error: 18486, Times: 2}}})
		require.EqualValues(t, 18486, number(logsIn(t, target, "orders", "Old-Password-1")))
		require.EqualValues(t, 18486, number(logsIn(t, target, "orders", "Old-Password-1")))
		require.NoError(t, logsIn(t, target, "orders", "Old-Password-1"))
	})
	t.Run("a login can be lost", func(t *testing.T) {
		_, target := begin(t, mssqltest.Faults{Logins: []mssqltest.LoginFault{{Drop: true, Times: 1}}})
		require.Error(t, logsIn(t, target, "orders", "Old-Password-1"))
		require.NoError(t, logsIn(t, target, "orders", "Old-Password-1"))
	})
	t.Run("a server that starts after an upgrade lets nobody in yet", func(t *testing.T) {
		server, target := begin(t, mssqltest.Faults{ScriptUpgrade: true})
		require.EqualValues(t, 18401, number(logsIn(t, target, "sa", saPassword.Reveal())))
		server.SetFaults(mssqltest.Faults{})
		require.NoError(t, logsIn(t, target, "sa", saPassword.Reveal()))
	})
	t.Run("some servers are for administrators, or for one of them", func(t *testing.T) {
		server, target := begin(t, mssqltest.Faults{AdminOnly: true})
		require.EqualValues(t, 18451, number(logsIn(t, target, "orders", "Old-Password-1")))
		require.NoError(t, logsIn(t, target, "sa", saPassword.Reveal()))
		require.NoError(t, target.Open(t, target.Admin).Ping())
		server.SetFaults(mssqltest.Faults{SingleUser: true})
		require.EqualValues(t, 18461, number(logsIn(t, target, "orders", "Old-Password-1")))
	})
	t.Run("connections are refused while sessions go on", func(t *testing.T) {
		server, target := begin(t, mssqltest.Faults{})
		session := target.Open(t, target.Admin)
		require.NoError(t, session.Ping())
		server.SetFaults(mssqltest.Faults{RefuseConnections: true})
		require.Error(t, logsIn(t, target, "orders", "Old-Password-1"))
		execute(t, session, "SELECT 1")
	})
	t.Run("a silent server is given up by its client's deadline", func(t *testing.T) {
		_, target := begin(t, mssqltest.Faults{Silent: true})
		require.Error(t, logsIn(t, target, "orders", "Old-Password-1", "connection timeout=1"))
	})
}

func TestFaultsAreJSON(t *testing.T) {
	faults := mssqltest.Faults{
		ScriptUpgrade: true,
		Logins:        []mssqltest.LoginFault{{Delay: mssqltest.Duration(250 * time.Millisecond)}},
		Statements:    []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Drop: mssqltest.DropAfter, Times: 1}},
	}
	text, err := json.Marshal(faults)
	require.NoError(t, err)
	require.JSONEq(t, `{"scriptUpgrade": true, "logins": [{"delay": "250ms"}], "statements": [{"kind": "ALTER LOGIN", "times": 1, "drop": "after"}]}`, string(text))
	parsed, err := mssqltest.ParseFaults(string(text))
	require.NoError(t, err)
	require.Equal(t, faults, parsed)

	_, err = mssqltest.ParseFaults(`{"scriptUpgrad": true}`)
	require.ErrorContains(t, err, "scriptUpgrad")
	_, err = mssqltest.ParseFaults(`{"statements": [{"drop": "sometime"}]}`)
	require.ErrorContains(t, err, `drop is "sometime"`)
}

func TestWhatAStandInCounts(t *testing.T) {
	server := start(t, mssqltest.Options{})
	target := instance(t, server)
	admin := target.Open(t, target.Admin)
	target.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
	require.Error(t, logsIn(t, target, "Orders", "wrong"))
	require.NoError(t, logsIn(t, target, "orders", "Old-Password-1"))
	_, err := admin.Exec("DECLARE @s nvarchar(max) = N'ALTER LOGIN orders WITH PASSWORD = N' + QUOTENAME(@p1, ''''); EXEC (@s)", "Secret-1")
	require.NoError(t, err)
	refused(t, admin, 105, "ALTER LOGIN orders WITH PASSWORD = N'Secret-2")

	succeeded, failed := server.Logins("orders")
	require.Equal(t, []int{1, 1, 1}, []int{succeeded, failed, server.PasswordChanges("orders")})
	statements := server.Statements()
	require.Contains(t, statements, "ALTER LOGIN orders WITH PASSWORD = '***'")
	for _, s := range statements {
		require.NotContains(t, s, "Secret")
		require.NotContains(t, s, "Old-Password")
	}
}
