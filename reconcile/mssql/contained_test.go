package mssql_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// shop is a contained database with the users that are given, all with the password "Old-Password-1".
func shop(t *testing.T, users ...string) (mssql.Endpoint, *mssqltest.Instance) {
	t.Helper()
	server := mssqltest.StandIn(t)
	require.NoError(t, server.StandIn().AddContainedDatabase("shop"))
	owner := server.Open(t, server.Admin, "database=shop")
	for _, name := range users {
		_, err := owner.Exec("CREATE USER [" + strings.ReplaceAll(name, "]", "]]") + "] WITH PASSWORD = N'Old-Password-1'")
		require.NoError(t, err)
	}
	e := endpoint(server)
	e.Database, e.Contained = "shop", true
	return e, server
}

func TestAUserOfAContainedDatabaseChangesItsOwnPassword(t *testing.T) {
	for name, text := range hostile {
		endpoint, _ := shop(t, name)
		session := open(t, endpoint, credential.Credential{Username: name, Password: password("Old-Password-1")})
		require.Equal(t, mssql.ReasonMissing, fault.As(session.SetPassword(t.Context(), mssql.Change{Login: name, Next: password(text)})).Reason)
		require.NoError(t, session.SetPassword(t.Context(), mssql.Change{Login: name, Next: password(text), Old: password("Old-Password-1")}), name)
		open(t, endpoint, credential.Credential{Username: name, Password: password(text)})
		_, err := mssql.Open(t.Context(), endpoint, credential.Credential{Username: name, Password: password("Old-Password-1")})
		require.Equal(t, mssql.ReasonRefusedLogin, fault.As(err).Reason)
	}
}

func TestTheUsersOfAContainedDatabaseAreNotCompared(t *testing.T) {
	endpoint, server := shop(t, "clerk", "other")
	owner := open(t, endpoint, server.Admin)
	clerk := open(t, endpoint, credential.Credential{Username: "clerk", Password: password("Old-Password-1")})

	facts, err := owner.Facts(t.Context(), "clerk")
	require.NoError(t, err)
	require.Equal(t, []bool{false, true, true}, []bool{facts.Compares, facts.Resets, facts.Policy})
	require.NotEmpty(t, facts.Version)
	facts, err = clerk.Facts(t.Context(), "clerk")
	require.NoError(t, err)
	require.Equal(t, []bool{false, false, true}, []bool{facts.Compares, facts.Resets, facts.Policy})
	_, err = owner.Facts(t.Context(), "sa")
	require.Equal(t, mssql.ReasonMissing, fault.As(err).Reason, "a login is no user of it")

	_, _, err = owner.Accepts(t.Context(), "clerk", password("Old-Password-1"))
	require.ErrorIs(t, err, mssql.ErrCannotCompare)
	require.NoError(t, owner.SetPassword(t.Context(), mssql.Change{Login: "clerk", Next: password("New-Password-2")}))
	open(t, endpoint, credential.Credential{Username: "clerk", Password: password("New-Password-2")})
}

func TestOnlyTheSessionsOfTheDatabaseCount(t *testing.T) {
	endpoint, server := shop(t, "clerk")
	server.CreateLogin(t, "clerk", password("Login-Password-1"), mssqltest.LoginOptions{})
	open(t, endpoint, credential.Credential{Username: "clerk", Password: password("Old-Password-1")})
	elsewhere := endpoint
	elsewhere.Database, elsewhere.Contained = "", false
	open(t, elsewhere, credential.Credential{Username: "clerk", Password: password("Login-Password-1")})
	count, err := open(t, endpoint, server.Admin).Sessions(t.Context(), "clerk")
	require.NoError(t, err)
	require.Equal(t, 1, count)
}

func TestADatabaseThatIsNotThereSaysNothingAboutThePassword(t *testing.T) {
	server := mssqltest.Target(t)
	nowhere := endpoint(server)
	nowhere.Database = "nowhere"
	_, err := mssql.Open(t.Context(), nowhere, server.Admin)
	require.Equal(t, mssql.ReasonDatabase, fault.As(err).Reason)
	require.Equal(t, fault.Wait, fault.As(err).Class)
}
