package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever installs the agent asks for two reviews, whatever the repository and its forge say: the forge of this story lets
// everything be merged that comes by a pull request.
func TestPullRequestsAreWhatARotationRestsOn(t *testing.T) {
	t.Parallel()
	guardrails := filepath.Join(t.TempDir(), "guardrails.yaml")
	writeFile(t, guardrails, "apiVersion: gitrota.dev/v1alpha1\nkind: Guardrails\nspec: {approval: {mode: Reviews, count: 2}}\n")
	w := newForgeWorld(newWorld(t), guardrails)
	w.database("orders")
	w.database("billing")
	began := time.Now().UTC().Add(-40 * 24 * time.Hour).Truncate(time.Second)
	w.cluster.Kubectl(t, "-n", w.namespace, "annotate", "--overwrite", "secret", "billing-auth", "kubedb.com/auth-active-from="+began.Format(time.RFC3339))
	key := w.git.NewSSHKey("ed25519", "")
	signers := filepath.Join(t.TempDir(), "gitrota.allowed_signers")
	writeFile(t, signers, "gitrota@localhost "+key.Public+"\n")
	agent := w.hooked("--signing-key", key.Dir)
	_, err := w.hosted.TryPush(w.dana, "main", map[string]string{"rotations/orders.yaml": w.request("rotate", "orders")}, "Get around it")
	require.ErrorContains(t, err, "protected branch main")

	// One review too few.
	before := w.live("orders")
	p := w.propose("one", "rotations/orders.yaml", w.request("rotate", "orders"), w.erin)
	lacks := fmt.Sprintf("rotations/orders.yaml: pull request #%d (%s) has 1 of 2 approving reviews: erin; let others review it, or propose it again", p.Number, p.Link)
	w.eventually("it is said what is missing", func() bool { return w.status("rotate").condition("Approved").Message == lacks })
	waits := w.status("rotate")
	require.Equal(t, "WaitingForApproval", waits.phase())
	require.Equal(t, []string{"False", "ReviewsMissing"}, []string{waits.condition("Approved").Status, waits.condition("Approved").Reason})
	require.Contains(t, w.plan(), "Requests that have not ended:\n  "+w.namespace+"/rotate is WaitingForApproval: "+lacks+"\n")
	require.Equal(t, before, w.live("orders"))

	// Enough.
	p = w.propose("two", "rotations/orders.yaml", w.request("rotate", "orders")+"# as reviewed\n", w.erin, w.frank)
	s := w.is("rotate", "Successful")
	require.NotEqual(t, before, w.live("orders"))
	require.Equal(t, fmt.Sprintf("rotations/orders.yaml: pull request #%d (%s) was approved by erin, frank, merged by dana as commit %s", p.Number, p.Link, p.MergedAs[:12]), s.condition("Approved").Message)
	review := fmt.Sprintf(`, review of pull request #%d %s#issuecomment-\d+`, p.Number, p.Link)
	require.Regexp(t, "^erin"+review+"\nfrank"+review+"$", s.Metadata.Annotations["gitrota.dev/approved-by"])
	require.Equal(t, p.Head, s.Metadata.Annotations["gitrota.dev/source-commit"])
	require.Equal(t, "dana <dana@example.com>", s.Metadata.Annotations["gitrota.dev/source-author"])
	require.Contains(t, s.Metadata.Annotations["gitrota.dev/source-merge"], p.MergedAs+" ")
	require.NotContains(t, w.plan(), "Requests that have not ended")

	// What is due is proposed, once a policy says so that has been reviewed itself.
	policy := "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: monthly}\n" +
		"spec: {databases: [{namespace: " + w.namespace + ", name: billing}], schedule: {every: 30d, onDue: PullRequest}}\n"
	w.propose("policy", "rotations/monthly.yaml", policy, w.erin, w.frank)
	date := began.Add(30 * 24 * time.Hour)
	name := "billing-scheduled-" + date.Format("20060102t1504z")
	w.eventually("it is proposed", func() bool { return len(w.proposals(name)) == 1 })
	require.Contains(t, w.written("rotation-status/policies.yaml"), "name: monthly")
	due := w.proposals(name)[0]
	require.Equal(t, "gitrota-robot", due.Author)
	require.Equal(t, "Rotate "+w.namespace+"/billing, due since "+date.Format(time.DateOnly), due.Title)
	require.Contains(t, due.Body, "Its credential is 40 days old, from "+began.Format(time.RFC3339)+", and no request in this repository has rotated it yet.")
	require.Contains(t, w.plan(), "due since "+date.Format(time.RFC3339)+": 30d after it came into use at "+began.Format(time.RFC3339)+" (rotations/monthly.yaml:1)")
	before = w.live("billing")
	w.merge(due.Number, w.erin, w.frank)
	s = w.is(name, "Successful")
	require.NotEqual(t, before, w.live("billing"))
	require.Contains(t, s.condition("Approved").Message, fmt.Sprintf("pull request #%d (%s) was approved by erin, frank, merged by dana as commit ", due.Number, due.Link))
	w.eventually("its branch is gone", func() bool { return !w.there(due.HeadBranch) })

	require.Equal(t, 0, agent.terminate())
	proven := gitrota(t, w.clone(w.dana), nil, "audit", "verify", "--agent-signers", signers, "--status-branch", statusBranch)
	require.Equal(t, 0, proven.code, proven.stdout+proven.stderr)
	require.Contains(t, proven.stdout, w.namespace+"/orders ")
	require.Contains(t, proven.stdout, w.namespace+"/billing ")
}
