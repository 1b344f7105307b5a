package mssql_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// open logs in for the length of the test.
func open(t *testing.T, endpoint mssql.Endpoint, login credential.Credential) *mssql.Session {
	t.Helper()
	session, err := mssql.Open(t.Context(), endpoint, login)
	require.NoError(t, err)
	t.Cleanup(session.Close)
	return session
}

func TestFactsSayWhatTheSessionMayDoWithALogin(t *testing.T) {
	server := mssqltest.Target(t)
	with := func(name string, options mssqltest.LoginOptions) credential.Credential {
		return server.CreateLogin(t, name, password("Old-Password-1"), options)
	}
	ordinary := with("orders", mssqltest.LoginOptions{})
	with("o'r]d", mssqltest.LoginOptions{NoPolicy: true})
	with("chief", mssqltest.LoginOptions{Roles: []string{"sysadmin"}})
	with("deputy", mssqltest.LoginOptions{Permissions: []string{"CONTROL SERVER"}})
	controls := with("controls", mssqltest.LoginOptions{Permissions: []string{"CONTROL SERVER"}})
	alters := with("alters", mssqltest.LoginOptions{Permissions: []string{"ALTER ANY LOGIN"}})

	for _, tc := range []struct {
		session                  credential.Credential
		login                    string
		compares, resets, policy bool
	}{
		{server.Admin, "orders", true, true, true},
		{server.Admin, "o'r]d", true, true, false},
		{server.Admin, server.Admin.Username, true, true, true},
		{controls, "chief", true, true, true},
		{alters, "orders", false, true, true},
		{alters, "o'r]d", false, true, false},
		{alters, "chief", false, false, true},
		{alters, "deputy", false, false, true},
		{alters, "alters", false, true, true},
		{ordinary, "orders", false, false, true},
		{ordinary, "chief", false, false, false}, // which it does not see
	} {
		t.Run(tc.session.Username+" with "+tc.login, func(t *testing.T) {
			session := open(t, endpoint(server), tc.session)
			facts, err := session.Facts(t.Context(), tc.login)
			require.NoError(t, err)
			require.Equal(t, []bool{tc.compares, tc.resets, tc.policy}, []bool{facts.Compares, facts.Resets, facts.Policy})
			require.NotEmpty(t, facts.Edition)
			require.Regexp(t, `^\d+\.\d+\.\d+\.\d+$`, facts.Version)
			require.NotZero(t, facts.Engine)

			_, _, err = session.Accepts(t.Context(), tc.login, password("Old-Password-1"))
			require.Equal(t, facts.Compares, err == nil, "what it says of comparing is true")
			if tc.login != server.Admin.Username {
				err = session.SetPassword(t.Context(), mssql.Change{Login: tc.login, Next: password("Old-Password-1")})
				require.Equal(t, facts.Resets, err == nil, "what it says of resetting is true")
			}
		})
	}
}

func TestFactsAreAskedForOnceAndInOneRoundTrip(t *testing.T) {
	server := mssqltest.StandIn(t)
	server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
	session := open(t, endpoint(server), server.Admin)
	before := len(server.StandIn().Statements())
	first, err := session.Facts(t.Context(), "orders")
	require.NoError(t, err)
	second, err := session.Facts(t.Context(), "orders")
	require.NoError(t, err)
	require.Equal(t, first, second)
	_, _, err = session.Accepts(t.Context(), "orders", password("A-Password-1"), password("A-Password-2"), password("A-Password-3"))
	require.NoError(t, err)
	require.Len(t, server.StandIn().Statements(), before+2)
}

func TestThereAreNoFactsAboutALoginThatDoesNotExist(t *testing.T) {
	server := mssqltest.Target(t)
	_, err := open(t, endpoint(server), server.Admin).Facts(t.Context(), "nobody")
	require.Equal(t, mssql.ReasonMissing, fault.As(err).Reason)
}

func TestADisturbanceIsNoFact(t *testing.T) {
	server := mssqltest.StandIn(t)
	session := open(t, endpoint(server), server.Admin)
	for what, disturbance := range map[string]mssqltest.StatementFault{
		"a lost connection": {Kind: "SELECT", Drop: mssqltest.DropBefore},
		"a deadlock":        {Kind: "SELECT", Error: 1205, Times: 1},
		"a failover":        {Kind: "SELECT", Error: 983, Times: 1},
	} {
		session, err := mssql.Open(t.Context(), endpoint(server), server.Admin)
		require.NoError(t, err)
		server.StandIn().SetFaults(mssqltest.Faults{Statements: []mssqltest.StatementFault{disturbance}})
		_, err = session.Facts(t.Context(), "sa")
		require.Contains(t, []fault.Class{fault.Retry, fault.Wait}, fault.As(err).Class, what)
		server.StandIn().SetFaults(mssqltest.Faults{Statements: []mssqltest.StatementFault{disturbance}})
		_, _, err = session.Accepts(t.Context(), "sa", password("x"))
		require.Contains(t, []fault.Class{fault.Retry, fault.Wait}, fault.As(err).Class, what)
		require.NotErrorIs(t, err, mssql.ErrCannotCompare, what)
		session.Close()
		server.StandIn().SetFaults(mssqltest.Faults{})
	}
	facts, err := session.Facts(t.Context(), "sa")
	require.NoError(t, err)
	require.True(t, facts.Compares)
}

func TestALoginChangesItsOwnPasswordWithTheOldOne(t *testing.T) {
	server := mssqltest.Target(t)
	for name, text := range hostile {
		old := password(text + "-0")
		owner := open(t, endpoint(server), server.CreateLogin(t, name, old, mssqltest.LoginOptions{}))
		err := owner.SetPassword(t.Context(), mssql.Change{Login: name, Next: password(text)})
		require.Equal(t, mssql.ReasonMissing, fault.As(err).Reason, "not without it")
		err = owner.SetPassword(t.Context(), mssql.Change{Login: name, Next: password(text), Old: password("Wrong-Password-1")})
		require.Equal(t, mssql.ReasonMissing, fault.As(err).Reason, "nor with a wrong one")
		require.NoError(t, owner.SetPassword(t.Context(), mssql.Change{Login: name, Next: password(text), Old: old}), name)
		open(t, endpoint(server), credential.Credential{Username: name, Password: password(text)})
	}
}
