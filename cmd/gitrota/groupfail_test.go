package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAReplicaThatRefusesTheNewPasswordForGoodTurnsTheOthersBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("db", 3)
	before, pods := w.live("db"), w.uids("db")
	w.replicaFaults("db-0", `{"statements":[{"kind":"ALTER LOGIN","error":33064}]}`)
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")

	require.Equal(t, 1, w.once())

	s := w.status("r")
	require.Equal(t, "Failed", s.phase())
	require.Equal(t, "PasswordRefused", s.condition("Failed").Reason)
	require.Equal(t, []string{"RotateAuth", "CredentialStaged", "DatabasePauseSucceeded", "UpdateCredential",
		"CredentialApplied--db-1", "CredentialApplied--db-2", "RolledBack", "Failed"}, s.types())
	require.Len(t, w.changes("db-1"), 2, "forward and back")
	require.Len(t, w.changes("db-2"), 2)
	require.Empty(t, w.changes("db-0"))
	for _, pod := range w.replicaNames("db") {
		require.Empty(t, w.refusals(pod))
	}
	w.requireUnchanged("db", before)
	require.Equal(t, pods, w.uids("db"), "no pod was restarted")
	require.Empty(t, w.secret("db-auth-keeper").Data["next.password"])
	require.NotContains(t, w.cluster.Kubectl(t, "get", "mssqlserver", "-n", w.namespace, "db", "-o", "yaml"), "Paused by gitrota")

	w.replicaFaults("db-0", "{}")
	w.repo.Commit(map[string]string{"rotations/next.yaml": w.request("next", "db")}, "Rotate db again")
	require.Equal(t, 0, w.once())
	require.Equal(t, "Failed", w.status("r").phase(), "r stays as it ended")
	require.Equal(t, "Successful", w.status("next").phase())
	require.NotEqual(t, before, w.live("db"))
	require.Len(t, w.changes("db-0"), 1)
}

func TestAGroupWhoseReplicaIsDownFromTheBeginningIsNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("db", 3)
	before, pods := w.live("db"), w.uids("db")
	w.unwatched("db")
	w.replicaFaults("db-2", `{"refuseConnections":true}`)
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db", "timeout: 3s")}, "Rotate db")

	require.Equal(t, 1, w.once())

	s := w.status("r")
	require.Equal(t, "Failed", s.phase())
	require.Equal(t, "Timeout", s.condition("Failed").Reason)
	require.Contains(t, s.condition("Failed").Message, `the step "connect db-2" did not end within its timeout of 3s`)
	require.Equal(t, pods, w.uids("db"))
	require.False(t, w.keeps("db"), "nothing was staged")
	w.replicaFaults("db-2", "{}")
	for _, pod := range w.replicaNames("db") {
		require.Empty(t, w.changes(pod))
		require.Empty(t, w.refusals(pod))
	}
	w.requireUnchanged("db", before)
}

func TestAReplicaThatGoesDownInTheMiddleTurnsTheOthersBackAndIsNotForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("db", 3)
	before := w.live("db")
	w.unwatched("db")
	w.replicaFaults("db-2", `{"statements":[{"kind":"ALTER LOGIN","delay":"3s","times":1}]}`)
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db", "timeout: 5s")}, "Rotate db")
	agent := w.agent()
	w.eventually("db-1 is changed", func() bool { return len(w.changes("db-1")) == 1 })
	agent.frozen(func() {
		w.shut("db-0")
		require.Empty(t, w.changes("db-0"), "it goes down before its turn")
	})

	w.eventually("r has ended", func() bool { return w.status("r").ended() })
	s := w.status("r")
	require.Equal(t, "Failed", s.phase())
	require.Contains(t, s.types(), "RecoveryRequired", "db-0 could not be asked, so nothing is discarded")
	require.NotEmpty(t, w.secret("db-auth-keeper").Data["next.password"])
	require.Len(t, w.changes("db-1"), 2, "forward and back")
	require.Contains(t, []int{0, 2}, len(w.changes("db-2")), "it may not have had its turn")
	require.Equal(t, before, w.live("db"))
	require.True(t, w.podOpens("db-1", "", before), "the auth Secret opens all that run")
	require.True(t, w.podOpens("db-2", "", before))
	require.NotContains(t, w.cluster.Kubectl(t, "get", "mssqlserver", "-n", w.namespace, "db", "-o", "yaml"), "Paused by gitrota")

	w.replicaFaults("db-0", "{}")
	w.requireUnchanged("db", before)
	w.repo.Commit(map[string]string{"rotations/next.yaml": w.request("next", "db")}, "Rotate db, now that all of it is back")
	w.eventually("next is Successful", func() bool { return w.status("next").phase() == "Successful" })
	for _, pod := range w.replicaNames("db") {
		require.True(t, w.podOpens(pod, "", w.live("db")))
	}
	require.Empty(t, w.refusals("db-1"))
	require.Empty(t, w.refusals("db-2"))
	require.LessOrEqual(t, len(w.refusals("db-0")), 1, "while it was away nobody could ask it which password it has")
	require.Equal(t, 0, agent.terminate())
}
