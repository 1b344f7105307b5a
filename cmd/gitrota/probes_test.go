package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// The pods of these stories are ready while they take the password of their environment, which ends with the rotation.
func TestPodsThatTheRotationMakesUnreadyAreRestartedAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stories := []struct {
		name   string
		kind   string
		budget string // the spec of a disruption budget; empty: there is none
	}{
		{"three", "StatefulSet", ""},
		{"budget-of-one", "StatefulSet", "maxUnavailable: 1"},
		{"two-must-stay", "StatefulSet", "minAvailable: 2"},
		{"unready-may-go", "StatefulSet", "maxUnavailable: 1, unhealthyPodEvictionPolicy: AlwaysAllow"},
		{"deployment", "Deployment", "maxUnavailable: 1"},
	}
	before, pods, files := map[string]credential.Credential{}, map[string]map[string]string{}, map[string]string{}
	for _, story := range stories {
		before[story.name] = w.credential("sa")
		w.keep(story.name+"-auth", before[story.name])
		w.runSQL(story.kind, story.name, 3, story.name+"-auth")
		if story.budget != "" {
			w.cluster.Apply(t, fmt.Sprintf("apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: %s, namespace: %s}\n"+
				"spec: {%s, selector: {matchLabels: {app: %[1]s}}}\n", story.name, w.namespace, story.budget))
			w.eventually("the budget allows a disruption", func() bool {
				return w.cluster.Kubectl(t, "-n", w.namespace, "get", "pdb", story.name, "-o", "jsonpath={.status.disruptionsAllowed}") == "1"
			})
		}
		pods[story.name] = w.podsOf(story.name)
		require.Len(t, pods[story.name], 3)
		workload := "workload: {kind: " + story.kind + ", name: " + story.name + "}"
		files["rotations/"+story.name+".yaml"] = w.document(story.name, workload, authSecret(story.name), trusted) +
			"---\n" + w.request(story.name, story.name, "timeout: 40s")
	}
	w.repo.Commit(files, "Rotate all")
	agent := w.agent()
	for _, story := range stories {
		s := w.ended(story.name)
		require.Equal(t, "Successful", s.phase(), "%s: %s", story.name, s.why())
		require.Equal(t, 3, evictions(s), story.name)
		now := w.podsOf(story.name)
		require.Len(t, now, 3, "%s: all are ready", story.name)
		for address, uid := range now {
			require.NotContains(t, pods[story.name], address, "%s: all were restarted", story.name)
			require.NotContains(t, pods[story.name], uid)
			require.True(t, w.podLets(address, w.kept(story.name+"-auth")))
			require.False(t, w.podLets(address, before[story.name]))
		}
	}
	require.Equal(t, 0, agent.terminate())
}

// evictions counts the pods that a rotation has restarted.
func evictions(s status) (n int) {
	for _, kind := range s.types() {
		if strings.HasPrefix(kind, "EvictPod--") {
			n++
		}
	}
	return n
}

// inARow is how many rotations of the quickstart are made one after the other. Each start of its server is a throw of a
// coin: with a certificate that has a negative serial number, or without.
const inARow = 20

func TestTheQuickstartIsRotatedTwentyTimesInARow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manifest, err := os.ReadFile(filepath.Join(topLevel, "examples", "push", "mssqlserver-quickstart.yaml"))
	require.NoError(t, err)
	probed := strings.Replace(strings.ReplaceAll(string(manifest), "namespace: demo", "namespace: "+w.namespace),
		"- name: mssql\n", "- name: mssql\n          readinessProbe: "+kubetest.LoginProbe+"\n", 1)
	require.Contains(t, probed, "readinessProbe")
	w.cluster.Apply(t, probed)
	w.cluster.WaitReady(t, w.namespace, "mssqlserver-quickstart")
	w.remember(w.live("mssqlserver-quickstart").Password)

	agent := w.agent()
	seen := []credential.Credential{w.live("mssqlserver-quickstart")}
	for i := range inARow {
		name := fmt.Sprintf("msops-rotate-auth-generated-%d", i+1)
		request := w.request(name, "mssqlserver-quickstart", "timeout: 5m", "apply: IfReady")
		w.repo.Commit(map[string]string{"rotations/" + name + ".yaml": request}, "Rotate once more")
		s := w.ended(name)
		require.Equal(t, "Successful", s.phase(), s.why())
		require.Equal(t, seen[len(seen)-1], w.previous("mssqlserver-quickstart"))
		require.NotContains(t, seen, w.live("mssqlserver-quickstart"))
		seen = append(seen, w.live("mssqlserver-quickstart"))
	}
	require.Equal(t, inARow, w.passwordChanges("mssqlserver-quickstart"))
	require.Zero(t, w.failedLogins("mssqlserver-quickstart"))
	require.True(t, w.opens("mssqlserver-quickstart", seen[inARow]))
	w.cluster.WaitReady(t, w.namespace, "mssqlserver-quickstart")
	require.Equal(t, 0, agent.terminate())
}
