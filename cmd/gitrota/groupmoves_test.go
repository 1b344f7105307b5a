package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAFailoverBetweenTwoChangesLeavesNoReplicaBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("db", 3)
	before := w.live("db")
	w.replicaFaults("db-2", `{"statements":[{"kind":"ALTER LOGIN","delay":"3s","times":1}]}`)
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	agent := w.agent()
	w.eventually("db-1 is changed", func() bool { return len(w.changes("db-1")) == 1 })
	agent.frozen(func() {
		w.failover("db", "db-1")
		require.Empty(t, w.changes("db-0"), "the failover came between two changes")
	})

	w.eventually("r is Successful", func() bool { return w.status("r").phase() == "Successful" })
	w.requireEverywhere("db", before)
	all := []string{"db-0", "db-1", "db-2"}
	require.ElementsMatch(t, groupConditions(all, all, all...), w.status("r").types(), "one set of conditions")
	require.True(t, w.starts("db-1")[1].After(w.starts("db-0")[1]), "the new primary was restarted last")
	require.True(t, w.starts("db-1")[1].After(w.starts("db-2")[1]))
	require.Equal(t, 0, agent.terminate())
}

func TestAFailoverBetweenTwoRestartsRestartsEachReplicaOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("db", 3, syncDelay(4*time.Second))
	before := w.live("db")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	agent := w.agent()
	w.eventually("db-1 is restarted", func() bool { return len(w.starts("db-1")) == 2 })
	agent.frozen(func() {
		w.failover("db", "db-2")
		require.Len(t, w.starts("db-0"), 1, "the failover came between two restarts")
	})

	w.eventually("r is Successful", func() bool { return w.status("r").phase() == "Successful" })
	w.requireEverywhere("db", before)
	for _, pod := range w.replicaNames("db") {
		require.Len(t, w.starts(pod), 2, "%s was restarted once", pod)
	}
	require.True(t, w.starts("db-2")[1].After(w.starts("db-0")[1]), "the new primary was restarted last")
	require.Equal(t, 0, agent.terminate())
}

func TestAReplicaThatJoinsInTheMiddleGetsTheNewPasswordToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("db", 3)
	before := w.live("db")
	w.replicaFaults("db-2", `{"statements":[{"kind":"ALTER LOGIN","delay":"3s","times":1}]}`)
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	agent := w.agent()
	w.eventually("db-1 is changed", func() bool { return len(w.changes("db-1")) == 1 })
	agent.frozen(func() {
		// KubeDB keeps its hands off while the database is paused, so somebody else makes the pod.
		w.scale("db", 4)
		w.cluster.Kubectl(t, "-n", w.namespace, "scale", "statefulset", "db", "--replicas=4")
		w.eventually("db-3 runs", func() bool { return len(w.replicas("db")) == 4 && len(w.starts("db-3")) == 1 })
		require.Empty(t, w.changes("db-0"), "it came in the middle")
		require.Equal(t, before, w.live("db"), "it began with the password of before")
	})

	w.eventually("r is Successful", func() bool { return w.status("r").phase() == "Successful" })
	w.requireEverywhere("db", before)
	require.Len(t, w.starts("db-3"), 2, "its environment had the password of before")
	w.cluster.WaitReady(t, w.namespace, "db")
	require.Contains(t, w.uids("db"), "db-arbiter-0")
	require.Equal(t, 0, agent.terminate())
}

func TestAReplicaThatIsWantedWhileTheDatabaseIsPausedComesAfterwardsWithTheNewPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("db", 3)
	before := w.live("db")
	w.replicaFaults("db-2", `{"statements":[{"kind":"ALTER LOGIN","delay":"3s","times":1}]}`)
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db", "timeout: 20s")}, "Rotate db")
	agent := w.agent()
	w.eventually("db-1 is changed", func() bool { return len(w.changes("db-1")) == 1 })
	agent.frozen(func() {
		w.scale("db", 4)
		require.Empty(t, w.changes("db-0"), "it was asked for in the middle")
	})

	w.eventually("r is Successful", func() bool { return w.status("r").phase() == "Successful" })
	w.cluster.WaitReady(t, w.namespace, "db")
	require.Empty(t, w.changes("db-3"), "it began with the new password")
	for i := range 4 {
		pod := fmt.Sprintf("db-%d", i)
		require.True(t, w.podOpens(pod, "", w.live("db")), pod)
		require.False(t, w.podOpens(pod, "", before), pod)
	}
	require.Equal(t, 0, agent.terminate())
}
