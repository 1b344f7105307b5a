package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lease reads the Lease that the agents of this world share.
func (w *world) lease() *coordinationv1.Lease {
	w.Helper()
	lease, err := w.cluster.Client.CoordinationV1().Leases("gitrota").Get(w.Context(), w.namespace, metav1.GetOptions{})
	require.NoError(w.T, err)
	return lease
}

// holds reports whether the log of an agent says that it is the one who serves.
func (p *agentProcess) holds() bool { return strings.Contains(p.log(), "is_me=true") }

func TestOfTwoAgentsOneServesAndTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	shared := []string{"--lease", "gitrota/" + w.namespace}
	first := w.agent(shared...)
	w.eventually("the first serves", first.holds)
	second := w.agent(shared...)
	w.eventually("the second stands by", func() bool { return strings.Contains(second.log(), "is_me=false") })
	code, _ := second.get("/readyz")
	require.Equal(t, 200, code, "standing by is what it is there for")

	w.repo.Commit(map[string]string{"rotations/one.yaml": w.request("one", "db")}, "Rotate db")
	require.Equal(t, "Successful", w.ended("one").phase())
	_, metrics := second.get("/metrics")
	require.Zero(t, metric(metrics, `gitrota_polls_total{result="success"}`), "it has asked the Git server nothing")

	first.kill()
	w.repo.Commit(map[string]string{"rotations/two.yaml": w.request("two", "db")}, "Rotate db again")
	require.Equal(t, "Successful", w.ended("two").phase())
	require.True(t, second.holds())
	require.Equal(t, 2, w.passwordChanges("db"))
	require.Zero(t, w.failedLogins("db"))

	third := w.agent(shared...)
	w.eventually("the third stands by", func() bool { return strings.Contains(third.log(), "is_me=false") })
	require.Equal(t, 0, second.terminate())
	w.eventually("the lease is given back, and the third need not wait until it runs out", third.holds)
	require.Equal(t, 0, third.terminate())
	require.Empty(t, *w.lease().Spec.HolderIdentity)
}

func TestAnAgentThatLosesItsLeaseEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	agent := w.agent("--lease", "gitrota/"+w.namespace)
	w.eventually("it serves", agent.holds)
	w.cluster.Kubectl(t, "-n", "gitrota", "patch", "lease", w.namespace, "--type=merge", "-p", `{"spec":{"holderIdentity":"somebody else","leaseDurationSeconds":3600}}`)
	require.Equal(t, 1, agent.wait())
	require.Contains(t, agent.log(), "the lease was lost: another agent may be serving the repository")
}
