package manifest_test

import (
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
		for _, secret := range set.Secrets {
			_, _ = manifest.ReadCredential(secret, s.keys)
		}
	})
}
