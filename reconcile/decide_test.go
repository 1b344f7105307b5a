package reconcile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
)

func login(password string) credential.Credential {
	return credential.Credential{Username: "sa", Password: credential.NewPassword(password)}
}

// fresh is a ready database with a connected replica, before its first rotation. The functions below bring it further.
func fresh() world {
	return world{
		status: Status{Request: Request{Namespace: "demo", Name: "r", ID: "id", Database: "db"}},
		db:     Database{Namespace: "demo", Name: "db", Phase: "Ready", Replicas: 1, AuthSecret: "db-auth"},
		auth: Secret{Namespace: "demo", Name: "db-auth", UID: "1", Data: map[string]credential.Password{
			"username": credential.NewPassword("sa"), "password": credential.NewPassword("Old-password-1"),
		}},
		live:     login("Old-password-1"),
		replicas: []replica{{Pod: Pod{Name: "db-0", UID: "pod-1", Address: "127.0.0.2:1433", Ready: true}, connected: true}},
	}
}

func staged() world {
	w := fresh()
	w.keeper.Live = Entry{Credential: login("Old-password-1")}
	w.keeper.Next = Entry{Credential: login("New-password-1"), RotationID: "id"}
	w.keeper.Record = &w.status
	return w
}

func paused() world {
	w := staged()
	w.db.Paused, w.pausedByUs = true, true
	return w
}

func applied() world {
	w := paused()
	w.replicas[0].acceptsNext = true
	return w
}

func promoted() world {
	w := applied()
	w.auth.Data["password"] = credential.NewPassword("New-password-1")
	return w
}

func listed() world {
	w := promoted()
	w.keeper.Restart = map[string]string{"db-0": "pod-1"}
	return w
}

func restarted() world {
	w := listed()
	w.replicas[0].UID, w.replicas[0].connected = "pod-2", false
	return w
}

func resumed(w *world) { w.db.Paused, w.pausedByUs = false, false }

func with(w world, changes ...func(*world)) world {
	for _, change := range changes {
		change(&w)
	}
	return w
}

func TestDecideTakesTheNextStepFromWhereverTheWorldStands(t *testing.T) {
	failed := func(w *world) { w.status.Phase = PhaseFailed }
	disconnected := func(w *world) { w.replicas[0].connected = false }
	verified := func(w *world) { w.replicas[0].verified = true }
	for _, tc := range []struct {
		name string
		w    world
		want string
	}{
		{"a ready database with a session open is staged", fresh(), "stage"},
		{"no session is open yet", with(fresh(), disconnected), "connect db-0"},
		{"a replica has no pod", with(fresh(), func(w *world) { w.replicas = nil }), "await db-0"},
		{"a replica's pod has no address", with(fresh(), func(w *world) { w.replicas[0].Address = "" }), "await db-0"},

		{"staged, and KubeDB still looks after the database", staged(), "pause"},
		{"staged, and somebody else has paused the database", with(staged(), func(w *world) { w.db.Paused = true }), "wait"},
		{"staged by a run that was killed: first ask the server", with(staged(), disconnected), "connect db-0"},
		{"staged and paused", paused(), "apply db-0"},
		{"the pause was lifted by somebody before the promotion", with(applied(), resumed), "pause"},
		{"the server has the new password, the Secret the old one", applied(), "promote"},
		{"the auth Secret was deleted meanwhile", with(applied(), func(w *world) { w.auth = Secret{Name: "db-auth"} }), "promote"},
		{"promoted, pods not listed", promoted(), "restarts"},
		{"the auth Secret was overwritten after the promotion", with(listed(), func(w *world) { w.auth.Data["password"] = credential.NewPassword("Other-1") }), "promote"},
		{"a listed pod still runs", listed(), "evict db-0"},
		{"a listed pod is ending", with(listed(), func(w *world) { w.replicas[0].Ending = true }), "await db-0"},
		{"the evicted pod is gone and its successor not there", with(listed(), func(w *world) { w.replicas = nil }), "await db-0"},
		{"the successor is not ready", with(restarted(), func(w *world) { w.replicas[0].Ready = false }), "await db-0"},
		{"the successor is ready", restarted(), "verify db-0"},
		{"no pod carries the password", with(listed(), func(w *world) { w.keeper.Restart = map[string]string{} }), "verify db-0"},
		{"verified", with(restarted(), verified), "resume"},
		{"verified and resumed", with(restarted(), verified, resumed), "settle"},

		{"an earlier, failed rotation that no replica took", with(staged(), failed), "discard"},
		{"an earlier, failed rotation that a replica took", with(applied(), failed), "promote"},
		{"an earlier, failed rotation whose replica was not asked", with(staged(), failed, disconnected), "connect db-0"},
	} {
		t.Run(tc.name, func(t *testing.T) { require.Equal(t, tc.want, decide(tc.w).String()) })
	}
}

func TestDecideRefusesOrWaitsBeforeAnythingIsTouched(t *testing.T) {
	supplied := func(c credential.Credential) func(*world) {
		return func(w *world) { w.supplied = Supplied{Credential: c, From: "rotations/user.yaml:3"} }
	}
	for _, tc := range []struct {
		name         string
		change       func(*world)
		kind         stepKind
		reason, text string
	}{
		{"an availability group", func(w *world) { w.db.Mode, w.db.Replicas = "AvailabilityGroup", 3 }, stepReject, ReasonTopology,
			`MSSQLServer demo/db is not a standalone server (topology "AvailabilityGroup", 3 replicas); gitrota rotates standalone servers; rotate it by hand`},
		{"rights are missing", func(w *world) { w.missing = []string{"get secrets", "create pods/eviction"} }, stepReject, ReasonPermissions,
			"in the namespace demo gitrota may not: get secrets, create pods/eviction; bind the ClusterRole of gitrota's install manifests to its ServiceAccount"},
		{"no auth Secret", func(w *world) { w.auth = Secret{} }, stepReject, ReasonAuthSecret,
			"the auth Secret demo/db-auth does not exist; create it with the credential that the server accepts now"},
		{"half an auth Secret", func(w *world) { delete(w.auth.Data, "password") }, stepReject, ReasonAuthSecret,
			"the auth Secret demo/db-auth lacks username or password; write the credential that the server accepts now"},
		{"an immutable auth Secret", func(w *world) { w.auth.Immutable = true }, stepReject, ReasonAuthSecret,
			"the auth Secret demo/db-auth is immutable, so the new password could not be published; replace it by one that is not immutable"},
		{"the supplied Secret cannot be used", func(w *world) {
			w.supplied.Err = fault.New(fault.Refuse, ReasonSuppliedSecret, "create it", "there is no Secret demo/user")
		}, stepReject, ReasonSuppliedSecret, "there is no Secret demo/user; create it"},
		{"another username", supplied(credential.Credential{Username: "admin", Password: credential.NewPassword("Good-enough-1")}), stepReject, ReasonUsernameChanged,
			`database username cannot be changed: the Secret (rotations/user.yaml:3) has the username "admin", the live one is "sa"; set its username to the live one`},
		{"a weak password", supplied(login("short")), stepReject, ReasonWeakPassword,
			"the Secret (rotations/user.yaml:3): the password is too short: it has 5 characters, SQL Server's policy wants 8 or more; supply another password under a new request"},
		{"the live password again", supplied(login("Old-password-1")), stepReject, ReasonPasswordUnchanged,
			"the Secret (rotations/user.yaml:3) holds the password that is live already; supply another password under a new request"},
		{"paused by somebody else", func(w *world) { w.db.Paused, w.db.PauseReason = true, "Paused by KubeDB CLI tool" }, stepWait, ReasonPausedByOther,
			`MSSQLServer demo/db is paused: "Paused by KubeDB CLI tool"; wait for whoever paused it, or remove its condition Paused`},
		{"not Ready", func(w *world) { w.db.Phase = "Critical" }, stepWait, ReasonDatabaseNotReady,
			"MSSQLServer demo/db is not Ready: its phase is Critical; see kubectl describe ms, or rotate regardless with spec.apply: Always"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := decide(with(fresh(), tc.change))
			require.Equal(t, tc.kind, s.kind)
			require.Equal(t, tc.reason, s.err.Reason)
			require.Equal(t, tc.text, s.err.Error())
		})
	}
	t.Run("apply: Always rotates a database that is not Ready", func(t *testing.T) {
		w := with(fresh(), func(w *world) { w.db.Phase = "Critical"; w.status.Request.Always = true })
		require.Equal(t, stepStage, decide(w).kind)
	})
}

func TestAStagedCredentialIsDroppedOnlyWhenEveryReplicaSaysThatItIsNotIts(t *testing.T) {
	require.Equal(t, dropStaged, conclude(paused()))
	require.Equal(t, settleStaged, conclude(promoted()))
	require.Equal(t, keepStaged, conclude(applied()), "the server has it, the auth Secret does not")
	require.Equal(t, keepStaged, conclude(with(paused(), func(w *world) { w.replicas[0].connected = false })), "the server was not asked")
	require.Equal(t, keepStaged, conclude(with(paused(), func(w *world) { w.replicas = nil })), "there is no server to ask")
	require.Equal(t, keepStaged, conclude(with(promoted(), func(w *world) { w.replicas[0].acceptsNext = false })), "published, and the server does not have it")
	require.Equal(t, keepStaged, conclude(with(paused(), func(w *world) { w.db.Replicas = 2 })), "a replica is missing")
}

func TestOpeningASessionTriesTheLikeliestCredentialFirstAndNoneTwice(t *testing.T) {
	require.Equal(t, []credential.Credential{login("Old-password-1")}, candidates(fresh(), "db-0"))
	require.Equal(t, []credential.Credential{login("Old-password-1"), login("New-password-1")}, candidates(staged(), "db-0"))
	require.Equal(t, []credential.Credential{login("New-password-1")}, candidates(promoted(), "db-0"))

	tried := with(staged(), func(w *world) { w.keeper.TryFirst = map[string]string{"db-0": "next"} })
	require.Equal(t, []credential.Credential{login("New-password-1"), login("Old-password-1")}, candidates(tried, "db-0"), "an earlier run may have died with the other")

	drifted := with(fresh(), func(w *world) { w.keeper.Live = Entry{Credential: login("Kept-password-1")} })
	require.Equal(t, []credential.Credential{login("Kept-password-1"), login("Old-password-1")}, candidates(drifted, "db-0"))
	same := with(fresh(), func(w *world) { w.keeper.Live = Entry{Credential: login("Old-password-1")} })
	require.Equal(t, []credential.Credential{login("Old-password-1")}, candidates(same, "db-0"))
}
