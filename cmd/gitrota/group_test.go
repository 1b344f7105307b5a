package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

func TestAGroupIsChangedEverywhereAndRestartedReplicaByReplicaThePrimaryLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	delay := 2 * time.Second
	w.group("db", 3, syncDelay(delay))
	before, pods := w.live("db"), w.uids("db")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")

	require.Equal(t, 0, w.once())

	w.requireEverywhere("db", before)
	first, second, primary := w.changes("db-1")[0], w.changes("db-2")[0], w.changes("db-0")[0]
	require.False(t, second.Before(first), "db-1 is changed first")
	require.False(t, primary.Before(second), "the primary is changed last")

	order := []string{"db-1", "db-2", "db-0"}
	for i, pod := range order {
		starts := w.starts(pod)
		require.Len(t, starts, 2, "%s was restarted once", pod)
		require.True(t, starts[1].After(primary), "%s was restarted after all were changed", pod)
		require.NotEqual(t, pods[pod], w.uids("db")[pod])
		if i > 0 {
			require.GreaterOrEqual(t, starts[1].Sub(w.starts(order[i-1])[1]), delay-100*time.Millisecond,
				"%s had to wait until %s was in step again", pod, order[i-1])
		}
	}
	require.Equal(t, groupConditions(order, order, "db-0", "db-1", "db-2"), w.status("r").types())
	require.Equal(t, "a fresh login with the new credential opened 3 of 3 replicas", w.status("r").condition("CredentialVerified").Message)
	require.NotEqual(t, "db-0", w.primary("db"), "the primary moved when it was restarted")
	require.NotContains(t, w.cluster.Kubectl(t, "get", "mssqlserver", "-n", w.namespace, "db", "-o", "yaml"), "Paused by gitrota")
	w.cluster.WaitReady(t, w.namespace, "db")
}

func TestAnArbiterIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("db", 2)
	before, pods := w.live("db"), w.uids("db")
	require.Contains(t, pods, "db-arbiter-0")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")

	require.Equal(t, 0, w.once())

	w.requireEverywhere("db", before)
	require.Equal(t, pods["db-arbiter-0"], w.uids("db")["db-arbiter-0"])
	order := []string{"db-1", "db-0"}
	require.Equal(t, groupConditions(order, order, "db-0", "db-1"), w.status("r").types())
}

func TestAContainedGroupsOwnLoginIsOneMoreReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("my-db", 3, kubetest.Annotated("devcluster.gitrota.dev/contained", "true"))
	before := w.live("my-db")
	require.True(t, w.podOpens("my-db-0", "agdb1", before))
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "my-db")}, "Rotate my-db")

	require.Equal(t, 0, w.once())

	require.Len(t, w.changes("my-db-0"), 2, "the primary's own login and the group's")
	for _, pod := range []string{"my-db-1", "my-db-2"} {
		require.Len(t, w.changes(pod), 1)
	}
	for _, pod := range w.replicaNames("my-db") {
		require.Empty(t, w.refusals(pod))
		require.True(t, w.podOpens(pod, "", w.live("my-db")))
	}
	primary := w.primary("my-db")
	require.True(t, w.podOpens(primary, "agdb1", w.live("my-db")), "the group's own login has the new password")
	require.False(t, w.podOpens(primary, "agdb1", before))
	s := w.status("r")
	restarted := []string{"my-db-1", "my-db-2", "my-db-0"}
	require.Equal(t, groupConditions(append(restarted, "mydb"), restarted, "my-db-0", "my-db-1", "my-db-2"), s.types())
	require.Equal(t, "a fresh login with the new credential opened 4 of 4 replicas", s.condition("CredentialVerified").Message)
}

func TestADisruptionBudgetThatSaysNoIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("db", 3)
	before, pods := w.live("db"), w.uids("db")
	w.unwatched("db")
	budget := func(unavailable string) {
		w.cluster.Kubectl(t, "-n", w.namespace, "patch", "pdb", "db", "--type=merge", "-p", `{"spec":{"maxUnavailable":`+unavailable+`}}`)
	}
	budget("0")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	agent := w.agent()
	w.eventually("the eviction is refused", func() bool { return strings.Contains(agent.log(), "reason=DisruptionBudget") })
	require.Equal(t, pods, w.uids("db"), "nothing was restarted")
	require.NotEqual(t, before, w.live("db"), "and everybody has the new password already")

	budget("1")
	w.eventually("r is Successful", func() bool { return w.status("r").phase() == "Successful" })
	w.requireEverywhere("db", before)
	for _, pod := range w.replicaNames("db") {
		require.Len(t, w.starts(pod), 2, "%s was restarted once", pod)
	}
	require.Equal(t, 0, agent.terminate())
}
