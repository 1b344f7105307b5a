package manifest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

const rollback = `apiVersion: gitrota.dev/v1alpha1
kind: RotationRollback
metadata:
  name: legacy-rollback
  namespace: shop
spec:
  databaseRef:
    name: legacy
  rotationId: "0ecbb2dac1b00f5312cb35ee0191738c"
`

func TestRollback(t *testing.T) {
	t.Run("it is a request like any other", func(t *testing.T) {
		r := one(t, rollback+"  timeout: 90s\n  apply: Always\n  maxRetries: 3\n")
		ninety := 90 * time.Second
		require.Equal(t, manifest.KindRollback, r.Kind)
		require.Equal(t, manifest.Spec{
			DatabaseRef: manifest.DatabaseRef{Name: "legacy"}, RotationID: "0ecbb2dac1b00f5312cb35ee0191738c",
			Timeout: &ninety, Apply: manifest.ApplyAlways, MaxRetries: 3,
		}, r.Spec)
		require.Equal(t, manifest.KindRequest, one(t, generated).Kind)
	})

	t.Run("it undoes whatever came last when it does not say what", func(t *testing.T) {
		r := one(t, strings.Replace(rollback, "  rotationId: \"0ecbb2dac1b00f5312cb35ee0191738c\"\n", "", 1))
		require.Empty(t, r.Spec.RotationID)
		require.Equal(t, manifest.ApplyIfReady, r.Spec.Apply)
		require.Equal(t, 1, r.Spec.MaxRetries)
	})

	t.Run("it is printed again as it was written", func(t *testing.T) {
		text, err := json.Marshal(one(t, rollback).Raw)
		require.NoError(t, err)
		require.JSONEq(t, `{
			"apiVersion": "gitrota.dev/v1alpha1", "kind": "RotationRollback",
			"metadata": {"name": "legacy-rollback", "namespace": "shop"},
			"spec": {"databaseRef": {"name": "legacy"}, "rotationId": "0ecbb2dac1b00f5312cb35ee0191738c"}
		}`, string(text))
	})
}

func TestRotationIDOfARollback(t *testing.T) {
	id := one(t, rollback).ID

	t.Run("it never changes between versions of gitrota", func(t *testing.T) {
		require.Equal(t, "342ad66113e316b9a7b123af47d8bbb8", id)
	})
	for story, same := range map[string]string{
		"defaults that are written out do not change it":      rollback + "  apply: IfReady\n  maxRetries: 1\n",
		"comments, labels and annotations do not change it":   "# please\n" + strings.Replace(rollback, "  name: l", "  labels: {a: b}\n  name: l", 1),
		"another way to write the id to undo does not change": strings.ReplaceAll(rollback, `"`, ""),
		"a status that was copied along does not change it":   rollback + "status: {phase: Successful}\n",
	} {
		t.Run(story, func(t *testing.T) { require.Equal(t, id, one(t, same).ID) })
	}
	for story, other := range map[string]string{
		"another name is another rollback":          strings.Replace(rollback, "legacy-rollback", "again", 1),
		"another rotation to undo is another":       strings.Replace(rollback, "0ecb", "1ecb", 1),
		"whatever came last is another":             strings.Replace(rollback, "  rotationId: \"0ecbb2dac1b00f5312cb35ee0191738c\"\n", "", 1),
		"another timeout is another rollback":       rollback + "  timeout: 1m\n",
		"a request of the same name is no rollback": strings.NewReplacer("gitrota.dev", "ops.kubedb.com", "RotationRollback", "MSSQLServerOpsRequest", "spec:", "spec:\n  type: RotateAuth", "  rotationId: \"0ecbb2dac1b00f5312cb35ee0191738c\"\n", "").Replace(rollback),
	} {
		t.Run(story, func(t *testing.T) { require.NotEqual(t, id, one(t, other).ID) })
	}
	t.Run("one that is wrong has an id of its own", func(t *testing.T) {
		wrong := parse(rollback + "  type: RotateAuth\n").Requests[0]
		require.Regexp(t, `^[0-9a-f]{32}$`, wrong.ID)
		require.NotEqual(t, id, wrong.ID)
	})
}

func TestWrongRollbacks(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(rollback, old, new, 1) }
	for story, test := range map[string]struct{ content, want string }{
		"a mistyped field is named with what was meant": {with("rotationId", "rotationID"),
			`9: UnknownField: spec has no field "rotationID"; did you mean "rotationId"?`},
		"a rollback has no type": {rollback + "  type: RotateAuth\n",
			`10: UnknownField: spec has no field "type"; the fields here are databaseRef, rotationId, timeout, apply, maxRetries`},
		"a rollback brings no credential": {rollback + "  authentication: {}\n",
			`10: UnknownField: spec has no field "authentication"; the fields here are databaseRef, rotationId, timeout, apply, maxRetries`},
		"a spec is needed": {strings.Split(rollback, "spec:")[0],
			`1: MissingField: spec is missing; give spec.databaseRef.name`},
		"a database is needed": {with("  databaseRef:\n    name: legacy\n", ""),
			`7: MissingField: spec.databaseRef.name is missing; name the database whose last rotation is to be undone`},
		"the start of an id is none": {with(`"0ecbb2dac1b00f5312cb35ee0191738c"`, "0ecbb2da"),
			`9: InvalidField: spec.rotationId is not a rotation id; copy the 32 hexadecimal digits of the annotation gitrota.dev/rotation-id from the status file of the rotation to undo`},
		"an id that looks like a number has to be in quotes": {with(`"0ecbb2dac1b00f5312cb35ee0191738c"`, "00000000000000000000000000001e12"),
			`9: InvalidField: spec.rotationId is a number and not a string; put it in quotes`},
		"a timeout needs a unit": {rollback + "  timeout: 5\n",
			`10: InvalidField: spec.timeout is not a duration above zero; write it with its unit, such as 90s, 5m or 1h30m`},
	} {
		t.Run(story, func(t *testing.T) {
			set := parse(test.content)
			require.Len(t, set.Requests, 1, "its name is known, so that it can have a status")
			require.Len(t, set.Requests[0].Problems, 1)
			require.Equal(t, "rotations/a.yaml:"+test.want, set.Requests[0].Problems[0].String())
		})
	}

	t.Run("a request and a rollback cannot have one name, for they would have one status file", func(t *testing.T) {
		twin := strings.NewReplacer("msops-rotate-auth-generated", "legacy-rollback", "demo", "shop").Replace(generated)
		set := manifest.Parse(map[string][]byte{"a.yaml": []byte(rollback), "b.yaml": []byte(twin)})
		require.Equal(t, "a.yaml:1: DuplicateName: there is a MSSQLServerOpsRequest named shop/legacy-rollback at b.yaml:1, and both would have one status file; rename or remove one of them",
			set.Requests[0].Problems[0].String())
		require.Equal(t, "b.yaml:1: DuplicateName: there is a RotationRollback named shop/legacy-rollback at a.yaml:1, and both would have one status file; rename or remove one of them",
			set.Requests[1].Problems[0].String())
	})
}
