package reconcile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
)

// ended is the status of a request that has ended, as the engine leaves it.
func ended(phase Phase, kind, message string) Status {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := Status{
		Request: Request{
			Namespace: "demo", Name: "r", ID: "0123456789abcdef0123456789abcdef", Database: "db", SecretRef: "user", Timeout: 5 * time.Minute, MaxRetries: 2, Always: true,
			Manifest: map[string]any{
				"apiVersion": "ops.kubedb.com/v1alpha1", "kind": "MSSQLServerOpsRequest",
				"metadata": map[string]any{"name": "r", "namespace": "demo", "annotations": map[string]any{"ticket": "DBA-17"}},
				"spec": map[string]any{
					"type": "RotateAuth", "databaseRef": map[string]any{"name": "db"}, "timeout": "5m", "apply": "Always", "maxRetries": int64(2),
					"authentication": map[string]any{"secretRef": map[string]any{"name": "user"}},
				},
			},
			Source: Source{Commit: "c0ffee", Author: "Dana <dana@example.com>", Path: "rotations/r.yaml", Line: 3},
		},
	}
	s.Phase = phase
	s.set(condition(TypeRotateAuth, "started"), at)
	s.set(condition(kind, message), at.Add(90*time.Second))
	return s
}

func TestAStatusFileIsTheRequestWithItsStatus(t *testing.T) {
	content, err := marshalStatus(ended(PhaseSuccessful, TypeSuccessful, "Successfully completed mssqlserver auth rotate"))
	require.NoError(t, err)
	require.Equal(t, `# Written by gitrota: the request and how it went. Do not edit or apply it.
apiVersion: ops.kubedb.com/v1alpha1
kind: MSSQLServerOpsRequest
metadata:
  annotations:
    gitrota.dev/rotation-id: 0123456789abcdef0123456789abcdef
    gitrota.dev/source-author: Dana <dana@example.com>
    gitrota.dev/source-commit: c0ffee
    gitrota.dev/source-path: rotations/r.yaml:3
    ticket: DBA-17
  name: r
  namespace: demo
spec:
  apply: Always
  authentication:
    secretRef:
      name: user
  databaseRef:
    name: db
  maxRetries: 2
  timeout: 5m
  type: RotateAuth
status:
  conditions:
  - lastTransitionTime: "2026-11-23T12:00:00Z"
    message: started
    observedGeneration: 1
    reason: RotateAuth
    status: "True"
    type: RotateAuth
  - lastTransitionTime: "2026-11-23T12:01:30Z"
    message: Successfully completed mssqlserver auth rotate
    observedGeneration: 1
    reason: Successful
    status: "True"
    type: Successful
  observedGeneration: 1
  phase: Successful
`, string(content))

	back, err := ParseStatus(content)
	require.NoError(t, err)
	again, err := marshalStatus(back)
	require.NoError(t, err)
	require.Equal(t, string(content), string(again), "writing what was read changes nothing")
	require.Equal(t, "user", back.Request.SecretRef)
	require.Equal(t, 5*time.Minute, back.Request.Timeout)
	require.Equal(t, 2, back.Request.MaxRetries)
	require.True(t, back.Request.Always)
	require.Equal(t, Source{Commit: "c0ffee", Author: "Dana <dana@example.com>", Path: "rotations/r.yaml", Line: 3}, back.Request.Source)
}

func TestACommitSaysWhatHappenedInWordsAndTrailers(t *testing.T) {
	s := ended(PhaseSuccessful, TypeSuccessful, "done")
	all := map[string]Status{s.Request.Key(): s}
	change, err := commit(&gitsource.Snapshot{}, "rotation-status", []Status{s}, all, reports{})
	require.NoError(t, err)
	require.Equal(t, "rotate demo/db: Successful", change.Subject)
	require.Equal(t, "Request demo/r has rotated the credential of demo/db in 1m30s.", change.Body)
	require.Equal(t, []gitsource.Trailer{
		{Key: "Rotation-Request", Value: "demo/r"}, {Key: "Rotation-Id", Value: "0123456789abcdef0123456789abcdef"},
		{Key: "Rotation-Phase", Value: "Successful"}, {Key: "Rotation-Source", Value: "c0ffee"}, {Key: "Rotation-Merge", Value: ""}, {Key: "Rotation-Signer"},
	}, change.Trailers)
	require.Contains(t, string(change.Files["rotation-status/README.md"]), "| demo/db | 2026-11-23T12:01:30Z | - | [r](demo/r.yaml) | Successful |")

	failed := ended(PhaseFailed, TypeFailed, "rotations/q.yaml:1: there is no MSSQLServer demo/db2; check")
	failed.Request.Name, failed.Request.Database = "q", "db2"
	change, err = commit(&gitsource.Snapshot{}, "rotation-status", []Status{failed, s}, all, reports{})
	require.NoError(t, err)
	require.Equal(t, "rotate 2 requests: 1 Successful, 1 Failed", change.Subject)
	require.Len(t, change.Trailers, 12)
}

func TestWhatGitHasIsNotWrittenAgainAndNeverGoesBackwards(t *testing.T) {
	s := ended(PhaseSuccessful, TypeSuccessful, "done")
	all := map[string]Status{s.Request.Key(): s}
	first, err := commit(&gitsource.Snapshot{}, "rotation-status", []Status{s}, all, reports{})
	require.NoError(t, err)
	var tip gitsource.Snapshot
	for _, path := range []string{"rotation-status/README.md", "rotation-status/demo/r.yaml"} {
		tip.Files = append(tip.Files, gitsource.File{Path: path, Content: first.Files[path]})
	}

	again, err := commit(&tip, "rotation-status", []Status{s}, all, reports{})
	require.NoError(t, err)
	require.Nil(t, again)

	running := s.clone()
	running.Phase, running.Conditions = PhaseProgressing, running.Conditions[:1]
	again, err = commit(&tip, "rotation-status", []Status{running}, all, reports{})
	require.NoError(t, err)
	require.Nil(t, again, "it has ended already")
}

func TestWhatLostItsDetailsInAFullJournalDoesNotReplaceThemInGit(t *testing.T) {
	whole := endedAs("r", time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), "")
	content, err := marshalStatus(whole)
	require.NoError(t, err)
	inGit := &gitsource.Snapshot{Files: []gitsource.File{{Path: "rotation-status/demo/r.yaml", Content: content}}}
	short := Ended{Status: whole}.shortened().Status

	change, err := commit(inGit, "rotation-status", []Status{short}, nil, reports{})
	require.NoError(t, err)
	require.Nil(t, change, "the push of the whole one had landed after all")
	change, err = commit(&gitsource.Snapshot{}, "rotation-status", []Status{short}, nil, reports{})
	require.NoError(t, err)
	require.Contains(t, string(change.Files["rotation-status/demo/r.yaml"]), "no room for the details")
}

func TestTheStatusOfAManifestWithAnythingAnywhereIsReadBack(t *testing.T) {
	s := ended(PhaseDenied, TypeDenied, "rotations/r.yaml:9: spec.timeout is not a duration")
	s.Request.ID = ""
	s.Request.Manifest = map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{"a": 1, "gitrota.dev/server": []any{"x"}}, "labels": "none"},
		"spec":     map[string]any{"timeout": 5, "maxRetries": "many", "apply": []any{}, "databaseRef": "db", "authentication": 1},
	}
	content, err := marshalStatus(s)
	require.NoError(t, err)
	back, err := ParseStatus(content)
	require.NoError(t, err)
	require.Equal(t, PhaseDenied, back.Phase)
	require.Equal(t, "demo/r", back.Request.Key())
	again, err := marshalStatus(back)
	require.NoError(t, err)
	require.Equal(t, string(content), string(again))

	s.Request.Manifest = map[string]any{"spec": "none"}
	content, err = marshalStatus(s)
	require.NoError(t, err)
	_, err = ParseStatus(content)
	require.NoError(t, err)
}

func TestWhatAnAuthorWritesUnderGitrotasNamesIsNotInTheStatus(t *testing.T) {
	s := ended(PhaseDenied, TypeDenied, "no")
	s.Request.ID = ""
	s.Request.Manifest = map[string]any{"metadata": map[string]any{"annotations": map[string]any{
		"ticket": "DBA-17", "gitrota.dev/rotation-id": "forged", "gitrota.dev/source-signer": "the boss", "gitrota.dev/server": `{"endpoints":["evil.example.com"]}`,
	}}}
	content, err := marshalStatus(s)
	require.NoError(t, err)
	require.NotContains(t, string(content), "forged")
	require.NotContains(t, string(content), "the boss")
	require.NotContains(t, string(content), "evil.example.com")
	require.Contains(t, string(content), "ticket: DBA-17")
	back, err := ParseStatus(content)
	require.NoError(t, err)
	require.Empty(t, back.Request.ID)
	require.Nil(t, back.Request.Server)
	require.Len(t, s.Request.Manifest["metadata"].(map[string]any)["annotations"], 4, "the manifest itself is left as it is")
}

func TestTheStatusOfARollbackSaysWhatItUndoes(t *testing.T) {
	s := ended(PhaseSuccessful, TypeSuccessful, "done")
	s.Request.Kind = "RotationRollback"
	s.Request.Manifest = map[string]any{"kind": "RotationRollback", "spec": map[string]any{"databaseRef": map[string]any{"name": "db"}, "rotationId": "0ecb"}}
	content, err := marshalStatus(s)
	require.NoError(t, err)
	back, err := ParseStatus(content)
	require.NoError(t, err)
	require.Equal(t, "RotationRollback", back.Request.Kind)
	require.Equal(t, "0ecb", back.Request.Undo)
}

func TestAPathWithAColonIsReadBackFromAStatusFile(t *testing.T) {
	s := ended(PhaseSuccessful, TypeSuccessful, "done")
	s.Request.Source.Path = "rotations/at 12:30/r.yaml"
	content, err := marshalStatus(s)
	require.NoError(t, err)
	back, err := ParseStatus(content)
	require.NoError(t, err)
	require.Equal(t, s.Request.Source.Path, back.Request.Source.Path)
	require.Equal(t, 3, back.Request.Source.Line)
}

func TestProblemsOfManifestsComeAndGo(t *testing.T) {
	problems := []manifest.Problem{{Path: "rotations/x.yaml", Line: 7, Reason: manifest.ReasonInvalidYAML, Message: "a tab", Hint: "use spaces"}}
	change, err := commit(&gitsource.Snapshot{}, "rotation-status", nil, nil, reports{problems: problems})
	require.NoError(t, err)
	require.Equal(t, "report 1 problem in the manifests", change.Subject)
	content := change.Files["rotation-status/problems.yaml"]
	require.Contains(t, string(content), "where: rotations/x.yaml:7")
	require.Contains(t, string(content), "hint: use spaces")

	tip := gitsource.Snapshot{Files: []gitsource.File{{Path: "rotation-status/problems.yaml", Content: content}}}
	change, err = commit(&tip, "rotation-status", nil, nil, reports{problems: problems})
	require.NoError(t, err)
	require.Nil(t, change)
	change, err = commit(&tip, "rotation-status", nil, nil, reports{})
	require.NoError(t, err)
	require.Equal(t, "report that the manifests have no problems left", change.Subject)
	deleted, ok := change.Files["rotation-status/problems.yaml"]
	require.True(t, ok)
	require.Nil(t, deleted)
}
