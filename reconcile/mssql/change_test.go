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

func TestAChangeComesTooLateOnceThePasswordWasSetAgainEvenToTheSame(t *testing.T) {
	server := mssqltest.Target(t)
	for name := range hostile {
		login := server.CreateLogin(t, name, password("Old-Password-1"), mssqltest.LoginOptions{})
		admin := open(t, endpoint(server), server.Admin)
		_, before, err := admin.Accepts(t.Context(), name)
		require.NoError(t, err)
		require.False(t, before.IsZero())

		require.NoError(t, admin.SetPassword(t.Context(), mssql.Change{Login: name, Next: login.Password}))
		_, after, err := admin.Accepts(t.Context(), name)
		require.NoError(t, err)
		require.NotEqual(t, before, after, "the hash tells one setting of a password from the next")

		err = admin.SetPassword(t.Context(), mssql.Change{Login: name, Next: password("Late-Password-1"), If: before})
		require.ErrorIs(t, err, mssql.ErrChanged, name)
		open(t, endpoint(server), login)
		require.NoError(t, admin.SetPassword(t.Context(), mssql.Change{Login: name, Next: password("Right-Password-1"), If: after}))
		open(t, endpoint(server), credential.Credential{Username: name, Password: password("Right-Password-1")})
		err = admin.SetPassword(t.Context(), mssql.Change{Login: name, Next: password("Late-Password-1"), If: after})
		require.ErrorIs(t, err, mssql.ErrChanged, name)
	}
}

func TestAConditionalChangeIsRefusedAsAnyOther(t *testing.T) {
	server := mssqltest.Target(t)
	login := server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
	admin := open(t, endpoint(server), server.Admin)
	_, hash, err := admin.Accepts(t.Context(), "orders")
	require.NoError(t, err)
	err = admin.SetPassword(t.Context(), mssql.Change{Login: "orders", Next: password("canaryweak"), If: hash})
	require.Equal(t, mssql.ReasonPolicy, fault.As(err).Reason)
	err = admin.SetPassword(t.Context(), mssql.Change{Login: "orders", Next: password("New-Password-2"), Old: password("Wrong-Password-1"), If: hash})
	require.Equal(t, mssql.ReasonMissing, fault.As(err).Reason)
	open(t, endpoint(server), login)
	require.NoError(t, admin.SetPassword(t.Context(), mssql.Change{Login: "orders", Next: password("New-Password-2"), Old: login.Password, If: hash}))
}

func TestTheHashIsNowhereToBeRead(t *testing.T) {
	server := mssqltest.StandIn(t)
	admin := open(t, endpoint(server), server.Admin)
	_, hash, err := admin.Accepts(t.Context(), "sa")
	require.NoError(t, err)
	server.StandIn().SetFaults(mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Error: 701}}})
	err = admin.SetPassword(t.Context(), mssql.Change{Login: "sa", Next: password("New-Password-2"), If: hash})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "New-Password-2")
	batches := server.StandIn().Statements()
	require.NotRegexp(t, "(?i)0x02|New-Password", batches[len(batches)-1])
	require.Contains(t, strings.ToUpper(batches[len(batches)-1]), "ALTER LOGIN", "in the batch itself, where traces mask it")
}
