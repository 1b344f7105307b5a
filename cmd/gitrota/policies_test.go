package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// gitrota runs a command to its end, with the repository and the cluster of this world.
func (w *world) gitrota(command string, more ...string) (code int, output string) {
	w.Helper()
	p := w.start(append([]string{
		command, "--repo", w.repo.URL(), "--git-auth", w.gitAuth, "--kubeconfig", w.cluster.ServiceAccountKubeconfig(w.T, "gitrota", "gitrota"),
	}, more...)...)
	code = p.wait()
	return code, p.log()
}

func TestTheGuardrailsOfAnInstallationHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	before := w.live("db")
	rails := filepath.Join(t.TempDir(), "guardrails.yaml")
	write := func(spec string) {
		t.Helper()
		require.NoError(t, os.WriteFile(rails, []byte("apiVersion: gitrota.dev/v1alpha1\nkind: Guardrails\nmetadata: {name: g}\nspec: "+spec+"\n"), 0o600))
	}
	write(fmt.Sprintf("{paths: [{path: rotations/own, namespaces: [%s]}]}", w.namespace))
	w.repo.Commit(map[string]string{"rotations/elsewhere.yaml": w.request("elsewhere", "db")}, "From the wrong folder")
	require.Equal(t, 1, w.once("--guardrails", rails))
	s := w.status("elsewhere")
	require.Equal(t, "Denied", s.phase())
	require.Equal(t, "ForeignNamespace", s.condition("Denied").Reason)
	require.Equal(t, `rotations/elsewhere.yaml:1: the file "rotations/elsewhere.yaml" is in no folder that the guardrails list, so it may be about no namespace; move it into a folder of the guardrails' spec.paths`, s.condition("Denied").Message)
	require.Equal(t, before, w.live("db"))

	agent := w.agent("--guardrails", rails)
	w.repo.Commit(map[string]string{"rotations/own/r.yaml": w.request("r", "db")}, "From the right one")
	w.eventually("the request has run", func() bool { return w.status("r").phase() == "Successful" })
	write("{approval: {mode: Signatures, count: 1}}")
	w.repo.Commit(map[string]string{"rotations/own/next.yaml": w.request("next", "db")}, "Once more")
	w.eventually("the request waits", func() bool { return w.status("next").phase() == "WaitingForApproval" })
	require.Contains(t, w.status("next").condition("Approved").Message, "rotations/own/next.yaml: needs 2 signatures and has 0")
	write("{approval: {mode: Signed}}")
	w.eventually("a version that cannot be read is logged", func() bool {
		return strings.Contains(agent.log(), "cannot be read; what was read before goes on being used")
	})
	require.Equal(t, "WaitingForApproval", w.status("next").phase())

	code, plan := w.gitrota("plan", "--guardrails", rails)
	require.Equal(t, 2, code)
	require.Contains(t, plan, `guardrails.yaml:4: InvalidField: spec.approval.mode is "Signed"; use Merge, Signatures or Reviews`)
}

func TestAPolicyInForceOutlivesWhoeverCanWriteToTheRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	before := w.live("db")
	record := "policies-of-" + w.namespace
	t.Cleanup(func() {
		_, err := w.cluster.Run(context.Background(), nil, "-n", "gitrota", "delete", "secret", record)
		require.NoError(t, err)
	})
	written := func() string {
		return w.cluster.Kubectl(t, "-n", "gitrota", "get", "secret", record, "-o", "jsonpath={.metadata.resourceVersion}")
	}
	policy := fmt.Sprintf("apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: p}\nspec: {databases: [{namespace: %s}], approval: {mode: Signatures, count: 2}}\n", w.namespace)
	w.repo.Commit(map[string]string{"rotations/policies/p.yaml": policy}, "Ask for signatures")
	require.Equal(t, 0, w.once("--policy-record", "gitrota/"+record))
	require.Contains(t, w.repo.Files(), "rotation-status/policies.yaml")
	first := written()

	w.repo.Delete("Away with it, while nobody looks", "rotations/policies/p.yaml", "rotation-status/policies.yaml")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate")
	code, plan := w.gitrota("plan", "--policy-record", "gitrota/"+record)
	require.Zero(t, code, plan)
	require.Contains(t, plan, w.namespace+"/r is WaitingForApproval: rotations/r.yaml: needs 3 signatures and has 0; one of them because commit ")
	require.Equal(t, 1, w.once("--policy-record", "gitrota/"+record))
	require.Equal(t, "WaitingForApproval", w.status("r").phase())
	require.Equal(t, before, w.live("db"))
	require.Contains(t, w.repo.Show("rotation-status/policies.yaml"), "mode: Signatures")
	require.Contains(t, w.repo.Show("rotation-status/problems.yaml"), "the RotationPolicy p was removed, and the change is not in force")
	require.Equal(t, first, written(), "nothing has changed, and a plan changes nothing")

	code, plan = w.gitrota("plan", "--policy-record", record)
	require.Equal(t, 2, code)
	require.Contains(t, plan, "--policy-record \""+record+"\": give the namespace and the name of a Secret, such as gitrota/policies-in-force")
}

func TestPlanShowsWhatIsDueAndWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db", func(db *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(db.Object, "720h", "spec", "authSecret", "rotateAfter"))
		require.NoError(t, unstructured.SetNestedField(db.Object, "Secret", "spec", "authSecret", "kind"))
		require.NoError(t, unstructured.SetNestedField(db.Object, "db-auth", "spec", "authSecret", "name"))
	})
	code, plan := w.gitrota("plan")
	require.Zero(t, code, plan)
	require.Regexp(t, `MSSQLServer `+w.namespace+`/db +never +20\d\d-\S+ +due at \S+: 30d after it came into use at \S+ \(spec\.authSecret\.rotateAfter of MSSQLServer `+w.namespace+`/db\)`, plan)

	w.repo.Commit(map[string]string{
		"rotations/policies/p.yaml": fmt.Sprintf("apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: p}\nspec: {databases: [{namespace: %s}], approval: {mode: Signatures, count: 1}, schedule: {every: 1d}}\n", w.namespace),
		"rotations/r.yaml":          w.request("r", "db"),
	}, "Ask for signatures")
	code, plan = w.gitrota("plan")
	require.Zero(t, code, plan)
	require.Regexp(t, `due at \S+: 1d after it came into use at \S+ \(rotations/policies/p\.yaml:1\)`, plan)
	require.Contains(t, plan, w.namespace+"/r is WaitingForApproval: rotations/r.yaml: needs 2 signatures and has 0")
	require.NotContains(t, w.repo.Files(), "rotation-status/README.md", "a plan writes nothing")
	code, plan = w.gitrota("plan", "--output", "json")
	require.Zero(t, code, plan)
	require.Contains(t, plan, `"From": "rotations/policies/p.yaml:1"`)
}
