package mssql_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// member makes a stand-in a member of a group.
func member(name string, group *mssqltest.Group) func(*mssqltest.Options) {
	return func(o *mssqltest.Options) { o.ServerName, o.Group = name, group }
}

func TestAServerWithoutAGroupIsInNone(t *testing.T) {
	server := mssqltest.Target(t)
	group, err := open(t, endpoint(server), server.Admin).Group(t.Context())
	require.NoError(t, err)
	require.Zero(t, group)
}

func TestThePrimarySaysHowTheGroupIs(t *testing.T) {
	ag := mssqltest.NewGroup("ag", false, "stock", "orders")
	first, second, third := mssqltest.StandIn(t, member("db-0", ag)), mssqltest.StandIn(t, member("db-1", ag)), mssqltest.StandIn(t, member("db-2", ag))
	ag.SetHealthy(second.StandIn(), false)
	require.NoError(t, third.StandIn().Close())

	before := len(first.StandIn().Statements())
	group, err := open(t, endpoint(first), first.Admin).Group(t.Context())
	require.NoError(t, err)
	require.Equal(t, mssql.Group{Name: "ag", Database: "orders", Replicas: []mssql.GroupReplica{
		{Server: "db-0", Primary: true, Connected: true, Healthy: true},
		{Server: "db-1", Connected: true},
		{Server: "db-2"},
	}}, group)
	require.Len(t, first.StandIn().Statements(), before+1, "one round trip")

	group, err = open(t, endpoint(second), second.Admin).Group(t.Context())
	require.NoError(t, err)
	require.Equal(t, []mssql.GroupReplica{{Server: "db-1", Connected: true}}, group.Replicas)
}

func TestOfSeveralGroupsTheContainedOneCounts(t *testing.T) {
	server := mssqltest.StandIn(t)
	for _, group := range []*mssqltest.Group{
		mssqltest.NewGroup("b", true, "b1"), mssqltest.NewGroup("a", false, "a1"), mssqltest.NewGroup("c", true),
	} {
		require.NoError(t, group.Join(server.StandIn()))
	}
	group, err := open(t, endpoint(server), server.Admin).Group(t.Context())
	require.NoError(t, err)
	require.Equal(t, "b", group.Name)
	require.True(t, group.Contained)
	require.Equal(t, "b1", group.Database)
}

func TestAContainedGroupWithoutDatabasesOfPeopleHasNoneToBeginIn(t *testing.T) {
	server := mssqltest.StandIn(t, member("db-0", mssqltest.NewGroup("c", true)))
	group, err := open(t, endpoint(server), server.Admin).Group(t.Context())
	require.NoError(t, err)
	require.True(t, group.Contained)
	require.Empty(t, group.Database)
}

func TestAServerOlderThanContainedGroupsAnswersToo(t *testing.T) {
	server := mssqltest.StandIn(t, member("db-0", mssqltest.NewGroup("ag", false, "orders")), func(o *mssqltest.Options) { o.Version = "15.0.4385.2" })
	group, err := open(t, endpoint(server), server.Admin).Group(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ag", group.Name)
	require.False(t, group.Contained)
}

func TestASessionThatMayNotSeeGroupsSeesNone(t *testing.T) {
	server := mssqltest.StandIn(t, member("db-0", mssqltest.NewGroup("ag", false, "orders")))
	login := server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
	group, err := open(t, endpoint(server), login).Group(t.Context())
	require.NoError(t, err)
	require.Zero(t, group)
}

func TestTheLoginsOfAContainedGroupAreChangedThroughOneOfItsDatabases(t *testing.T) {
	ag := mssqltest.NewGroup("cag", true, "orders")
	first, second := mssqltest.StandIn(t, member("db-0", ag)), mssqltest.StandIn(t, member("db-1", ag))
	old, next := first.Admin.Password, password("Group-Password-2")
	inGroup := endpoint(first)
	inGroup.Database = "orders"
	session := open(t, inGroup, first.Admin)
	facts, err := session.Facts(t.Context(), "sa")
	require.NoError(t, err)
	require.True(t, facts.Compares && facts.Resets)
	require.NoError(t, session.SetPassword(t.Context(), mssql.Change{Login: "sa", Next: next}))

	accepted, _, err := session.Accepts(t.Context(), "sa", old, next)
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, accepted)
	accepted, _, err = open(t, endpoint(first), first.Admin).Accepts(t.Context(), "sa", old, next)
	require.NoError(t, err)
	require.Equal(t, []bool{true, false}, accepted, "the instance's own login is another one")

	inGroup = endpoint(second)
	inGroup.Database = "orders"
	_, err = mssql.Open(t.Context(), inGroup, credential.Credential{Username: "sa", Password: next})
	require.Equal(t, mssql.ReasonDatabase, fault.As(err).Reason, "a secondary keeps them closed, which says nothing about the password")
	require.Equal(t, fault.Wait, fault.As(err).Class)
	require.NoError(t, ag.Failover(second.StandIn()))
	open(t, inGroup, credential.Credential{Username: "sa", Password: next})
}

func TestSessionsAreCountedWhereAllAreSeen(t *testing.T) {
	server := mssqltest.Target(t)
	login := server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
	watcher := server.CreateLogin(t, "watcher", password("Old-Password-1"), mssqltest.LoginOptions{Permissions: []string{"VIEW SERVER STATE"}})
	own := open(t, endpoint(server), login)
	open(t, endpoint(server), login)
	for _, tc := range []struct {
		session *mssql.Session
		login   string
		want    int
	}{
		{open(t, endpoint(server), server.Admin), "orders", 2},
		{open(t, endpoint(server), watcher), "orders", 2},
		{open(t, endpoint(server), watcher), "watcher", 1},
		{open(t, endpoint(server), server.Admin), "nobody", 0},
		{own, "orders", -1}, // it sees itself alone
	} {
		count, err := tc.session.Sessions(t.Context(), tc.login)
		require.NoError(t, err)
		require.Equal(t, tc.want, count, tc.login)
	}
}
