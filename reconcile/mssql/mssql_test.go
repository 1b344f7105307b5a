package mssql_test

import (
	"context"
	"crypto/x509"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func endpoint(server *mssqltest.Instance) mssql.Endpoint {
	e := mssql.Endpoint{Name: "db-0", Address: net.JoinHostPort(server.Host, strconv.Itoa(server.Port)),
		TLS: mssql.TLS{Any: server.TrustServerCertificate}}
	if len(server.CA) > 0 {
		e.TLS.RootCAs = x509.NewCertPool()
		e.TLS.RootCAs.AppendCertsFromPEM(server.CA)
	}
	return e
}

// issued gives a stand-in a certificate that clients can check.
func issued(t *testing.T, names ...string) func(*mssqltest.Options) {
	t.Helper()
	certificate, err := mssqltest.Issued(names...)
	require.NoError(t, err)
	return func(o *mssqltest.Options) { o.Certificate = certificate }
}

func password(text string) credential.Password { return credential.NewPassword(text) }

func TestASessionChangesAPasswordAndTellsWhichOneIsLive(t *testing.T) {
	server := mssqltest.Target(t)
	old, next := password("Old-Password-1"), password("New-Password-2")
	server.CreateLogin(t, "orders", old, mssqltest.LoginOptions{})
	admin, err := mssql.Open(t.Context(), endpoint(server), server.Admin)
	require.NoError(t, err)
	defer admin.Close()

	accepted, _, err := admin.Accepts(t.Context(), "orders", old, next, credential.Password{})
	require.NoError(t, err)
	require.Equal(t, []bool{true, false, false}, accepted)

	require.NoError(t, admin.SetPassword(t.Context(), mssql.Change{Login: "orders", Next: next}))
	accepted, _, err = admin.Accepts(t.Context(), "orders", old, next)
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, accepted)

	_, err = mssql.Open(t.Context(), endpoint(server), credential.Credential{Username: "orders", Password: old})
	require.Equal(t, mssql.ReasonRefusedLogin, fault.As(err).Reason)
	require.Equal(t, fault.Stop, fault.As(err).Class)
}

func TestASessionOutlivesTheChangeOfItsOwnPassword(t *testing.T) {
	server := mssqltest.Target(t)
	old, next := password("Old-Password-1"), password("New-Password-2")
	self := server.CreateLogin(t, "rotator", old, mssqltest.LoginOptions{Roles: []string{"sysadmin"}})
	session, err := mssql.Open(t.Context(), endpoint(server), self)
	require.NoError(t, err)
	defer session.Close()

	require.NoError(t, session.SetPassword(t.Context(), mssql.Change{Login: "rotator", Next: next}))
	accepted, _, err := session.Accepts(t.Context(), "rotator", old, next)
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, accepted)
	require.NoError(t, session.SetPassword(t.Context(), mssql.Change{Login: "rotator", Next: old}), "it can still put the old one back")
}

// hostile are names, each with a password, that would be something else if they were quoted wrongly.
var hostile = map[string]string{
	"nothing special":   "Plain-Password-1",
	"o'brien":           "It's-Quoted-1'",
	"[bracketed]":       "Br]ack]]ets-1[",
	`user "x"`:          `Back\slash-"1"`,
	"x]; DROP LOGIN sa": "Aa1'; DROP LOGIN sa; --",
	"ümlaut 名前":         "Größe-名前-1",
	"percent":           "100%-{{x}}-$Y-#@&",
}

func TestNamesAndPasswordsSurviveTheWayIntoAStatement(t *testing.T) {
	server := mssqltest.Target(t)
	for name, text := range hostile {
		server.CreateLogin(t, name, password("Old-Password-1"), mssqltest.LoginOptions{})
		admin, err := mssql.Open(t.Context(), endpoint(server), server.Admin)
		require.NoError(t, err)
		require.NoError(t, admin.SetPassword(t.Context(), mssql.Change{Login: name, Next: password(text)}), name)
		accepted, _, err := admin.Accepts(t.Context(), name, password(text))
		require.NoError(t, err)
		require.Equal(t, []bool{true}, accepted, name)
		admin.Close()
		session, err := mssql.Open(t.Context(), endpoint(server), credential.Credential{Username: name, Password: password(text)})
		require.NoError(t, err, name)
		session.Close()
	}
}

func TestWhatAServerRefusesIsClassified(t *testing.T) {
	server := mssqltest.Target(t)
	server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
	admin, err := mssql.Open(t.Context(), endpoint(server), server.Admin)
	require.NoError(t, err)
	defer admin.Close()

	err = admin.SetPassword(t.Context(), mssql.Change{Login: "orders", Next: password("canaryweak")})
	require.Equal(t, mssql.ReasonPolicy, fault.As(err).Reason)
	require.Equal(t, fault.Refuse, fault.As(err).Class)
	require.NotContains(t, err.Error(), "canaryweak")

	_, _, err = admin.Accepts(t.Context(), "nobody", password("x"))
	require.Equal(t, mssql.ReasonMissing, fault.As(err).Reason)
	require.Equal(t, mssql.ReasonMissing, fault.As(admin.SetPassword(t.Context(), mssql.Change{Login: "nobody", Next: password("New-Password-2")})).Reason)

	ordinary, err := mssql.Open(t.Context(), endpoint(server), credential.Credential{Username: "orders", Password: password("Old-Password-1")})
	require.NoError(t, err)
	defer ordinary.Close()
	_, _, err = ordinary.Accepts(t.Context(), "orders", password("Old-Password-1"))
	require.ErrorIs(t, err, mssql.ErrCannotCompare, "an ordinary login does not see password hashes")
	_, _, err = ordinary.Accepts(t.Context(), "nobody", password("Old-Password-1"))
	require.ErrorIs(t, err, mssql.ErrCannotCompare, "nor which logins there are")
}

func TestASilentServerHoldsNobodyLongerThanTheContext(t *testing.T) {
	server := mssqltest.StandIn(t)
	session, err := mssql.Open(t.Context(), endpoint(server), server.Admin)
	require.NoError(t, err)
	defer session.Close()
	server.StandIn().SetFaults(mssqltest.Faults{
		Silent:     true,
		Statements: []mssqltest.StatementFault{{Delay: mssqltest.Duration(time.Minute)}},
	})
	for what, act := range map[string]func(context.Context) error{
		"a login": func(ctx context.Context) error {
			_, err := mssql.Open(ctx, endpoint(server), server.Admin)
			return err
		},
		"a question": func(ctx context.Context) error {
			_, _, err := session.Accepts(ctx, "sa", password("x"))
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		ended := make(chan error, 1)
		go func() { ended <- act(ctx) }()
		select {
		case err := <-ended:
			require.Equal(t, mssql.ReasonUnreachable, fault.As(err).Reason, what)
			require.ErrorContains(t, err, "no answer in time", what)
		case <-time.After(10 * time.Second):
			t.Fatalf("%s outlived its context", what)
		}
		cancel()
	}
}

func TestALostConnectionIsNotMistakenForARefusal(t *testing.T) {
	for _, drop := range []mssqltest.Drop{mssqltest.DropBefore, mssqltest.DropAfter} {
		server := mssqltest.StandIn(t)
		server.CreateLogin(t, "orders", password("Old-Password-1"), mssqltest.LoginOptions{})
		asker, err := mssql.Open(t.Context(), endpoint(server), server.Admin)
		require.NoError(t, err)
		defer asker.Close()
		changer, err := mssql.Open(t.Context(), endpoint(server), server.Admin)
		require.NoError(t, err)
		defer changer.Close()
		server.StandIn().SetFaults(mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Drop: drop, Times: 1}}})

		err = changer.SetPassword(t.Context(), mssql.Change{Login: "orders", Next: password("New-Password-2")})
		require.Equal(t, fault.Retry, fault.As(err).Class)
		require.NotContains(t, err.Error(), "New-Password-2")
		accepted, _, err := asker.Accepts(t.Context(), "orders", password("New-Password-2"))
		require.NoError(t, err, "the other session is still authenticated")
		require.Equal(t, []bool{drop == mssqltest.DropAfter}, accepted)
	}
}

func TestACertificateOfAStrangerIsRefusedBeforeThePasswordIsSent(t *testing.T) {
	server, stranger := mssqltest.StandIn(t, issued(t, "127.0.0.1")), mssqltest.StandIn(t, issued(t, "127.0.0.1"))
	open(t, endpoint(server), server.Admin)
	wrong := endpoint(server)
	wrong.TLS.RootCAs = endpoint(stranger).TLS.RootCAs
	_, err := mssql.Open(t.Context(), wrong, server.Admin)
	require.Equal(t, mssql.ReasonUntrusted, fault.As(err).Reason)
	require.Equal(t, fault.Refuse, fault.As(err).Class)

	renamed := endpoint(server)
	renamed.TLS.ServerName = "db-0.elsewhere.svc"
	_, err = mssql.Open(t.Context(), renamed, server.Admin)
	require.Equal(t, mssql.ReasonUntrusted, fault.As(err).Reason)
	succeeded, failed := server.StandIn().Logins(server.Admin.Username)
	require.Equal(t, []int{1, 0}, []int{succeeded, failed}, "the one that was right")
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener.Close()
	_, err = mssql.Open(t.Context(), mssql.Endpoint{Name: "db-0", Address: listener.Addr().String()}, credential.Credential{Username: "sa", Password: password("Canary-Password-1")})
	require.Equal(t, fault.Wait, fault.As(err).Class)
	require.ErrorContains(t, err, "db-0 ("+listener.Addr().String()+") cannot be reached")
	require.False(t, strings.Contains(err.Error(), "Canary"))
}
