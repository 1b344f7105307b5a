package mssql_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// verdict is what an error number means for a rotation.
type verdict struct {
	number int32
	class  fault.Class
	reason string
}

func TestALoginIsTriedOnceAndEachRefusalHasItsClass(t *testing.T) {
	server := mssqltest.StandIn(t)
	for i, want := range []verdict{
		{18456, fault.Stop, mssql.ReasonRefusedLogin},
		{18452, fault.Stop, mssql.ReasonWindowsOnly},
		{18401, fault.Wait, mssql.ReasonStarting},
		{18451, fault.Wait, mssql.ReasonStarting},
		{18461, fault.Wait, mssql.ReasonStarting},
		{6005, fault.Wait, mssql.ReasonStarting},
		{17142, fault.Wait, mssql.ReasonStarting},
		{40613, fault.Wait, mssql.ReasonStarting},
		{4060, fault.Wait, mssql.ReasonDatabase},
		{976, fault.Wait, mssql.ReasonDatabase},
		{983, fault.Wait, mssql.ReasonDatabase},
		{18470, fault.Stop, mssql.ReasonDisabled},
		{18486, fault.Stop, mssql.ReasonLocked},
		{18487, fault.Stop, mssql.ReasonExpired},
		{18488, fault.Stop, mssql.ReasonExpired},
		{18462, fault.Refuse, mssql.ReasonPolicy},
		{18463, fault.Refuse, mssql.ReasonPolicy},
		{18464, fault.Refuse, mssql.ReasonPolicy},
		{18465, fault.Refuse, mssql.ReasonPolicy},
		{18466, fault.Refuse, mssql.ReasonPolicy},
		{18467, fault.Refuse, mssql.ReasonPolicy},
		{18468, fault.Refuse, mssql.ReasonPolicy},
		{18471, fault.Stop, mssql.ReasonPermission},
		{12345, fault.Stop, mssql.ReasonServer}, // unknown: a further try could lock the login
	} {
		server.StandIn().SetFaults(mssqltest.Faults{Logins: []mssqltest.LoginFault{{Error: want.number}}})
		_, err := mssql.Open(t.Context(), endpoint(server), server.Admin)
		require.Equal(t, want, verdict{want.number, fault.As(err).Class, fault.As(err).Reason}, err)
		require.Contains(t, err.Error(), strconv.Itoa(int(want.number)))
		require.NotContains(t, err.Error(), server.Admin.Password.Reveal())
		_, failed := server.StandIn().Logins(server.Admin.Username)
		require.Equal(t, i+1, failed, "one try")
	}
}

func TestEachRefusalOfAStatementHasItsClass(t *testing.T) {
	server := mssqltest.StandIn(t)
	session := open(t, endpoint(server), server.Admin)
	for _, want := range []verdict{
		{15113, fault.Stop, mssql.ReasonLocked},
		{15114, fault.Refuse, mssql.ReasonPolicy},
		{15115, fault.Refuse, mssql.ReasonPolicy},
		{15116, fault.Refuse, mssql.ReasonPolicy},
		{15117, fault.Refuse, mssql.ReasonPolicy},
		{15118, fault.Refuse, mssql.ReasonPolicy},
		{15119, fault.Refuse, mssql.ReasonPolicy},
		{15156, fault.Refuse, mssql.ReasonPolicy},
		{33062, fault.Refuse, mssql.ReasonPolicy},
		{33063, fault.Refuse, mssql.ReasonPolicy},
		{33064, fault.Refuse, mssql.ReasonPolicy},
		{15151, fault.Stop, mssql.ReasonMissing},
		{33233, fault.Stop, mssql.ReasonMissing},
		{33234, fault.Stop, mssql.ReasonMissing},
		{15247, fault.Stop, mssql.ReasonPermission},
		{229, fault.Stop, mssql.ReasonPermission},
		{297, fault.Stop, mssql.ReasonPermission},
		{300, fault.Stop, mssql.ReasonPermission},
		{18056, fault.Retry, mssql.ReasonUnreachable},
		{1205, fault.Retry, mssql.ReasonServer},   // a deadlock
		{701, fault.Retry, mssql.ReasonServer},    // short of memory
		{12345, fault.Refuse, mssql.ReasonServer}, // unknown
	} {
		server.StandIn().SetFaults(mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Error: want.number}}})
		err := session.SetPassword(t.Context(), mssql.Change{Login: "sa", Next: password("Canary-Password-1")})
		require.Equal(t, want, verdict{want.number, fault.As(err).Class, fault.As(err).Reason}, err)
		require.Contains(t, err.Error(), strconv.Itoa(int(want.number)))
		require.NotContains(t, err.Error(), "Canary")
	}
}

func TestAPasswordThatHasExpiredIsChangedWhileLoggingIn(t *testing.T) {
	var passed atomic.Int64
	server := mssqltest.StandIn(t, func(o *mssqltest.Options) {
		o.MaxPasswordAge = time.Hour
		o.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	})
	for _, options := range []mssqltest.LoginOptions{{CheckExpiration: true}, {CheckExpiration: true, MustChange: true}} {
		login := server.CreateLogin(t, "orders", password("Old-Password-1"), options)
		passed.Add(int64(2 * time.Hour))
		_, err := mssql.Open(t.Context(), endpoint(server), login)
		require.Equal(t, mssql.ReasonExpired, fault.As(err).Reason)
		require.Equal(t, fault.Stop, fault.As(err).Class)

		_, err = mssql.OpenWithNewPassword(t.Context(), endpoint(server), login, password("canarysimple"))
		require.Equal(t, mssql.ReasonPolicy, fault.As(err).Reason)
		require.NotContains(t, err.Error(), "canarysimple")

		session, err := mssql.OpenWithNewPassword(t.Context(), endpoint(server), login, password("New-Password-2"))
		require.NoError(t, err)
		session.Close()
		login.Password = password("New-Password-2")
		open(t, endpoint(server), login)
	}
}

func TestACertificateThatIsPinnedIsTheOnlyOne(t *testing.T) {
	server, stranger := mssqltest.StandIn(t), mssqltest.StandIn(t)
	pinned := endpoint(server)
	pinned.TLS = mssql.TLS{Pinned: server.StandIn().CertificateDER(), ServerName: "another.name"}
	open(t, pinned, server.Admin)
	for _, any := range []bool{false, true} {
		pinned.TLS = mssql.TLS{Pinned: stranger.StandIn().CertificateDER(), Any: any}
		_, err := mssql.Open(t.Context(), pinned, server.Admin)
		require.Equal(t, mssql.ReasonUntrusted, fault.As(err).Reason)
	}
}

func TestAnyCertificateWillDoOnlyIfThatIsSaid(t *testing.T) {
	server := mssqltest.Target(t)
	unknown := endpoint(server)
	unknown.TLS = mssql.TLS{} // the system's authorities know nothing of it
	_, err := mssql.Open(t.Context(), unknown, server.Admin)
	require.Equal(t, mssql.ReasonUntrusted, fault.As(err).Reason)
	unknown.TLS.Any = true
	open(t, unknown, server.Admin)
}
