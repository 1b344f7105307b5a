package manifest_test

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

// FuzzParse looks for input that panics, for problems without a place, and for requests that could not have a status.
func FuzzParse(f *testing.F) {
	s := newSealer(f)
	f.Add(generated, false)
	f.Add(generated, true)
	f.Add(s.seal(f, plainSecret, onlyValues), false)
	f.Add("a: &a [b, b]\nb: &b [*a, *a]\n---\nkind: Secret\nstringData: {<<: *b}\n", false)
	f.Add(`{"apiVersion": "v1", "kind": "List", "items": [{"kind": "Secret", "data": {"password": 1}}]}`, true)
	f.Add("--- |\n---\n...\n%YAML 1.2\n---\nkind: MSSQLServerOpsRequest\napiVersion: ops.kubedb.com/v1alpha1\nspec: {? [a] : b}", false)
	f.Add(legacy, false)
	f.Add(strings.Replace(legacy, "  workload: {kind: StatefulSet, name: legacy}\n", "  endpoints: [\"[2001:db8::1]:1433\", sql1:1]\n  loginPair: [a, b]\n", 1), false)
	f.Add(strings.Replace(legacy, "caSecret: {name: legacy-ca}", "certificate: \"-----BEGIN CERTIFICATE-----\\nAA==\\n-----END CERTIFICATE-----\"", 1), false)
	f.Add(rollback+"---\n"+strings.Replace(rollback, "RotationRollback", "RotationRollbak", 1), false)
	f.Add(policy+"---\n"+strings.Replace(policy, "production", "other", 1)+"---\n"+generated, false)
	f.Add(wholePolicy+"---\n"+generated, false)
	f.Fuzz(func(t *testing.T, content string, isJSON bool) {
		path := "a.yaml"
		if isJSON {
			path = "a.json"
		}
		lines := 1 + strings.Count(content, "\n")
		set := manifest.Parse(map[string][]byte{path: []byte(content)})
		for _, p := range set.AllProblems() {
			require.Equal(t, path, p.Path)
			require.NotEmpty(t, p.Reason)
			require.NotEmpty(t, p.Message)
			require.LessOrEqual(t, p.Line, lines+1)
		}
		for _, r := range set.Requests {
			require.Regexp(t, `^[0-9a-f]{32}$`, r.ID)
			require.Regexp(t, `^[-.a-z0-9]+/[-.a-z0-9]+$`, r.Namespace+"/"+r.Name)
			require.NotContains(t, r.Namespace+"/"+r.Name, "..")
		}
		for _, server := range set.Servers {
			require.Regexp(t, `^[-a-z0-9]+/[-.a-z0-9]+$`, server.Namespace+"/"+server.Name)
			if len(server.Problems) == 0 {
				requireUsable(t, server.Spec)
			}
		}
		for _, r := range set.Requests {
			_, problem := set.RulesFor(set.Database(r.Namespace, r.Spec.DatabaseRef.Name))
			require.True(t, problem == nil || problem.Message != "" && problem.Path == path)
		}
		for _, p := range set.Policies {
			require.True(t, len(p.Problems) > 0 || len(p.Databases) > 0)
		}
		_ = manifest.Validate(map[string][]byte{path: []byte(content)})
		for _, secret := range set.Secrets {
			_, _ = manifest.ReadCredential(secret, s.keys)
		}
	})
}

// requireUsable checks what everybody who gets a SQLServer without problems relies on.
func requireUsable(t *testing.T, spec manifest.ServerSpec) {
	ways := 0
	for _, there := range []bool{spec.Workload != nil, spec.Selector != nil, spec.Endpoints != nil} {
		if there {
			ways++
		}
	}
	require.Equal(t, 1, ways)
	require.Equal(t, spec.Endpoints == nil, spec.Port > 0 && spec.Container != "")
	require.NotEmpty(t, spec.AuthSecret.Name)
	require.NotEqual(t, spec.AuthSecret.UsernameKey, spec.AuthSecret.PasswordKey)
	require.Contains(t, []int{0, 2}, len(spec.LoginPair))
	require.True(t, spec.LoginPair == nil || spec.Admin != nil && spec.Admin.Name != spec.AuthSecret.Name)
	for _, endpoint := range spec.Endpoints {
		host, port, err := net.SplitHostPort(endpoint)
		require.NoError(t, err)
		require.NotEmpty(t, host)
		require.NotEmpty(t, port)
		require.NotContains(t, endpoint, "@")
	}
	text, err := json.Marshal(spec)
	require.NoError(t, err)
	var back manifest.ServerSpec
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, spec, back, "the keeper remembers it as JSON")
}
