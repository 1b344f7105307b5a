package mssqltest_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

var password = credential.NewPassword

// number is the number of the SQL Server error in err, 0 for none.
func number(err error) int32 {
	var e mssql.Error
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// numbers are those of all SQL Server errors in err, in the order in which they came.
func numbers(err error) (all []int32) {
	var e mssql.Error
	if errors.As(err, &e) {
		for _, one := range e.All {
			all = append(all, one.Number)
		}
	}
	return all
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.Exec(statement)
	require.NoError(t, err, statement)
}

// refused runs a statement that has to fail with an error of that number.
func refused(t *testing.T, db *sql.DB, want int32, statement string) {
	t.Helper()
	_, err := db.Exec(statement)
	require.Error(t, err, statement)
	require.Equal(t, want, number(err), "%s: %v", statement, err)
}

// logsIn tries a password on a new connection.
func logsIn(t *testing.T, server *mssqltest.Instance, name, pass string, settings ...string) error {
	t.Helper()
	db := server.Open(t, credential.Credential{Username: name, Password: password(pass)}, settings...)
	defer db.Close()
	return db.Ping()
}

func query[T any](t *testing.T, db *sql.DB, text string, args ...any) (v T) {
	t.Helper()
	rows, err := db.Query(text, args...)
	require.NoError(t, err, text)
	defer rows.Close()
	require.True(t, rows.Next(), "%s: %v", text, rows.Err())
	require.NoError(t, rows.Scan(&v), text)
	for rows.Next() { // to the end: see columnOf
	}
	require.NoError(t, rows.Err(), text)
	return v
}

func TestChangingAPassword(t *testing.T) {
	server := mssqltest.Target(t)
	admin := server.Open(t, server.Admin)

	t.Run("an administrator sets it without knowing the old one", func(t *testing.T) {
		old := server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		execute(t, admin, "ALTER LOGIN [orders] WITH PASSWORD = N'New-Password-2'")
		require.NoError(t, logsIn(t, server, "orders", "New-Password-2"))
		require.EqualValues(t, 18456, number(server.Open(t, old).Ping()))
	})
	t.Run("a session stays who it is", func(t *testing.T) {
		session := server.Open(t, server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{}))
		session.SetMaxOpenConns(1)
		require.NoError(t, session.Ping())
		execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2'; ALTER LOGIN orders DISABLE")
		require.Equal(t, "orders", query[string](t, session, "SELECT SUSER_SNAME()"))
	})
	t.Run("a login changes its own, if it knows the old one", func(t *testing.T) {
		session := server.Open(t, server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{}))
		refused(t, session, 15151, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2'")
		refused(t, session, 15151, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2' OLD_PASSWORD = N'wrong'")
		refused(t, session, 15151, "ALTER LOGIN sa WITH PASSWORD = N'New-Password-2'")
		execute(t, session, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2' OLD_PASSWORD = N'Old-Password-1'")
		require.NoError(t, logsIn(t, server, "orders", "New-Password-2"))
	})
	t.Run("who may alter logins may not become an administrator by it", func(t *testing.T) {
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		server.CreateLogin(t, "chief", password("Old-Password-1"), mssqltest.LoginOptions{Roles: []string{"sysadmin"}})
		rotator := server.Open(t, server.CreateLogin(t, "rotator", password("Old-Password-1"), mssqltest.LoginOptions{Permissions: []string{"ALTER ANY LOGIN"}}))
		execute(t, rotator, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2'")
		refused(t, rotator, 15151, "ALTER LOGIN chief WITH PASSWORD = N'New-Password-2'")
		execute(t, rotator, "ALTER LOGIN chief WITH PASSWORD = N'New-Password-2' OLD_PASSWORD = N'Old-Password-1'")
		refused(t, rotator, 15151, "ALTER LOGIN chief DISABLE")
		refused(t, rotator, 15151, "ALTER SERVER ROLE sysadmin ADD MEMBER rotator")
	})
	t.Run("a login that is not there is as one that may not be altered", func(t *testing.T) {
		refused(t, admin, 15151, "ALTER LOGIN nobody WITH PASSWORD = N'New-Password-2'")
	})
	t.Run("quotes and brackets are part of names and passwords", func(t *testing.T) {
		const name, pass = `o'r]d"e rs`, `it's-a;P"ss]w{ö}rd1`
		server.CreateLogin(t, name, password("Old-Password-1"), mssqltest.LoginOptions{})
		_, err := admin.Exec("DECLARE @s nvarchar(max) = N'ALTER LOGIN ' + QUOTENAME(@p1) + N' WITH PASSWORD = N''' + REPLACE(@p2, '''', '''''') + N''''; EXEC (@s)", name, pass)
		require.NoError(t, err)
		require.NoError(t, logsIn(t, server, name, pass))
	})
	t.Run("a password of 128 characters is the longest", func(t *testing.T) {
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		longest := "Aa1-" + strings.Repeat("x", 124)
		execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = N'"+longest+"'")
		require.NoError(t, logsIn(t, server, "orders", longest))
		refused(t, admin, 15156, "ALTER LOGIN orders WITH PASSWORD = N'"+longest+"x'")
	})
	t.Run("a string without N loses what the code page does not have", func(t *testing.T) {
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = 'Пароль-Aa1'")
		require.NoError(t, logsIn(t, server, "orders", "??????-Aa1"))
		execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = N'Пароль-Aa1'")
		require.NoError(t, logsIn(t, server, "orders", "Пароль-Aa1"))
	})
}

func TestPasswordPolicy(t *testing.T) {
	server := mssqltest.Target(t)
	admin := server.Open(t, server.Admin)
	server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})

	t.Run("short and simple passwords are refused", func(t *testing.T) {
		refused(t, admin, 33062, "ALTER LOGIN orders WITH PASSWORD = N'Sh0rt!'")
		refused(t, admin, 33064, "ALTER LOGIN orders WITH PASSWORD = N'onlylowercase1'")
		refused(t, admin, 33064, "ALTER LOGIN orders WITH PASSWORD = N'My-Orders-1'")
		require.NoError(t, logsIn(t, server, "orders", "Old-Password-1"))
	})
	t.Run("unless the policy is off", func(t *testing.T) {
		execute(t, admin, "ALTER LOGIN orders WITH CHECK_POLICY = OFF, PASSWORD = N'simple'")
		require.NoError(t, logsIn(t, server, "orders", "simple"))
		execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = N'Old-Password-1', CHECK_POLICY = ON")
	})
	t.Run("options that contradict each other are refused", func(t *testing.T) {
		refused(t, admin, 15099, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2' MUST_CHANGE")
		refused(t, admin, 15122, "ALTER LOGIN orders WITH CHECK_POLICY = OFF, CHECK_EXPIRATION = ON")
		refused(t, admin, 15128, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2' MUST_CHANGE, CHECK_EXPIRATION = OFF")
		refused(t, admin, 102, "ALTER LOGIN orders WITH PASSWORD = N'New-Password-2' OLD_PASSWORD = N'Old-Password-1' UNLOCK")
	})
	t.Run("a hash of the password keeps it", func(t *testing.T) {
		hash := query[string](t, admin, "SELECT CONVERT(nvarchar(200), password_hash, 1) FROM sys.sql_logins WHERE name = 'orders'")
		require.Regexp(t, "^0x0200[0-9A-F]{136}$", hash)
		execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = N'Another-Password-3'")
		execute(t, admin, "ALTER LOGIN orders WITH CHECK_POLICY = OFF")
		execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = "+hash+" HASHED")
		require.NoError(t, logsIn(t, server, "orders", "Old-Password-1"))
		refused(t, admin, 15021, "ALTER LOGIN orders WITH PASSWORD = 0x2131214A212F HASHED")
	})
}

func TestPasswordHistoryAndAgeBindTheOwnerAlone(t *testing.T) {
	clock := newClock()
	server := start(t, mssqltest.Options{Now: clock.now, PasswordHistory: 2, MinPasswordAge: day})
	target := instance(t, server)
	owner := target.Open(t, target.CreateLogin(t, "orders", password("Password-1"), mssqltest.LoginOptions{}))
	admin := target.Open(t, target.Admin)

	refused(t, owner, 15114, "ALTER LOGIN orders WITH PASSWORD = N'Password-2' OLD_PASSWORD = N'Password-1'")
	clock.advance(day)
	refused(t, owner, 15115, "ALTER LOGIN orders WITH PASSWORD = N'Password-1' OLD_PASSWORD = N'Password-1'")
	execute(t, owner, "ALTER LOGIN orders WITH PASSWORD = N'Password-2' OLD_PASSWORD = N'Password-1'")
	execute(t, admin, "ALTER LOGIN orders WITH PASSWORD = N'Password-1'")
	require.NoError(t, logsIn(t, target, "orders", "Password-1"))
}

func TestAlterLoginInsideATransaction(t *testing.T) {
	server := mssqltest.Target(t)
	admin := server.Open(t, server.Admin)
	server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})

	t.Run("is undone by a rollback", func(t *testing.T) {
		tx, err := admin.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("ALTER LOGIN orders WITH PASSWORD = N'New-Password-2'")
		require.NoError(t, err)
		require.NoError(t, tx.Rollback())
		require.NoError(t, logsIn(t, server, "orders", "Old-Password-1"))
	})
	t.Run("is undone when the connection goes back to its pool", func(t *testing.T) {
		one := server.Open(t, server.Admin)
		one.SetMaxOpenConns(1)
		execute(t, one, "BEGIN TRAN; ALTER LOGIN orders WITH PASSWORD = N'New-Password-2'")
		require.Equal(t, 0, query[int](t, one, "SELECT @@TRANCOUNT"))
		require.NoError(t, logsIn(t, server, "orders", "Old-Password-1"))
	})
	t.Run("holds after a commit", func(t *testing.T) {
		tx, err := admin.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("ALTER LOGIN orders WITH PASSWORD = N'New-Password-2'")
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		require.NoError(t, logsIn(t, server, "orders", "New-Password-2"))
	})
	t.Run("keeps other writers waiting, not readers", func(t *testing.T) {
		tx, err := admin.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("ALTER LOGIN orders WITH PASSWORD = N'Newer-Password-3'")
		require.NoError(t, err)
		waiting := make(chan error, 1)
		go func() {
			_, err := server.Open(t, server.Admin).Exec("ALTER LOGIN orders WITH PASSWORD = N'Newest-Password-4'")
			waiting <- err
		}()
		waitUntilBusy(t, server.Open(t, server.Admin), 1)
		require.Empty(t, waiting)
		require.NoError(t, tx.Rollback())
		require.NoError(t, <-waiting)
		require.NoError(t, logsIn(t, server, "orders", "Newest-Password-4"))
	})
	t.Run("without one, COMMIT and ROLLBACK are errors", func(t *testing.T) {
		refused(t, admin, 3902, "COMMIT TRANSACTION")
		refused(t, admin, 3903, "ROLLBACK")
	})
}

func TestLoginsComeAndGo(t *testing.T) {
	server := mssqltest.Target(t)
	admin := server.Open(t, server.Admin)
	user := server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})

	t.Run("there is one of each name and of each SID", func(t *testing.T) {
		refused(t, admin, 15025, "CREATE LOGIN ORDERS WITH PASSWORD = N'Old-Password-1'")
		sid := query[string](t, admin, "SELECT CONVERT(nvarchar(64), sid, 1) FROM sys.sql_logins WHERE name = N'orders'")
		refused(t, admin, 15433, "CREATE LOGIN invoices WITH PASSWORD = N'Old-Password-1', SID = "+sid)
	})
	t.Run("one that is logged in is not dropped until its session is killed", func(t *testing.T) {
		session := server.Open(t, user)
		session.SetMaxOpenConns(1)
		id := query[int](t, session, "SELECT @@SPID")
		refused(t, admin, 15434, "DROP LOGIN orders")
		refused(t, session, 6102, "KILL 1")
		execute(t, admin, fmt.Sprintf("KILL %d", id))
		_, err := session.Exec("SELECT 1")
		require.Error(t, err)
	})
	t.Run("an ordinary one makes and drops none", func(t *testing.T) {
		session := server.Open(t, user)
		refused(t, session, 15247, "CREATE LOGIN other WITH PASSWORD = N'Old-Password-1'")
		refused(t, session, 15151, "DROP LOGIN sa")
		refused(t, session, 4613, "GRANT CONTROL SERVER TO orders")
	})
	t.Run("server permissions are granted in master only", func(t *testing.T) {
		refused(t, server.Open(t, server.Admin, "database=msdb"), 4621, "GRANT ALTER ANY LOGIN TO orders")
	})
}
