package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// serverError is an error of SQL Server's that comes in the middle of a rotation, and what is made of it.
type serverError struct {
	number  int32
	at      string // "login"; "change", which is ALTER LOGIN; "expired", while a password that has expired is changed; "SELECT"
	times   int    // how often it comes; 0: always
	reason  string // of the failure; "" where the rotation succeeds nevertheless
	text    string // of the failure, after the server's name
	refused int    // logins that the server has refused
}

const (
	unlockIt  = "; find who sent wrong passwords, then unlock it: ALTER LOGIN ... WITH PASSWORD = '...' UNLOCK"
	mixIt     = "; mix upper case, lower case, digits and symbols"
	waitForIt = "; wait for the policy's minimum password age and add a new request"
)

var serverErrors = []serverError{
	// Nobody is let in, for now: it is waited for.
	{18401, "login", 3, "", "", 3},
	{18451, "login", 3, "", "", 3},
	{18461, "login", 3, "", "", 3},

	// The login is not let in: it is tried once.
	{18456, "login", 0, "CredentialRefused", ` refused the login of "sa" with every credential that gitrota knows (error 18456): the Secret N/e-18456-auth does not hold ` +
		`the password that the server has; it was tried once and will not be tried again; find the password that the server accepts, put it into the auth Secret, and add a new request`, 1},
	{18452, "login", 0, "WindowsLoginsOnly", " takes Windows logins only (error 18452); enable SQL Server authentication (mixed mode) on it", 1},
	{18470, "login", 0, "LoginDisabled", ` has the login "sa" disabled (error 18470); enable it: ALTER LOGIN ... ENABLE`, 1},
	{18486, "login", 0, "LoginLocked", ` has the login "sa" locked out (error 18486)` + unlockIt, 1},

	// The password has run out: the login is changed while it logs in.
	{18487, "login", 1, "", "", 1},
	{18488, "login", 1, "", "", 1},
	{18462, "expired", 0, "PasswordRefused", ` says that the password of "sa" was changed too recently (error 18462)` + waitForIt, 2},
	{18463, "expired", 0, "PasswordRefused", ` says that this password of "sa" cannot be used now (error 18463): it is in the password history; use another one`, 2},
	{18464, "expired", 0, "PasswordRefused", ` refused the new password of "sa" as too short (error 18464); use a longer one`, 2},
	{18465, "expired", 0, "PasswordRefused", ` refused the new password of "sa" as too long (error 18465); use a shorter one`, 2},
	{18466, "expired", 0, "PasswordRefused", ` refused the new password of "sa" as not complex enough (error 18466)` + mixIt, 2},
	{18467, "expired", 0, "PasswordRefused", ` refused the new password of "sa" by its password filter (error 18467); ask who runs the server what its filter wants`, 2},
	{18468, "expired", 0, "PasswordRefused", ` could not judge the new password of "sa" (error 18468); look into the server's error log`, 2},
	{18471, "expired", 0, "PermissionDenied", ` does not let "sa" change its password while logging in (error 18471); change it on the server and put the new one into the auth Secret`, 2},

	// The new password is not taken: it is dropped.
	{15113, "change", 0, "LoginLocked", ` has the login "sa" locked out (error 15113)` + unlockIt, 0},
	{15114, "change", 0, "PasswordRefused", ` says that the password of "sa" was changed too recently (error 15114)` + waitForIt, 0},
	{15115, "change", 0, "PasswordRefused", ` says that this password of "sa" cannot be used now (error 15115): it is in the password history; use another one`, 0},
	{15116, "change", 0, "PasswordRefused", ` refused the new password of "sa" as too short (error 15116); use a longer one`, 0},
	{15117, "change", 0, "PasswordRefused", ` refused the new password of "sa" as too long (error 15117); use a shorter one`, 0},
	{15118, "change", 0, "PasswordRefused", ` refused the new password of "sa" as not complex enough (error 15118)` + mixIt, 0},
	{15119, "change", 0, "PasswordRefused", ` refused the new password of "sa" by its password filter (error 15119); ask who runs the server what its filter wants`, 0},
	{15156, "change", 0, "PasswordRefused", ` refused the new password of "sa" as too long (error 15156); use 128 characters at most`, 0},
	{33062, "change", 0, "PasswordRefused", ` refused the new password of "sa" as too short (error 33062); use a longer one`, 0},
	{33063, "change", 0, "PasswordRefused", ` refused the new password of "sa" as too long (error 33063); use a shorter one`, 0},
	{33064, "change", 0, "PasswordRefused", ` refused the new password of "sa" as not complex enough (error 33064)` + mixIt, 0},

	// The change is not permitted.
	{15151, "change", 0, "LoginNotFound", ` has no login "sa", does not let it be changed, or has another old password (error 15151); check sys.server_principals and the permission ALTER ANY LOGIN`, 0},
	{15247, "change", 0, "PermissionDenied", ` does not let "sa" change the login (error 15247); grant CONTROL SERVER or ALTER ANY LOGIN`, 0},
	{33233, "change", 0, "LoginNotFound", ` keeps no password for the user "sa", for the database is not a contained one (error 33233); take the login of the server in place of a user: no contained database holds it`, 0},

	// What passes by itself.
	{18056, "SELECT", 1, "", "", 0},
	{1205, "change", 1, "", "", 0},
}

func (e serverError) faults() mssqltest.Faults {
	login := mssqltest.LoginFault{Error: e.number, Times: e.times}
	switch e.at {
	case "login":
		return mssqltest.Faults{Logins: []mssqltest.LoginFault{login}}
	case "expired":
		return mssqltest.Faults{Logins: []mssqltest.LoginFault{{Error: 18487, Times: 1}, login}}
	case "change":
		return mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Error: e.number, Times: e.times}}}
	}
	return mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: e.at, Error: e.number, Times: e.times}}}
}

func TestEachErrorOfAServerHasItsOwnConsequence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	servers, before, files := map[int32]*outside{}, map[int32]credential.Credential{}, map[string]string{}
	for _, e := range serverErrors {
		name := fmt.Sprintf("e-%d", e.number)
		s := w.outside(name)
		w.keep(name+"-auth", s.Admin)
		servers[e.number], before[e.number] = s, s.Admin
		s.StandIn().SetFaults(e.faults())
		files["rotations/"+name+".yaml"] = w.document(name, s.at(), authSecret(name), trusted) + "---\n" + w.request(name, name, "timeout: 1m")
	}
	w.repo.Commit(files, "Rotate all")
	agent := w.agent("--allow-hosts", "127.0.0.1")
	for _, e := range serverErrors {
		w.ended(servers[e.number].name)
	}
	for _, e := range serverErrors {
		t.Run(strconv.Itoa(int(e.number)), func(t *testing.T) {
			w := w.of(t)
			s, ended := servers[e.number], w.status(servers[e.number].name)
			_, refused := s.StandIn().Logins("sa")
			changes := s.StandIn().PasswordChanges("sa")
			s.StandIn().SetFaults(mssqltest.Faults{})
			require.Equal(t, e.refused, refused, "logins that were refused")
			if e.reason == "" {
				require.Equal(t, "Successful", ended.phase(), ended.why())
				require.Equal(t, 1, changes)
				w.requireOneTruth(s)
				w.requireKeeper(s.name+"-auth-keeper", w.kept(s.name+"-auth"), before[e.number])
				return
			}
			require.Equal(t, "Failed", ended.phase(), ended.why())
			require.Equal(t, e.reason, ended.condition("Failed").Reason)
			at := strings.Trim(strings.TrimPrefix(s.at(), "endpoints: "), `[]"`)
			require.Equal(t, at+strings.ReplaceAll(e.text, " N/", " "+w.namespace+"/"), ended.why())
			require.Zero(t, changes)
			require.Equal(t, before[e.number], w.kept(s.name+"-auth"), "the Secret stays")
			require.True(t, s.lets(before[e.number]), "and is right")
			require.NotContains(t, ended.types(), "RecoveryRequired")
			if keeper := w.secret(s.name + "-auth-keeper"); keeper != nil {
				require.Empty(t, keeper.Data["next.password"])
			}
		})
	}
	agent.requireIdle(0)
	require.Equal(t, 0, agent.terminate())
}
