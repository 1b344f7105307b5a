package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// Manuals show how to patch the Deployment in a kustomization, as kustomize does it: by JSON patches (RFC 6902).
func TestPatchesInManualsFitTheInstallation(t *testing.T) {
	known := map[string]bool{}
	newAgent().Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
	applied := 0
	for _, m := range manuals(t) {
		for _, s := range m.sections {
			for _, b := range s.blocks {
				var kustomization struct {
					Patches []struct {
						Target struct{ Kind, Name string }
						Patch  string
					}
				}
				if b.kind != "yaml" || yaml.Unmarshal([]byte(b.text), &kustomization) != nil {
					continue
				}
				for _, p := range kustomization.Patches {
					if p.Target.Kind != "Deployment" {
						continue
					}
					applied++
					deployment := patched(t, []byte(readManual(t, "examples/install/deployment.yaml")), p.Patch)
					require.Equal(t, deployment.Name, p.Target.Name, "%s:%d", m.file, b.line)
					pod := deployment.Spec.Template.Spec
					volumes := map[string]bool{}
					for _, volume := range pod.Volumes {
						volumes[volume.Name] = true
					}
					for _, mount := range pod.Containers[0].VolumeMounts {
						require.True(t, volumes[mount.Name], "%s:%d: there is no volume %s to mount", m.file, b.line, mount.Name)
					}
					for _, arg := range pod.Containers[0].Args[1:] {
						flag, _, _ := strings.Cut(arg, "=")
						require.True(t, known[flag], "%s:%d: %s", m.file, b.line, arg)
					}
				}
			}
		}
	}
	require.GreaterOrEqual(t, applied, 3, "webhooks, signed statuses and guardrails")
}

// patched applies a patch in YAML. What comes out is a Deployment and has no field that Deployments do not have.
func patched(t *testing.T, object []byte, patch string) (deployment appsv1.Deployment) {
	t.Helper()
	before, err := yaml.YAMLToJSON(object)
	require.NoError(t, err)
	operations, err := yaml.YAMLToJSON([]byte(patch))
	require.NoError(t, err)
	decoded, err := jsonpatch.DecodePatch(operations)
	require.NoError(t, err)
	after, err := decoded.Apply(before)
	require.NoError(t, err)
	require.NoError(t, yaml.UnmarshalStrict(after, &deployment))
	return deployment
}
