package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

func TestAServerThatDoesNotAnswerEndsItsRequestInTimeAndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databases("stuck", "refusing", "silent", "good")
	before := map[string]traces{}
	for database, fault := range map[string]string{"refusing": `{"refuseConnections":true}`, "silent": `{"silent":true}`, "stuck": `{"silent":true}`} {
		w.unwatched(database)
		before[database] = w.traces(database)
		w.faults(database, fault)
	}
	w.repo.Commit(map[string]string{"rotations/stuck.yaml": w.request("stuck", "stuck", "timeout: 1h")}, "Rotate stuck, which may take its time")
	agent := w.agent()
	w.eventually("stuck has begun", func() bool { return w.status("stuck").phase() == "Progressing" })

	// From here on one request hangs on its server, whatever happens to the others.
	w.repo.Commit(map[string]string{
		"rotations/refusing.yaml": w.request("refusing", "refusing", "timeout: 3s"),
		"rotations/silent.yaml":   w.request("silent", "silent", "timeout: 3s"),
		"rotations/good.yaml":     w.request("good", "good"),
	}, "Rotate the others")
	w.eventually("good is Successful", func() bool { return w.status("good").phase() == "Successful" })
	for database, said := range map[string]string{"refusing": "connection reset by peer", "silent": "it gave no answer in time"} {
		w.eventually(database+" has ended", func() bool { return w.status(database).ended() })
		s := w.status(database)
		require.Equal(t, "Failed", s.phase())
		failed := s.condition("Failed")
		require.Equal(t, "Timeout", failed.Reason)
		// The last of the tries that were refused may meet the end of the step's time first.
		require.Regexp(t, fmt.Sprintf(`^rotations/%s.yaml:1: the step "connect %[1]s-0" did not end within its timeout of 3s: %[1]s-0 \(127[0-9.]+:1433\) cannot be reached: .*%s( \(the last try had no answer yet when the time was over\))?; check that the server runs and that gitrota may connect to its port$`, database, said), failed.Message)
		took := failed.LastTransitionTime.Sub(s.condition("RotateAuth").LastTransitionTime)
		require.GreaterOrEqual(t, took, 2*time.Second, "conditions carry whole seconds: it was given its 3s")
		require.Equal(t, before[database], w.traces(database))
	}
	require.Equal(t, "Progressing", w.status("stuck").phase(), "each has its own time, and the others did not wait")
	require.Equal(t, before["stuck"], w.traces("stuck"))

	w.faults("silent", "{}")
	w.repo.Commit(map[string]string{"rotations/once-more.yaml": w.request("once-more", "silent")}, "Rotate silent once more")
	w.eventually("once-more is Successful", func() bool { return w.status("once-more").phase() == "Successful" })
	require.Equal(t, 0, agent.terminate(), "a server that does not answer holds up the agent's end neither")

	w.faults("stuck", "{}")
	require.Equal(t, 0, w.once())
	require.Equal(t, "Successful", w.status("stuck").phase())
}

func TestALiveCredentialThatTheServerRefusesIsTriedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databases("db", "good")
	right := w.live("db").Password
	w.unwatched("db")
	w.setPassword("db", "Mssqlserver-mistaken-1")
	before := w.traces("db")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db"), "rotations/good.yaml": w.request("good", "good")}, "Rotate both")

	agent := w.agent()
	w.eventually("r has ended", func() bool { return w.status("r").ended() })
	w.eventually("good is Successful", func() bool { return w.status("good").phase() == "Successful" })
	first := w.status("r")
	require.Equal(t, "Failed", first.phase())
	require.Equal(t, "CredentialRefused", first.condition("Failed").Reason)
	require.Equal(t, `rotations/r.yaml:1: db-0 refused the login of "sa" with every credential that gitrota knows (error 18456): the Secret `+w.namespace+
		"/db-auth does not hold the password that the server has; it was tried once and will not be tried again; find the password that the server accepts, put it into the auth Secret, and add a new request",
		first.condition("Failed").Message)
	after := before
	after.FailedLogins = 1
	require.Equal(t, after, w.traces("db"))
	require.Contains(t, string(w.secret("db-auth-keeper").Data["finished"]), `"Failed"`, "the keeper remembers that it was tried")
	require.Empty(t, w.secret("db-auth-keeper").Data["next.password"])
	agent.requireIdle(0)
	require.Equal(t, 0, agent.terminate())

	agent = w.agent()
	agent.requireIdle(0)
	w.repo.Delete("Clean up what looks generated", w.statusPath("r"))
	w.eventually("the status comes back", func() bool { return w.status("r").ended() })
	require.Equal(t, first.Status, w.status("r").Status)
	require.Equal(t, after, w.traces("db"), "neither a restart nor a lost status tries again")

	w.setPassword("db", right.Reveal())
	w.repo.Commit(map[string]string{"rotations/next.yaml": w.request("next", "db")}, "Rotate db, now that its Secret is right")
	w.eventually("next is Successful", func() bool { return w.status("next").phase() == "Successful" })
	require.Equal(t, 1, w.failedLogins("db"))
	require.Equal(t, 0, agent.terminate())
}

func TestWhatAServerSaysDecidesWhatHappens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databasesWith(map[string]string{
		"policy":         `{"statements":[{"kind":"ALTER LOGIN","error":33064,"times":1}]}`,
		"dropped-before": `{"statements":[{"kind":"ALTER LOGIN","drop":"before","times":1}]}`,
		"dropped-after":  `{"statements":[{"kind":"ALTER LOGIN","drop":"after","times":1}]}`,
		"locked":         `{}`,
		"upgrading":      `{}`,
	})
	files, before := map[string]string{}, map[string]traces{}
	for _, database := range []string{"policy", "dropped-before", "dropped-after", "locked", "upgrading"} {
		w.unwatched(database)
		files["rotations/"+database+".yaml"] = w.request(database, database)
		before[database] = w.traces(database)
	}
	w.faults("locked", `{"logins":[{"error":18486}]}`)
	w.faults("upgrading", `{"logins":[{"error":18401,"times":4}]}`)
	lockedBefore, policyBefore := strings.Count(w.errorlog("locked"), "Error: 18486"), w.live("policy")
	w.repo.Commit(files, "Rotate all")
	agent := w.agent()
	for database := range before {
		w.eventually(database+" has ended", func() bool { return w.status(database).ended() })
	}

	t.Run("a connection lost before or after the change costs no second one", func(t *testing.T) {
		w := w.of(t)
		for _, database := range []string{"dropped-before", "dropped-after"} {
			require.Equal(t, "Successful", w.status(database).phase(), database)
			require.Equal(t, 1, w.passwordChanges(database), database)
			require.Zero(t, w.failedLogins(database), database)
			require.True(t, w.opens(database, w.live(database)), database)
		}
	})
	t.Run("a server that upgrades its scripts is waited for", func(t *testing.T) {
		w := w.of(t)
		require.Equal(t, "Successful", w.status("upgrading").phase())
		require.Equal(t, 4, strings.Count(w.errorlog("upgrading"), "Error: 18401"))
		require.Zero(t, w.failedLogins("upgrading"))
	})
	t.Run("a locked login is reported and left alone", func(t *testing.T) {
		w := w.of(t)
		failed := w.status("locked").condition("Failed")
		require.Equal(t, "LoginLocked", failed.Reason)
		require.Equal(t, `rotations/locked.yaml:1: locked-0 has the login "sa" locked out (error 18486); find who sent wrong passwords, then unlock it: ALTER LOGIN ... WITH PASSWORD = '...' UNLOCK`, failed.Message)
		require.Equal(t, before["locked"], w.traces("locked"))
	})
	t.Run("a password that the server's policy refuses is dropped, and the old one stays", func(t *testing.T) {
		w := w.of(t)
		s := w.status("policy")
		require.Equal(t, "Failed", s.phase())
		require.Equal(t, "PasswordRefused", s.condition("Failed").Reason)
		require.Equal(t, `rotations/policy.yaml:1: policy-0 refused the new password of "sa" as not complex enough (error 33064); mix upper case, lower case, digits and symbols`,
			s.condition("Failed").Message)
		after := before["policy"]
		after.Keeper, after.Pauses = true, 1
		require.Equal(t, after, w.traces("policy"), "paused and resumed, and nothing else")
		require.Empty(t, w.secret("policy-auth-keeper").Data["next.password"])
		require.True(t, w.opens("policy", policyBefore))
	})
	agent.requireIdle(0)
	require.Equal(t, 0, agent.terminate())

	agent = w.agent()
	agent.requireIdle(0)
	require.Equal(t, lockedBefore+1, strings.Count(w.errorlog("locked"), "Error: 18486"), "asked once, also after a restart")
	w.repo.Commit(map[string]string{"rotations/policy-again.yaml": w.request("policy-again", "policy")}, "Rotate policy again")
	w.eventually("policy-again is Successful", func() bool { return w.status("policy-again").phase() == "Successful" })
	require.Equal(t, 1, w.passwordChanges("policy"))
	require.Equal(t, 0, agent.terminate())
}

func TestADatabaseThatIsNotToBeTouchedYetIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databases("patient", "urgent", "paused")
	w.database("group", kubetest.AvailabilityGroup(3), func(db *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(db.Object, "DistributedAG", "spec", "topology", "mode"))
	})
	before := map[string]traces{}
	for database, status := range map[string]string{
		"patient": `{"phase":"NotReady"}`, "urgent": `{"phase":"NotReady"}`, "group": `{}`,
		"paused": `{"conditions":[{"type":"Paused","status":"True","reason":"Maintenance","message":"Dana moves the volume","lastTransitionTime":"2026-11-23T08:00:00Z"}]}`,
	} {
		w.unwatched(database)
		w.setStatus(database, status)
		before[database] = w.traces(database)
	}
	w.repo.Commit(map[string]string{
		"rotations/patient.yaml": w.request("patient", "patient", "apply: IfReady"),
		"rotations/urgent.yaml":  w.request("urgent", "urgent", "apply: Always"),
		"rotations/paused.yaml":  w.request("paused", "paused"),
		"rotations/group.yaml":   w.request("group", "group"),
	}, "Rotate all")
	agent := w.agent()

	w.eventually("urgent is Successful", func() bool { return w.status("urgent").phase() == "Successful" })
	w.eventually("group has ended", func() bool { return w.status("group").ended() })
	require.Equal(t, "Denied", w.status("group").phase())
	require.Equal(t, "TopologyNotSupported", w.status("group").condition("Denied").Reason)
	require.Equal(t, "rotations/group.yaml:1: MSSQLServer "+w.namespace+`/group has the topology "DistributedAG" with 3 replicas; gitrota rotates standalone servers and availability groups; rotate each side by its own SQLServer document in Git`,
		w.status("group").condition("Denied").Message)
	for database, said := range map[string]string{
		"patient": "is not Ready: its phase is NotReady; see kubectl describe ms, or rotate regardless with spec.apply: Always",
		"paused":  `is paused: "Dana moves the volume"; wait for whoever paused it, or remove its condition Paused`,
	} {
		w.eventually(database+" waits", func() bool { return w.status(database).phase() == "Pending" })
		s := w.status(database)
		require.Equal(t, fmt.Sprintf("rotations/%s.yaml:1: MSSQLServer %s/%s %s", database, w.namespace, database, said), s.condition("Waiting").Message)
		require.Equal(t, "True", s.condition("Waiting").Status)
	}
	require.Equal(t, "DatabaseNotReady", w.status("patient").condition("Waiting").Reason)
	require.Equal(t, "DatabasePaused", w.status("paused").condition("Waiting").Reason)
	agent.requireIdle(2)
	require.Equal(t, 0, agent.terminate())
	for _, database := range []string{"patient", "paused", "group"} {
		require.Equal(t, before[database], w.traces(database), database)
	}

	agent = w.agent()
	w.setStatus("patient", `{"phase":"Ready"}`)
	w.setStatus("paused", `{"conditions":[]}`)
	for _, database := range []string{"patient", "paused"} {
		w.eventually(database+" is Successful", func() bool { return w.status(database).phase() == "Successful" })
		require.Equal(t, 1, w.passwordChanges(database))
		require.Equal(t, "False", w.status(database).condition("Waiting").Status)
	}
	require.Equal(t, 0, agent.terminate())
}

func TestAMissingRightIsNamedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databases("db")
	before := w.traces("db")
	args := w.agentArgs()
	args = append(args, "--kubeconfig", w.kubeconfigWithout("pods/eviction"), "--once")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")

	agent := w.start(args...)
	require.Equal(t, 1, agent.wait())
	require.Contains(t, agent.log(), "gitrota: not every request ended well: 1 failed or denied, 0 problems in manifests; see the status path in the repository")
	failed := w.status("r").condition("Failed")
	require.Equal(t, "PermissionMissing", failed.Reason)
	require.Equal(t, "rotations/r.yaml:1: in the namespace "+w.namespace+" gitrota may not: create pods/eviction; bind the ClusterRole of gitrota's install manifests to its ServiceAccount", failed.Message)
	require.Equal(t, before, w.traces("db"))

	w.repo.Commit(map[string]string{"rotations/next.yaml": w.request("next", "db")}, "Rotate db, with all rights")
	require.Equal(t, 0, w.once())
}

// kubeconfigWithout is that of a service account with the rights of the install manifests except those to a resource.
func (w *world) kubeconfigWithout(resource string) string {
	w.Helper()
	ctx, rbac := context.Background(), w.cluster.Client.RbacV1()
	role, err := rbac.ClusterRoles().Get(ctx, "gitrota", metav1.GetOptions{})
	require.NoError(w.T, err)
	role.ObjectMeta = metav1.ObjectMeta{Name: w.namespace + "-part"}
	kept := role.Rules[:0]
	for _, rule := range role.Rules {
		if strings.Join(rule.Resources, " ") != resource {
			kept = append(kept, rule)
		}
	}
	role.Rules = kept
	_, err = rbac.ClusterRoles().Create(ctx, role, metav1.CreateOptions{})
	require.NoError(w.T, err)
	w.Cleanup(func() { require.NoError(w.T, rbac.ClusterRoles().Delete(ctx, role.Name, metav1.DeleteOptions{})) })
	w.cluster.Kubectl(w.T, "-n", w.namespace, "create", "serviceaccount", "part")
	for _, name := range []string{role.Name, "gitrota-find-paused"} {
		binding := w.namespace + "-" + name
		w.cluster.Kubectl(w.T, "create", "clusterrolebinding", binding, "--clusterrole="+name, "--serviceaccount="+w.namespace+":part")
		w.Cleanup(func() {
			require.NoError(w.T, rbac.ClusterRoleBindings().Delete(ctx, binding, metav1.DeleteOptions{}))
		})
	}
	return w.cluster.ServiceAccountKubeconfig(w.T, w.namespace, "part")
}

// unwatched keeps KubeDB's health check away from a database, so that nobody but gitrota logs in and nobody but the
// test writes its status.
func (w *world) unwatched(database string) {
	w.Helper()
	w.cluster.Kubectl(w.T, "-n", w.namespace, "annotate", "mssqlserver", database, "devcluster.gitrota.dev/unmanaged=true")
}

// setPassword overwrites the auth Secret, as somebody does who does not ask the server.
func (w *world) setPassword(database, password string) {
	w.Helper()
	w.cluster.Kubectl(w.T, "-n", w.namespace, "patch", "secret", database+"-auth", "--type=merge", "-p", fmt.Sprintf(`{"stringData":{"password":%q}}`, password))
	require.Equal(w.T, password, w.live(database).Password.Reveal())
}

func (w *world) setStatus(database, json string) {
	w.Helper()
	w.cluster.Kubectl(w.T, "-n", w.namespace, "patch", "mssqlserver", database, "--subresource=status", "--type=merge", "-p", `{"status":`+json+`}`)
}
