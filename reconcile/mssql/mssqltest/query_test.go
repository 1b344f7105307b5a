package mssqltest_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// names are the values of a query's only column.
func names(t *testing.T, db *sql.DB, text string, args ...any) (out []string) {
	t.Helper()
	rows, err := db.Query(text, args...)
	require.NoError(t, err, text)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		out = append(out, name)
	}
	require.NoError(t, rows.Err(), text)
	return out
}

// waitUntilBusy waits until that many sessions besides the observer's execute something.
func waitUntilBusy(t *testing.T, observer *sql.DB, sessions int) {
	t.Helper()
	require.Eventually(t, func() bool {
		var busy int
		err := observer.QueryRow("SELECT COUNT(*) FROM sys.dm_exec_sessions WHERE status = 'running' AND is_user_process = 1 AND session_id <> @@SPID").Scan(&busy)
		return err == nil && busy >= sessions
	}, timeout, tick)
}

func TestTheDatabasesOfTheGuide(t *testing.T) {
	target := instance(t, start(t, mssqltest.Options{}))
	require.Equal(t, []string{"master", "tempdb", "model", "msdb", "kubedb_system"}, names(t, target.Open(t, target.Admin), "select name from sys.databases"))
}

func TestReadingLogins(t *testing.T) {
	server := mssqltest.Target(t)
	admin := server.Open(t, server.Admin)
	user := server.Open(t, server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{Roles: []string{"processadmin"}}))

	t.Run("a row has the types that drivers expect", func(t *testing.T) {
		var (
			name              string
			id                int
			sid, hash         []byte
			disabled, checked bool
			created           time.Time
			credential        sql.NullInt64
		)
		require.NoError(t, admin.QueryRow(`SELECT TOP (1) l.name, l.principal_id, l.[sid], "password_hash", l.is_disabled, l.is_policy_checked, l.create_date, l.credential_id
			FROM master.sys.sql_logins AS l WHERE l.name = @p1 -- a comment
			/* and /* another */ one */ ORDER BY l.name DESC`, "ORDERS").Scan(&name, &id, &sid, &hash, &disabled, &checked, &created, &credential))
		require.Equal(t, "orders", name)
		require.Greater(t, id, 255)
		require.Len(t, sid, 16)
		require.Len(t, hash, 70)
		require.False(t, disabled)
		require.True(t, checked)
		require.WithinDuration(t, time.Now(), created, 24*time.Hour)
		require.False(t, credential.Valid)
	})
	t.Run("without permission a login sees itself and sa, and no hash", func(t *testing.T) {
		require.Equal(t, []string{"orders", "sa"}, names(t, user, "SELECT name FROM sys.sql_logins ORDER BY 1"))
		require.Equal(t, 2, query[int](t, user, "SELECT COUNT(*) FROM sys.sql_logins WHERE password_hash IS NULL"))
		require.Nil(t, query[any](t, user, "SELECT LOGINPROPERTY('orders', 'PasswordHash')"))
		require.Nil(t, query[any](t, user, "SELECT PWDCOMPARE(N'Old-Password-1', password_hash) FROM sys.sql_logins WHERE name = N'orders'"))
	})
	t.Run("roles are joined to their members", func(t *testing.T) {
		const members = `SELECT m.name FROM sys.server_role_members rm
			JOIN sys.server_principals r ON r.principal_id = rm.role_principal_id
			JOIN sys.server_principals m ON m.principal_id = rm.member_principal_id
			WHERE r.name = @p1`
		require.Equal(t, []string{"orders"}, names(t, admin, members, "processadmin"))
		require.Contains(t, names(t, admin, members, "sysadmin"), "sa")
	})
	t.Run("permissions can be asked for", func(t *testing.T) {
		const may = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, @p1)"
		require.Equal(t, 1, query[int](t, admin, may, "CONTROL SERVER"))
		require.Equal(t, 0, query[int](t, user, may, "ALTER ANY LOGIN"))
		require.Equal(t, 1, query[int](t, user, may, "ALTER ANY CONNECTION"))
		require.Equal(t, 1, query[int](t, admin, "SELECT HAS_PERMS_BY_NAME(N'orders', 'LOGIN', 'ALTER')"))
	})
	t.Run("the policy's counters need CHECK_POLICY and CHECK_EXPIRATION", func(t *testing.T) {
		require.WithinDuration(t, time.Now(), query[time.Time](t, admin, "SELECT LOGINPROPERTY('orders', 'PasswordLastSetTime')"), 24*time.Hour)
		require.Nil(t, query[any](t, admin, "SELECT LOGINPROPERTY('nobody', 'PasswordLastSetTime')"))
		require.Equal(t, "master", query[string](t, admin, "SELECT LOGINPROPERTY('orders', 'DefaultDatabase')"))
	})
	t.Run("sessions tell who they are", func(t *testing.T) {
		session := server.Open(t, server.Admin, "app name=gitrota", "workstation id=agent-0")
		session.SetMaxOpenConns(1)
		id := query[int](t, session, "SELECT @@SPID")
		var host, program, login string
		var process bool
		require.NoError(t, admin.QueryRow("SELECT host_name, program_name, login_name, is_user_process FROM sys.dm_exec_sessions WHERE session_id = @p1", id).Scan(&host, &program, &login, &process))
		require.Equal(t, []any{"agent-0", "gitrota", server.Admin.Username, true}, []any{host, program, login, process})
		require.Equal(t, "TRUE", query[string](t, session, "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"))
	})
}

func TestExpressions(t *testing.T) {
	server := mssqltest.Target(t)
	admin := server.Open(t, server.Admin)
	long := strings.Repeat("ä", 5000)
	for _, c := range []struct {
		text string
		args []any
		want any
	}{
		{"SELECT 1 + 2 - 4", nil, int64(-1)},
		{"SELECT N'a' + NULL", nil, nil},
		{"SELECT 'it''s'", nil, "it's"},
		{"SELECT @p1", []any{"ünïcödé"}, "ünïcödé"},
		{"SELECT @p1", []any{long}, long},
		{"SELECT @p1", []any{[]byte{0, 1, 255}}, []byte{0, 1, 255}},
		{"SELECT @p1", []any{true}, true},
		{"SELECT @p1", []any{int64(1) << 40}, int64(1) << 40},
		{"SELECT CAST('17' AS int)", nil, int64(17)},
		{"SELECT CONVERT(varchar(10), 0x01FF, 1)", nil, "0x01FF"},
		{"SELECT QUOTENAME(N'a]b')", nil, "[a]]b]"},
		{"SELECT QUOTENAME(N'it''s', '''')", nil, "'it''s'"},
		{"SELECT QUOTENAME(@p1)", []any{strings.Repeat("x", 129)}, nil},
		{"SELECT REPLACE(N'a-b', N'-', N'--')", nil, "a--b"},
		{"SELECT CASE WHEN N'A' = N'a ' THEN 1 ELSE 0 END", nil, int64(1)},
		{"SELECT CASE WHEN NULL = NULL THEN 1 END", nil, nil},
		{"SELECT CASE WHEN 1 NOT IN (2, NULL) THEN 1 ELSE 0 END", nil, int64(0)},
		{"SELECT CASE WHEN N'orders' LIKE N'ord%' AND NOT N'x' LIKE N'__' THEN 1 ELSE 0 END", nil, int64(1)},
		{"SELECT ISNULL(NULL, 3)", nil, int64(3)},
		{"SELECT (SELECT name FROM sys.databases WHERE database_id = 1)", nil, "master"},
		{"SELECT (SELECT name FROM sys.databases WHERE database_id = -1)", nil, nil},
		{"SELECT 1 + (SELECT COUNT(*) FROM sys.databases WHERE name IN ('master', 'model'))", nil, int64(3)},
		{"SELECT LEN(N'ab  ')", nil, int64(2)},
		{"SELECT IS_SRVROLEMEMBER('sysadmin')", nil, int64(1)},
		{"SELECT IS_SRVROLEMEMBER('nothing')", nil, nil},
		{"SELECT DB_NAME()", nil, "master"},
		{"SELECT SERVERPROPERTY('nothing')", nil, nil},
		{"DECLARE @a int = 1, @b nvarchar(2); SET @b = N'xyz'; IF @a = 2 SELECT N'no' ELSE SELECT @b", nil, "xy"},
		{"IF EXISTS (SELECT 1 FROM sys.sql_logins WHERE name = N'nobody') BEGIN SELECT 1 END ELSE BEGIN SELECT 2 END", nil, int64(2)},
		{"DECLARE @n int; SELECT @n = COUNT(*) FROM sys.databases WHERE name IN ('master', 'msdb'); SELECT @n", nil, int64(2)},
		{"SET NOCOUNT ON; SET LOCK_TIMEOUT -1; SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SELECT 1", nil, int64(1)},
	} {
		t.Run(c.text, func(t *testing.T) {
			require.Equal(t, c.want, query[any](t, admin, c.text, c.args...))
		})
	}
}

func TestWhatIsNotKnownIsRefused(t *testing.T) {
	server := mssqltest.Target(t)
	admin := server.Open(t, server.Admin)
	for _, c := range []struct {
		text   string
		number int32
	}{
		{"SELECT name FORM sys.databases", 102},
		{"SELECT FROM sys.databases", 156},
		{"ALTER LOGIN sa WITH PASSWORD = N'x' y'", 105},
		{"ALTER LOGIN sa WITH PASSWORD = @p", 102},
		{"ALTER LOGIN sa SET PASSWORD = N'x'", 156},
		{"SELECT 1 /* no end", 113},
		{"SELECT * FROM sys.nothing", 208},
		{"SELECT nothing FROM sys.databases", 207},
		{"SELECT d.nothing FROM sys.databases d", 4104},
		{"SELECT NOTHING(1)", 195},
		{"SELECT PWDCOMPARE(N'a')", 174},
		{"SELECT @nothing", 137},
		{"SET NOTHING ON", 195},
		{"EXEC sp_nothing", 2812},
		{"USE nothing", 911},
		{"SELECT CAST(N'x' AS int)", 245},
		{"SELECT 1 WHERE 1", 4145},
		{"DECLARE @a int; DECLARE @a int", 134},
		{"KILL 32000", 6106},
		{"SELECT (SELECT name FROM sys.databases)", 512},
		{"SELECT (SELECT name, database_id FROM sys.databases)", 116},
		{"SELECT d.* FROM sys.databases x", 107},
		{"SELECT * FROM sys.databases ORDER BY 99", 108},
	} {
		t.Run(c.text, func(t *testing.T) { refused(t, admin, c.number, c.text) })
	}
	t.Run("a batch with a syntax error at its end does nothing at its beginning", func(t *testing.T) {
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		_, err := admin.Exec("ALTER LOGIN orders DISABLE; ALTER LOGIN orders NONSENSE")
		require.Error(t, err)
		require.NoError(t, logsIn(t, server, "orders", "Old-Password-1"))
	})
	t.Run("a statement that fails does not keep the next from running", func(t *testing.T) {
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		_, err := admin.Exec("ALTER LOGIN nobody DISABLE\nALTER LOGIN orders DISABLE")
		require.EqualValues(t, 15151, number(err))
		require.EqualValues(t, 18470, number(logsIn(t, server, "orders", "Old-Password-1")))
	})
}
