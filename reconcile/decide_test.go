package reconcile

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

func login(password string) credential.Credential {
	return credential.Credential{Username: "sa", Password: credential.NewPassword(password)}
}

// fresh is a ready database with a connected replica, before its first rotation. The functions below bring it further.
func fresh() world {
	return world{
		status: Status{Request: Request{Kind: manifest.KindRequest, Namespace: "demo", Name: "r", ID: "id", Database: "db"}},
		target: Target{Kind: manifest.KindMSSQLServer, Namespace: "demo", Name: "db", Phase: "Ready", Replicas: 1, AuthSecret: basicAuth("db-auth")},
		auth: Secret{Namespace: "demo", Name: "db-auth", UID: "1", ResourceVersion: "1", Data: map[string]credential.Password{
			"username": credential.NewPassword("sa"), "password": credential.NewPassword("Old-password-1"),
		}},
		live:     login("Old-password-1"),
		replicas: []replica{instance("db-0")},
	}
}

func instance(name string) replica {
	return replica{
		Replica:   Replica{Name: name, UID: name + "/1", Pod: true, Endpoint: mssql.Endpoint{Name: name, Address: name + ":1433"}, Ready: true},
		connected: true, next: no,
	}
}

// group makes a world one of three replicas, of which db-0 is the primary, in the order of changes.
func group(w *world) {
	one := w.replicas[0]
	w.target.Replicas, w.target.Group, w.target.Mode = 3, true, "AvailabilityGroup"
	w.replicas = nil
	for _, name := range []string{"db-1", "db-2", "db-0"} {
		r := one
		r.Name, r.UID = name, strings.Replace(one.UID, "db-0", name, 1)
		w.replicas = append(w.replicas, r)
		w.group.Replicas = append(w.group.Replicas, mssql.GroupReplica{Server: name, Primary: name == "db-0", Connected: true, Healthy: true})
		if w.keeper.Restart != nil {
			w.keeper.Restart[name] = name + "/1"
		}
	}
	w.replicas[2].primary = true
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
	w.target.Paused, w.pausedByUs = true, true
	return w
}

func applied() world {
	w := paused()
	w.replicas[0].next = yes
	return w
}

func promoted() world {
	w := applied()
	w.auth.Data["password"] = credential.NewPassword("New-password-1")
	return w
}

func listed() world {
	w := promoted()
	w.keeper.Restart, w.keeper.Published = map[string]string{"db-0": "db-0/1"}, time.Now()
	return w
}

func restarted() world {
	w := listed()
	w.replicas[0].UID = "db-0/2"
	return w
}

func resumed(w *world) { w.target.Paused, w.pausedByUs = false, false }

func foreign(w *world) { w.auth.Data["password"] = credential.NewPassword("Other-1") }

func unready(names ...string) func(*world) {
	return func(w *world) {
		for i := range w.replicas {
			w.replicas[i].Ready = w.replicas[i].Ready && !slices.Contains(names, w.replicas[i].Name)
		}
	}
}

func noted(w *world) { w.keeper.Repaired = &Overwrite{Version: w.auth.version()} }

func document(w *world) { w.target.Kind = manifest.KindServer }

func rolledBack(w *world) { w.keeper.Failure = &Failure{Reason: "PasswordRefused"} }

func fenced(w *world) { w.fenced = true }

func consumer(c Consumer) func(*world) { return func(w *world) { w.consumers = []Consumer{c} } }

func with(w world, changes ...func(*world)) world {
	for _, change := range changes {
		change(&w)
	}
	return w
}

func TestDecideTakesTheNextStepFromWhereverTheWorldStands(t *testing.T) {
	failed := func(w *world) { w.status.Phase = PhaseFailed }
	disconnected := func(w *world) { w.replicas[0].connected, w.replicas[0].next = false, unknown }
	verified := func(w *world) { w.replicas[0].verified = true }
	deleted := func(w *world) {
		w.auth, w.keeper.Live = Secret{Name: "db-auth"}, Entry{Credential: login("Old-password-1")}
	}
	for _, tc := range []struct {
		name string
		w    world
		want string
	}{
		{"a ready database with a session open is staged", fresh(), "stage"},
		{"no session is open yet", with(fresh(), disconnected), "connect db-0"},
		{"a replica has no pod", with(fresh(), func(w *world) { w.replicas = nil }), "await db-0"},
		{"a replica's pod has no address", with(fresh(), func(w *world) { w.replicas[0].Endpoint.Address = "" }), "await db-0"},

		{"the auth Secret was deleted: the server says first whether the keeper is right", with(fresh(), deleted, disconnected), "connect db-0"},
		{"the auth Secret was deleted, and a pod waits for it", with(fresh(), deleted, disconnected, unready("db-0")), "restore"},
		{"the auth Secret was deleted, and the pod is not there", with(fresh(), deleted, func(w *world) { w.replicas = nil }), "restore"},
		{"the auth Secret was deleted after the staging", with(staged(), deleted), "restore"},
		{"the auth Secret was deleted after the staging, and its pod waits", with(paused(), deleted, disconnected, unready("db-0")), "restore"},
		{"the auth Secret was deleted on the way back", with(staged(), deleted, rolledBack), "restore"},

		{"staged, and KubeDB still looks after the database", staged(), "pause"},
		{"staged, and somebody else has paused the database", with(staged(), func(w *world) { w.target.Paused = true }), "wait"},
		{"staged by a run that was killed: first ask the server", with(staged(), disconnected), "connect db-0"},
		{"staged and paused", paused(), "apply db-0"},
		{"the pause was lifted by somebody before the promotion", with(applied(), resumed), "pause"},
		{"the server has the new password, the Secret the old one", applied(), "promote"},
		{"the auth Secret was deleted meanwhile", with(applied(), func(w *world) { w.auth = Secret{Name: "db-auth"} }), "promote"},
		{"promoted, pods not listed", promoted(), "restarts"},
		{"the auth Secret was overwritten after the promotion", with(listed(), foreign), "repair"},
		{"it was overwritten before the keeper was told of the promotion", with(applied(), func(w *world) {
			w.auth.Annotations = map[string]string{annotationRotation: "id"}
		}), "repair"},
		{"that was noted", with(listed(), foreign, noted), "promote"},
		{"and it was overwritten again", with(listed(), foreign, noted, func(w *world) { w.auth.ResourceVersion = "2" }), "reject"},
		{"a listed pod still runs", listed(), "evict db-0"},
		{"a listed pod is ending", with(listed(), func(w *world) { w.replicas[0].Ending = true }), "await db-0"},
		{"the evicted pod is gone and its successor not there", with(listed(), func(w *world) { w.replicas = nil }), "await db-0"},
		{"the successor is not ready", with(restarted(), func(w *world) { w.replicas[0].Ready = false }), "await db-0"},
		{"the successor is ready", with(restarted(), disconnected), "connect db-0"},
		{"a listed pod is not ready, as its probe has the old password", with(listed(), unready("db-0")), "evict db-0"},
		{"a pod that carries no password is not ready, and will not be restarted", with(listed(), unready("db-0"), func(w *world) {
			w.keeper.Restart = map[string]string{}
		}), "verify db-0"},
		{"the successor lets in", restarted(), "verify db-0"},
		{"the successor has the old password, from an old volume", with(restarted(), func(w *world) { w.replicas[0].next = no }), "apply db-0"},
		{"no pod carries the password", with(listed(), func(w *world) { w.keeper.Restart = map[string]string{} }), "verify db-0"},
		{"verified", with(restarted(), verified), "resume"},
		{"verified and resumed", with(restarted(), verified, resumed), "settle"},
		{"a server that KubeDB does not know is not paused", with(staged(), document), "apply db-0"},
		{"a document's servers are no group, as they say", with(listed(), document, func(w *world) { w.target.Group = true }), "evict db-0"},
		{"a document's servers are a group that is not healthy", with(listed(), group, document, func(w *world) { w.group.Replicas[0].Healthy = false }), "await-group"},
		{"a consumer has not been told", with(restarted(), verified, resumed, consumer(Consumer{Wanted: 1, Settled: true})), "consumers"},
		{"a consumer is not back", with(restarted(), verified, resumed, consumer(Consumer{Wanted: 1, RotationID: "id"})), "consumers"},
		{"a consumer is back", with(restarted(), verified, resumed, consumer(Consumer{Wanted: 1, RotationID: "id", Settled: true})), "settle"},
		{"a consumer runs no pods", with(restarted(), verified, resumed, consumer(Consumer{})), "settle"},

		{"a group: secondaries first", with(paused(), group), "apply db-1"},
		{"a group: then the next", with(paused(), group, func(w *world) { w.replicas[0].next = yes }), "apply db-2"},
		{"a group: the primary last", with(paused(), group, func(w *world) { w.replicas[0].next, w.replicas[1].next = yes, yes }), "apply db-0"},
		{"a group: promoted only when all took it", with(applied(), group), "promote"},
		{"a group: a replica is down", with(applied(), group, func(w *world) { w.replicas = w.replicas[1:] }), "await db-1"},
		{"a group: a replica that was asked for in the middle has not joined, and cannot", with(paused(), group, func(w *world) { w.target.Replicas = 4 }), "apply db-1"},
		{"a group: it has joined, and its pod is gone", with(paused(), group, func(w *world) {
			w.target.Replicas = 4
			w.group.Replicas = append(w.group.Replicas, mssql.GroupReplica{Server: "db-3"})
		}), "await db-3"},
		{"a group: its secondaries know only themselves", with(paused(), group, func(w *world) {
			w.replicas, w.group.Replicas = w.replicas[:2], w.group.Replicas[:1]
		}), "await db-0"},
		{"a group: it has a member that nobody found", with(applied(), group, func(w *world) { w.absent = []string{"db-3"} }), "wait"},
		{"a group: the first pod to restart", with(listed(), group), "evict db-1"},
		{"a group: the next pod waits until the group is healthy", with(listed(), group, func(w *world) {
			w.replicas[0].UID, w.group.Replicas[0].Healthy = "db-1/2", false
		}), "await-group"},
		{"a group: no pod is ready that has the old password", with(listed(), group, unready("db-0", "db-1", "db-2")), "evict db-1"},
		{"a group: the first pod is back, the others wait for their restart", with(listed(), group, unready("db-0", "db-2"), func(w *world) {
			w.replicas[0].UID = "db-1/2"
		}), "evict db-2"},
		{"a group: a budget refuses a ready pod, and what it counts as missing is one that waits for its restart",
			with(listed(), group, unready("db-0"), func(w *world) { w.replicas[0].refused = true }), "evict db-0"},
		{"a group: a budget refuses one pod after the other",
			with(listed(), group, unready("db-0", "db-1"), func(w *world) { w.replicas[0].refused = true }), "evict db-1"},
		{"a group: a budget refuses a pod, and all are ready", with(listed(), group, func(w *world) { w.replicas[0].refused = true }), "evict db-1"},
		{"a group: the first pod is not back yet", with(listed(), group, unready("db-0", "db-1", "db-2"), func(w *world) {
			w.replicas[0].UID = "db-1/2"
		}), "await db-1"},
		{"a group: the logins of a contained one are as ready as their pod", with(listed(), group, unready("db-0"), func(w *world) {
			own := w.replicas[2]
			own.Name, own.UID, own.contained = "ag", own.UID+"/ag", true
			w.replicas[0].UID, w.replicas[1].UID = "db-1/2", "db-2/2"
			w.replicas = append(w.replicas, own)
		}), "evict db-0"},
		{"a group: the primary's pod is the last", with(listed(), group, func(w *world) { w.replicas[0].UID, w.replicas[1].UID = "db-1/2", "db-2/2" }), "evict db-0"},

		{"rolled back: another agent is kept from publishing first", with(applied(), rolledBack), "fence"},
		{"rolled back: who took the new password gets the old one", with(applied(), rolledBack, fenced), "revert db-0"},
		{"rolled back: a replica that is down does not keep the others", with(applied(), group, rolledBack, fenced, func(w *world) { w.replicas = w.replicas[1:] }), "revert db-2"},
		{"rolled back: everywhere", with(paused(), rolledBack, fenced), "resume"},
		{"rolled back and resumed", with(paused(), rolledBack, fenced, resumed), "discard"},
		{"rolled back, and another agent had published", with(promoted(), rolledBack, fenced), "restarts"},

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
		{"a distributed group", func(w *world) { w.target.Mode, w.target.Replicas = "DistributedAG", 3 }, stepReject, ReasonTopology,
			`MSSQLServer demo/db has the topology "DistributedAG" with 3 replicas; gitrota rotates standalone servers and availability groups; rotate each side by its own SQLServer document in Git`},
		{"an endpoint that is not on the list", func(w *world) { document(w); w.strangers = []string{"sql.evil.net:1433"} }, stepReject, ReasonEndpoint,
			"SQLServer demo/db sends its credential to sql.evil.net:1433, which is not on the list of hosts that gitrota may connect to; let whoever runs gitrota add it to --allow-hosts, or correct the endpoint"},
		{"a Secret that another operator writes", func(w *world) { w.auth.Owners = []Owner{{Kind: "ExternalSecret", Name: "db", Controller: true}} }, stepReject, ReasonAuthSecretForeign,
			"the auth Secret demo/db-auth belongs to ExternalSecret db, which may write it at any time; rotate where the Secret comes from"},
		{"another database's Secret", func(w *world) { w.auth.Owners = []Owner{{Kind: "MSSQLServer", Name: "orders"}} }, stepReject, ReasonAuthSecretForeign,
			"the auth Secret demo/db-auth belongs to MSSQLServer orders, which may write it at any time; rotate where the Secret comes from"},
		{"another database's Secret, by its label", func(w *world) {
			w.auth.Labels = map[string]string{"app.kubernetes.io/name": "mssqlservers.kubedb.com", "app.kubernetes.io/instance": "orders"}
		}, stepReject, ReasonAuthSecretForeign,
			"the auth Secret demo/db-auth belongs to another database, MSSQLServer orders; give each database a Secret of its own"},
		{"a Secret that is managed externally", func(w *world) { w.target.ExternallyManaged = true }, stepReject, ReasonAuthSecretForeign,
			"the auth Secret demo/db-auth is managed by somebody else, as spec.authSecret.externallyManaged of MSSQLServer demo/db says; rotate where the Secret comes from, or set spec.authSecret.externallyManaged to false"},
		{"a rollback without a past", func(w *world) { w.status.Request.Kind = manifest.KindRollback }, stepReject, ReasonNothingToRollBack,
			"gitrota knows no previous credential of MSSQLServer demo/db; rotate instead: add a MSSQLServerOpsRequest of type RotateAuth"},
		{"a rollback of what was rotated since", func(w *world) {
			w.status.Request.Kind, w.status.Request.Undo = manifest.KindRollback, "id-1"
			w.keeper.Previous, w.keeper.Live = Entry{Credential: login("Older-password-1")}, Entry{Credential: login("Old-password-1"), RotationID: "id-2"}
		}, stepReject, ReasonNothingToRollBack,
			"the rotation id-1 is not the latest of MSSQLServer demo/db any more, so it cannot be undone; see the status files for what came after it"},
		{"a pair that the live login is none of", func(w *world) { document(w); w.target.LoginPair = []string{"app_a", "app_b"} }, stepReject, ReasonAuthSecret,
			`the auth Secret demo/db-auth has the username "sa", which is none of the pair app_a and app_b; write the login that clients use now into the Secret, or correct spec.loginPair`},
		{"rights are missing", func(w *world) { w.missing = []string{"get secrets", "create pods/eviction"} }, stepWait, ReasonPermissions,
			"in the namespace demo gitrota may not: get secrets, create pods/eviction; bind the ClusterRole of gitrota's install manifests to its ServiceAccount"},
		{"rights to restart consumers are missing", func(w *world) { w.missing = []string{"patch deployments.apps"} }, stepWait, ReasonPermissions,
			"in the namespace demo gitrota may not: patch deployments.apps; apply the component consumers of gitrota's install manifests too, which lets it restart workloads"},
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
		{"a password that is too weak for the policy", func(w *world) {
			supplied(login("Good-enough-1"))(w)
			w.status.Request.Password = &credential.Rules{MinLength: 16}
		}, stepReject, ReasonWeakPassword,
			"the Secret (rotations/user.yaml:3): the password is too short: it has 13 characters, the RotationPolicy wants 16 or more; supply another password under a new request"},
		{"an old password again", func(w *world) {
			supplied(login("Good-enough-1"))(w)
			w.status.Request.Password, w.reused = &credential.Rules{Reuse: 5}, true
		}, stepReject, ReasonPasswordReused,
			"the Secret (rotations/user.yaml:3) holds one of the last 5 passwords of demo/db; supply another password under a new request"},
		{"the live password again", supplied(login("Old-password-1")), stepReject, ReasonPasswordUnchanged,
			"the Secret (rotations/user.yaml:3) holds the password that is live already; supply another password under a new request"},
		{"paused by somebody else", func(w *world) { w.target.Paused, w.target.PauseReason = true, "Paused by KubeDB CLI tool" }, stepWait, ReasonPausedByOther,
			`MSSQLServer demo/db is paused: "Paused by KubeDB CLI tool"; wait for whoever paused it, or remove its condition Paused`},
		{"not Ready", func(w *world) { w.target.Phase = "Critical" }, stepWait, ReasonDatabaseNotReady,
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
		w := with(fresh(), func(w *world) { w.target.Phase = "Critical"; w.status.Request.Always = true })
		require.Equal(t, stepStage, decide(w).kind)
	})
}

func TestWhatBecomesOfAStagedCredentialFollowsFromWhatEveryReplicaSays(t *testing.T) {
	unasked := func(w *world) { w.replicas[0].connected, w.replicas[0].next = false, unknown }
	require.Equal(t, dropStaged, conclude(paused()))
	require.Equal(t, settleStaged, conclude(promoted()))
	require.Equal(t, revertStaged, conclude(applied()), "the server has it, and clients read the previous one")
	require.Equal(t, settleStaged, conclude(with(applied(), foreign)), "the server has it, and clients read what no server has")
	require.Equal(t, keepStaged, conclude(with(applied(), rolledBack, unasked)), "it was rolled back already as far as possible")
	require.Equal(t, keepStaged, conclude(with(paused(), unasked)), "the server was not asked")
	require.Equal(t, keepStaged, conclude(with(paused(), func(w *world) { w.replicas = nil })), "there is no server to ask")
	require.Equal(t, keepStaged, conclude(with(promoted(), func(w *world) { w.replicas[0].next = no })), "published, and the server does not have it")
	require.Equal(t, keepStaged, conclude(with(paused(), func(w *world) { w.target.Replicas = 2 })), "a replica is missing")
	require.Equal(t, revertStaged, conclude(with(applied(), group, func(w *world) { w.replicas = w.replicas[1:] })), "one took it and one is missing")
	require.Equal(t, revertStaged, conclude(with(applied(), group, func(w *world) { w.replicas[1].next = no })), "one took it and one did not")
	require.Equal(t, keepStaged, conclude(with(applied(), func(w *world) {
		w.keeper.Next.Username, w.auth.Data["password"] = "app_b", credential.NewPassword("Old-password-1")
	}, group, func(w *world) { w.replicas[1].next = no })), "of a pair nobody uses the login that was changed")
}

func TestOpeningASessionTriesTheLikeliestCredentialFirstAndNoneTwice(t *testing.T) {
	require.Equal(t, []credential.Credential{login("Old-password-1")}, candidates(fresh(), "db-0"))
	require.Equal(t, []credential.Credential{login("Old-password-1"), login("New-password-1")}, candidates(staged(), "db-0"))
	require.Equal(t, []credential.Credential{login("New-password-1"), login("Old-password-1")}, candidates(promoted(), "db-0"))

	tried := with(staged(), func(w *world) { w.keeper.TryFirst = map[string]string{"db-0": "next"} })
	require.Equal(t, []credential.Credential{login("New-password-1"), login("Old-password-1")}, candidates(tried, "db-0"), "an earlier run may have died with the other")

	drifted := with(fresh(), func(w *world) { w.keeper.Live = Entry{Credential: login("Kept-password-1")} })
	require.Equal(t, []credential.Credential{login("Kept-password-1"), login("Old-password-1")}, candidates(drifted, "db-0"))
	dropped := with(fresh(), func(w *world) { w.keeper.Dropped[0] = Entry{Credential: login("Dropped-password-1")} })
	require.Equal(t, []credential.Credential{login("Old-password-1"), login("Dropped-password-1")}, candidates(dropped, "db-0"), "another agent may have applied what was dropped")
	administered := with(staged(), func(w *world) { w.admin = login("Admin-password-1") })
	require.Equal(t, []credential.Credential{login("Admin-password-1")}, candidates(administered, "db-0"))
	same := with(fresh(), func(w *world) { w.keeper.Live = Entry{Credential: login("Old-password-1")} })
	require.Equal(t, []credential.Credential{login("Old-password-1")}, candidates(same, "db-0"))
}
