package mssqltest_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// states is what a server knows of the members, each as "name role connection health".
func states(t *testing.T, server *mssqltest.Server) (out []string) {
	t.Helper()
	target := instance(t, server)
	db := target.Open(t, target.Admin)
	defer db.Close()
	rows, err := db.Query(`SELECT r.replica_server_name, s.role_desc, s.connected_state_desc, s.synchronization_health_desc
		FROM sys.dm_hadr_availability_replica_states s JOIN sys.availability_replicas r ON r.replica_id = s.replica_id ORDER BY 1`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name, role, connected, health string
		require.NoError(t, rows.Scan(&name, &role, &connected, &health))
		out = append(out, fmt.Sprint(name, " ", role, " ", connected, " ", health))
	}
	require.NoError(t, rows.Err())
	return out
}

func ask[T any](t *testing.T, server *mssqltest.Server, text string) T {
	t.Helper()
	target := instance(t, server)
	db := target.Open(t, target.Admin)
	defer db.Close()
	return query[T](t, db, text)
}

func TestThePrimaryKnowsTheStateOfAllMembersAndASecondaryItsOwn(t *testing.T) {
	clock := newClock()
	group := mssqltest.NewGroup("ag", false, "orders")
	dir := t.TempDir()
	join := func(name string) *mssqltest.Server {
		return start(t, mssqltest.Options{ServerName: name, Group: group, SyncDelay: time.Minute, Now: clock.now, DataDir: dir + "/" + name})
	}
	first, second := join("db-0"), join("db-1")
	require.Equal(t, []string{"db-0 PRIMARY CONNECTED HEALTHY", "db-1 SECONDARY CONNECTED NOT_HEALTHY"}, states(t, first))
	require.Equal(t, []string{"db-1 SECONDARY CONNECTED NOT_HEALTHY"}, states(t, second))
	require.Error(t, group.Failover(second), "it is not synchronized yet")

	clock.advance(time.Minute)
	require.Equal(t, []string{"db-0 PRIMARY CONNECTED HEALTHY", "db-1 SECONDARY CONNECTED HEALTHY"}, states(t, first))
	require.Equal(t, "db-0", ask[string](t, second, "SELECT primary_replica FROM sys.dm_hadr_availability_group_states"))
	require.Equal(t, "orders", ask[string](t, second, "SELECT database_name FROM sys.availability_databases_cluster"))
	require.Equal(t, 2, ask[int](t, first, "SELECT COUNT(*) FROM sys.dm_hadr_database_replica_states WHERE synchronization_state_desc = 'SYNCHRONIZED'"))
	require.EqualValues(t, 1, ask[int64](t, first, "SELECT CAST(SERVERPROPERTY('IsHadrEnabled') AS int)"))

	group.SetHealthy(second, false)
	require.Equal(t, []string{"db-0 PRIMARY CONNECTED HEALTHY", "db-1 SECONDARY CONNECTED NOT_HEALTHY"}, states(t, first))
	group.SetHealthy(second, true)

	require.NoError(t, first.Close())
	require.Same(t, second, group.Primary(), "a synchronized secondary takes over")
	require.Equal(t, []string{"db-0 SECONDARY DISCONNECTED NOT_HEALTHY", "db-1 PRIMARY CONNECTED HEALTHY"}, states(t, second))

	first = join("db-0")
	require.Equal(t, []string{"db-0 SECONDARY CONNECTED NOT_HEALTHY", "db-1 PRIMARY CONNECTED HEALTHY"}, states(t, second))
	clock.advance(time.Minute)
	require.NoError(t, group.Failover(first))
	require.Equal(t, []string{"db-1 SECONDARY CONNECTED HEALTHY"}, states(t, second))

	require.ErrorContains(t, group.Join(start(t, mssqltest.Options{ServerName: "db-0"})), "db-0 already")
	group.Leave(second)
	require.Equal(t, []string{"db-0 PRIMARY CONNECTED HEALTHY"}, states(t, first))
	require.Empty(t, states(t, second))
}

func TestASecondaryThatIsNotSynchronizedDoesNotTakeOver(t *testing.T) {
	group := mssqltest.NewGroup("ag", false, "orders")
	first := start(t, mssqltest.Options{ServerName: "db-0", Group: group})
	second := start(t, mssqltest.Options{ServerName: "db-1", Group: group})
	group.SetHealthy(second, false)
	require.NoError(t, first.Close())
	require.Nil(t, group.Primary())
	require.Equal(t, []string{"db-1 RESOLVING CONNECTED NOT_HEALTHY"}, states(t, second))
	require.Equal(t, []int32{983, 18456}, numbers(logsIn(t, instance(t, second), "sa", saPassword.Reveal(), "database=orders")))
	group.SetHealthy(second, true)
	require.Same(t, second, group.Primary())
}

func TestOnlyThePrimaryOpensTheDatabasesOfAGroup(t *testing.T) {
	group := mssqltest.NewGroup("ag", false, "orders")
	first := start(t, mssqltest.Options{ServerName: "db-0", Group: group})
	second := start(t, mssqltest.Options{ServerName: "db-1", Group: group})
	target := instance(t, first)
	session := target.Open(t, target.Admin, "database=orders")
	session.SetMaxOpenConns(1)
	require.Equal(t, "orders", query[string](t, session, "SELECT DB_NAME()"))
	require.Equal(t, []int32{976, 18456}, numbers(logsIn(t, instance(t, second), "sa", saPassword.Reveal(), "database=orders")))
	refused(t, instance(t, second).Open(t, target.Admin), 976, "USE orders")

	require.NoError(t, group.Failover(second))
	_, err := session.Exec("SELECT 1")
	require.Error(t, err, "a failover ends sessions in the group's databases")
	require.Equal(t, []int32{976, 18456}, numbers(logsIn(t, target, "sa", saPassword.Reveal(), "database=orders")))
	require.NoError(t, logsIn(t, instance(t, second), "sa", saPassword.Reveal(), "database=orders"))
}

func TestLoginsAreNotReplicated(t *testing.T) {
	group := mssqltest.NewGroup("ag", false, "orders")
	first := start(t, mssqltest.Options{ServerName: "db-0", Group: group})
	second := start(t, mssqltest.Options{ServerName: "db-1", Group: group})
	target := instance(t, first)
	execute(t, target.Open(t, target.Admin), "ALTER LOGIN sa WITH PASSWORD = N'Sa-Password-2'")
	require.NoError(t, logsIn(t, target, "sa", "Sa-Password-2"))
	require.NoError(t, logsIn(t, instance(t, second), "sa", saPassword.Reveal()))
}

func TestAContainedGroupHasLoginsOfItsOwnThatFollowThePrimary(t *testing.T) {
	group := mssqltest.NewGroup("cag", true, "orders")
	first := start(t, mssqltest.Options{ServerName: "db-0"})
	before := instance(t, first)
	before.CreateLogin(t, "chief", password("Old-Password-1"), mssqltest.LoginOptions{Roles: []string{"sysadmin"}})
	before.CreateLogin(t, "clerk", password("Old-Password-1"), mssqltest.LoginOptions{})
	require.NoError(t, group.Join(first))
	second := start(t, mssqltest.Options{ServerName: "db-1", Group: group})

	open := func(server *mssqltest.Server, settings ...string) *sql.DB {
		return instance(t, server).Open(t, credential.Credential{Username: "sa", Password: saPassword}, settings...)
	}
	inGroup := open(first, "database=orders")
	require.Equal(t, []string{"chief", "sa"}, names(t, inGroup, "SELECT name FROM sys.sql_logins ORDER BY name"), "it got those in sysadmin")
	require.Equal(t, []string{"master", "tempdb", "model", "msdb", "orders"}, names(t, inGroup, "SELECT name FROM sys.databases"))
	require.Contains(t, names(t, open(first), "SELECT name FROM sys.databases"), "cag_master")
	require.True(t, query[bool](t, open(first), "SELECT is_contained FROM sys.availability_groups"))

	execute(t, inGroup, "ALTER LOGIN sa WITH PASSWORD = N'Group-Password-2'")
	require.NoError(t, logsIn(t, before, "sa", saPassword.Reveal()), "the instance's is another one")
	require.EqualValues(t, 18456, number(logsIn(t, before, "sa", saPassword.Reveal(), "database=orders")))
	require.NoError(t, logsIn(t, before, "sa", "Group-Password-2", "database=orders"))
	require.EqualValues(t, 18456, number(logsIn(t, before, "clerk", "Old-Password-1", "database=orders")), "it is no login of the group")
	require.Equal(t, 1, query[int](t, instance(t, first).Open(t, credential.Credential{Username: "sa", Password: password("Group-Password-2")}, "database=orders"),
		"SELECT PWDCOMPARE(N'Group-Password-2', password_hash) FROM sys.sql_logins WHERE name = N'sa'"))

	require.NoError(t, group.Failover(second))
	require.NoError(t, logsIn(t, instance(t, second), "sa", "Group-Password-2", "database=orders"))
	require.NoError(t, logsIn(t, instance(t, second), "sa", saPassword.Reveal()))
}

func TestBeforeSQLServer2022NoGroupIsContained(t *testing.T) {
	server := start(t, mssqltest.Options{Version: "15.0.4385.2", Group: mssqltest.NewGroup("ag", false)})
	target := instance(t, server)
	refused(t, target.Open(t, target.Admin), 207, "SELECT is_contained FROM sys.availability_groups")
	require.Equal(t, "ag", ask[string](t, server, "SELECT name FROM sys.availability_groups"))
}

func TestTheStateOfAGroupNeedsPermission(t *testing.T) {
	server := start(t, mssqltest.Options{Group: mssqltest.NewGroup("ag", false)})
	target := instance(t, server)
	user := target.Open(t, target.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{}))
	refused(t, user, 300, "SELECT * FROM sys.dm_hadr_availability_replica_states")
	require.Empty(t, names(t, user, "SELECT name FROM sys.availability_groups"))
}
