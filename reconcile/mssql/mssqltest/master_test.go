package mssqltest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func TestMasterOutlivesTheServer(t *testing.T) {
	dir := t.TempDir()
	first := start(t, mssqltest.Options{DataDir: dir})
	target := instance(t, first)
	admin := target.Open(t, target.Admin)
	execute(t, admin, "CREATE LOGIN orders WITH PASSWORD = N'Old-Password-1'")
	execute(t, admin, "ALTER SERVER ROLE securityadmin ADD MEMBER orders; GRANT VIEW SERVER STATE TO orders")
	execute(t, admin, "ALTER LOGIN sa WITH PASSWORD = N'Sa-Password-2'")
	execute(t, admin, "BEGIN TRAN; ALTER LOGIN sa WITH PASSWORD = N'Sa-Password-3'")
	require.NoError(t, first.Close())

	second := instance(t, start(t, mssqltest.Options{DataDir: dir, SAPassword: password("Sa-Password-9")}))

	t.Run("the password that was set is in force", func(t *testing.T) {
		require.NoError(t, logsIn(t, second, "sa", "Sa-Password-2"))
	})
	t.Run("what was not committed is not", func(t *testing.T) {
		require.EqualValues(t, 18456, number(logsIn(t, second, "sa", "Sa-Password-3")))
	})
	t.Run("MSSQL_SA_PASSWORD is ignored", func(t *testing.T) {
		require.EqualValues(t, 18456, number(logsIn(t, second, "sa", "Sa-Password-9")))
	})
	t.Run("roles and permissions are kept", func(t *testing.T) {
		second.Admin.Password = password("Sa-Password-2")
		admin := second.Open(t, second.Admin)
		require.Equal(t, 1, query[int](t, admin, "SELECT IS_SRVROLEMEMBER('securityadmin', 'orders')"))
	})
	t.Run("the errorlog tells who came and which passwords changed, and no password", func(t *testing.T) {
		log := readFile(t, filepath.Join(dir, "log", "errorlog"))
		require.Regexp(t, `(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d Logon       Error: 18456, Severity: 14, State: 8\.$`, log)
		require.Regexp(t, `(?m) Logon       Login failed for user 'sa'\. Reason: Password did not match that for the login provided\. \[CLIENT: 127\.0\.0\.1\]$`, log)
		require.Regexp(t, `(?m) spid51      Password of login 'sa' was changed by login 'sa'\.$`, log)
		require.NotContains(t, log, "Sa-Password")
	})
	t.Run("no password stands in the file", func(t *testing.T) {
		require.NotContains(t, readFile(t, filepath.Join(dir, "master.json")), "Password-")
	})
}

func TestFirstStart(t *testing.T) {
	t.Run("fails as setup does when the password of sa is weak", func(t *testing.T) {
		dir := t.TempDir()
		_, err := mssqltest.Start(mssqltest.Options{DataDir: dir, SAPassword: password("weak")})
		require.ErrorContains(t, err, "ERROR: Unable to set system administrator password: Password validation failed. The password does not meet SQL Server password policy requirements because it is too short. The password must be at least 8 characters..")
		require.NoFileExists(t, filepath.Join(dir, "master.json"))
		require.Contains(t, readFile(t, filepath.Join(dir, "log", "errorlog")), "Unable to set system administrator password")
	})
	t.Run("a damaged file is not taken for a first start", func(t *testing.T) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "master.json"), `{"logins": [`)
		_, err := mssqltest.Start(mssqltest.Options{DataDir: dir, SAPassword: saPassword})
		require.ErrorContains(t, err, "master.json is damaged")
	})
}

func TestAChangeThatCannotBeStoredDoesNotHappen(t *testing.T) {
	dir := t.TempDir()
	target := instance(t, start(t, mssqltest.Options{DataDir: dir}))
	admin := target.Open(t, target.Admin)
	require.NoError(t, admin.Ping())
	// A folder where the new file is to be written stands for a full disk.
	require.NoError(t, os.Mkdir(filepath.Join(dir, "master.json.new"), 0o700))

	_, err := admin.Exec("ALTER LOGIN sa WITH PASSWORD = N'Sa-Password-2'")
	require.Error(t, err)
	require.NoError(t, logsIn(t, target, "sa", "Sa-Password-1"))
}
