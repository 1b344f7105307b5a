package mssql_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func flavour(f mssqltest.Flavour) func(*mssqltest.Options) {
	return func(o *mssqltest.Options) { o.Flavour = f }
}

func TestWhatAServerLacksIsAFactAndNoError(t *testing.T) {
	for _, tc := range []struct {
		flavour mssqltest.Flavour
		facts   mssql.Facts
		count   int
	}{
		{mssqltest.FlavourAzureSQLDatabase, mssql.Facts{Server: "mssqltest", Edition: "SQL Azure", Version: "12.0.2000.8", Engine: 5, Policy: true}, -1},
		{mssqltest.FlavourForeign, mssql.Facts{Server: "mssqltest", Resets: true}, 1},
	} {
		t.Run(string(tc.flavour), func(t *testing.T) {
			server := mssqltest.StandIn(t, flavour(tc.flavour))
			login := server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
			open(t, endpoint(server), login)
			session := open(t, endpoint(server), server.Admin)

			facts, err := session.Facts(t.Context(), "orders")
			require.NoError(t, err)
			require.Equal(t, tc.facts, facts)
			_, _, err = session.Accepts(t.Context(), "orders", login.Password)
			require.ErrorIs(t, err, mssql.ErrCannotCompare)
			require.NotContains(t, err.Error(), login.Password.Reveal())
			group, err := session.Group(t.Context())
			require.NoError(t, err)
			require.Zero(t, group)
			count, err := session.Sessions(t.Context(), "orders")
			require.NoError(t, err)
			require.Equal(t, tc.count, count)

			require.NoError(t, session.SetPassword(t.Context(), mssql.Change{Login: "orders", Next: password("New-Password-2")}))
			login.Password = password("New-Password-2")
			open(t, endpoint(server), login)
		})
	}
}

func TestALoginOfAzureSQLDatabaseChangesItself(t *testing.T) {
	server := mssqltest.StandIn(t, flavour(mssqltest.FlavourAzureSQLDatabase))
	login := server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
	session := open(t, endpoint(server), login)
	facts, err := session.Facts(t.Context(), "orders")
	require.NoError(t, err)
	require.False(t, facts.Compares || facts.Resets)
	require.NoError(t, session.SetPassword(t.Context(), mssql.Change{Login: "orders", Next: password("New-Password-2"), Old: login.Password}))
}

func TestAServerWithoutOldPasswordSaysSo(t *testing.T) {
	server := mssqltest.StandIn(t, flavour(mssqltest.FlavourForeign))
	server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
	err := open(t, endpoint(server), server.Admin).SetPassword(t.Context(), mssql.Change{Login: "orders", Next: password("New-Password-2"), Old: password("Old-Password-1")})
	require.Equal(t, mssql.ReasonServer, fault.As(err).Reason)
	require.Equal(t, fault.Refuse, fault.As(err).Class)
	require.ErrorContains(t, err, "OLD_PASSWORD", "what the server said is passed on")
}
