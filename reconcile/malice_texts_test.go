package reconcile_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
)

// trap is a text that breaks out of quotes, lines, tables and links, and that a terminal would obey.
const trap = `x\n\nApproved-By: mallory\nApproves: rotations/r.yaml@1\n\n| a | b |\n|---|---|\n[c](javascript:alert(1)) <script>'\"` + "`" + `\e[31m\u202e`

// forged matches what a reader, git or a terminal would obey.
var forged = regexp.MustCompile(`(?m)^(Approved-By|Approves):|\x1b`)

// requireHarmless looks at all that gitrota has written.
func (b *besieged) requireHarmless(t *testing.T) {
	t.Helper()
	for _, entry := range b.repo.Log() {
		if entry.Author == "gitrota" {
			require.NotRegexp(t, forged, entry.Message)
			require.NotContains(t, entry.Trailers, "Approved-By")
			require.NotContains(t, entry.Trailers, "Approves")
		}
	}
	for _, file := range b.repo.Files() {
		if strings.HasPrefix(file, "status/") {
			require.NotContains(t, b.repo.Show(file), "\x1b", file)
		}
	}
}

const overviewHead = "# Rotations\n\nWritten by gitrota. Each database with its last successful rotation, its latest request, and when its schedule asked for the next one.\n\n" +
	"| Database | Last rotation | Next due | Latest request | Phase |\n|---|---|---|---|---|\n"

func TestWhatSomebodyWritesForgesNoApprovalAndBreaksNoTable(t *testing.T) {
	b := besiege(newStage(t), reconcile.Options{Guardrails: func() guardrails.Guardrails { return tenancy }})
	long := strings.Repeat("a", 300)
	b.harmless(t, func() {
		b.repo.As("Mallory\nApproved-By: dana\x1b[31m | `x` <\"b\">", "m@example.com\nApproved-By: dana").Commit(map[string]string{
			"rotations/demo/database.yaml":     asks("database", "demo", `databaseRef: {name: "`+trap+`"}`),
			"rotations/demo/name.yaml":         asks(`"`+trap+`"`, "demo", db),
			"rotations/demo/long.yaml":         asks(long, "demo", db),
			"rotations/demo/longer.yaml":       asks("longer", "demo", "databaseRef: {name: "+long+"}"),
			"rotations/demo/type.yaml":         strings.Replace(asks("type", "demo", db), "RotateAuth", `"`+trap+`"`, 1),
			"rotations/demo/field.yaml":        asks("field", "demo", db+`, "`+trap+`": 1`),
			"rotations/demo/kind.yaml":         "apiVersion: gitrota.dev/v1alpha1\nkind: \"" + trap + "\"\n",
			"rotations/demo/'\"[a](b)|`<.yaml": asks("file", "demo", "databaseRef: {name: none}"),
			"rotations/demo/by.yaml":           called("by", `{databases: [{namespace: demo, name: x}], approval: {mode: Reviews, by: ["`+trap+`"]}}`),
			"rotations/demo/freeze.yaml":       called("freeze", `{databases: [{namespace: demo, name: frozen}], maintenance: {freezes: [{from: 2026-01-01T00:00:00Z, until: 2027-01-01T00:00:00Z, reason: "`+trap+`"}]}}`),
			"rotations/demo/frozen.yaml":       asks("frozen", "demo", "databaseRef: {name: frozen}"),
		}, "x\n\nApproved-By: mallory\nApproves: rotations/demo/database.yaml@1")
	})
	b.requireHarmless(t)
	require.Equal(t, overviewHead+
		"| demo/db | never | - | [field](demo/field.yaml) | Denied |\n"+
		"| demo/frozen | never | - | [frozen](demo/frozen.yaml) | Pending |\n"+
		"| demo/none | never | - | [file](demo/file.yaml) | Failed |", b.repo.Show("status/README.md"))
	require.Contains(t, b.said(t), "Frozen rotations/demo/frozen.yaml:1: frozen until 2027-01-01T00:00:00Z: x Approved-By: mallory Approves: rotations/r.yaml@1 | a | b | |---|---| [c](javascript:alert(1)) <script>'\"` [31m\u202e")

	t.Run("nor do labels and annotations, under gitrota's own names too", func(t *testing.T) {
		b.repo.Commit(map[string]string{"rotations/demo/own.yaml": strings.Replace(request("own"), "namespace: demo",
			`namespace: demo, labels: {team: "`+trap+`"}, annotations: {gitrota.dev/approved-by: mallory, gitrota.dev/rotation-id: "1", gitrota.dev/source-signer: mallory, note: "`+trap+`"}`, 1)}, "Rotate")
		b.round(b.Controller)
		status := b.stage.status(b.repo, "own")
		require.Equal(t, reconcile.PhaseSuccessful, status.Phase)
		require.Empty(t, status.Request.ApprovedBy)
		require.Empty(t, status.Request.Source.Signer)
		require.Len(t, status.Request.ID, 32)
		b.requireHarmless(t)
	})
	t.Run("nor does a commit that only reports", func(t *testing.T) {
		b.repo.Commit(map[string]string{"rotations/demo/last.yaml": "apiVersion: gitrota.dev/v1alpha1\nkind: \"" + trap + "2\"\n"}, "Report it")
		b.round(b.Controller)
		require.Regexp(t, "^report [0-9]+ problems in the manifests$", b.repo.Log()[0].Subject)
		b.requireHarmless(t)
	})
	t.Run("nor does a commit that git itself would not make", func(t *testing.T) {
		head := b.repo.Commit(map[string]string{"rotations/demo/odd.yaml": request("odd")}, "Rotate")
		author := regexp.MustCompile(`(?m)^author .*$`).ReplaceAllString(b.repo.Raw(head), "author x\nApproved-By: mallory <m@example.com> 1764000000 +0000")
		b.repo.Point(b.repo.Store([]byte(author)))
		b.round(b.Controller)
		require.Equal(t, reconcile.PhaseSuccessful, b.stage.status(b.repo, "odd").Phase)
		require.Empty(t, b.stage.status(b.repo, "odd").Request.ApprovedBy)
		b.requireHarmless(t)
	})
	b.serves(t)
}

func TestAForgedStatusIsNothingToActOnAndKeepsNothingFromGit(t *testing.T) {
	b := besiege(newStage(t), reconcile.Options{})
	asIfWritten := func(name, metadata, database, status string) string {
		return "apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata: {name: \"" + name + "\", " + metadata + "}\nspec: {type: RotateAuth, databaseRef: {name: \"" + database + "\"}}\nstatus: " + status + "\n"
	}
	const pending, failed = "{phase: Pending}", "{phase: Failed, conditions: [{type: Failed, status: 'True', message: x, lastTransitionTime: 2026-01-01T00:00:00Z}]}"
	b.harmless(t, func() {
		b.repo.Commit(map[string]string{
			"status/demo/out.yaml":   asIfWritten("out", "namespace: ../rotations, annotations: {gitrota.dev/rotation-id: '1'}", "db", pending),
			"status/demo/up.yaml":    asIfWritten("../../rotations/up", "namespace: demo, annotations: {gitrota.dev/rotation-id: '1'}", "db", pending),
			"status/demo/other.yaml": asIfWritten("another", "namespace: demo, annotations: {gitrota.dev/rotation-id: '1'}", "db", pending),
			"status/demo/none.yaml":  "not a status",
			"status/demo/list.yaml":  "[]",
			"status/demo/evil.yaml":  asIfWritten("evil", "namespace: demo", "x|y](javascript:alert(1))", failed),
			"status/README.md":       "# Ours\n",
			"status/problems.yaml":   "problems: [",
		}, "Forge it")
	})
	b.serves(t)
	require.Equal(t, overviewHead+"| demo/db | 2026-11-23T12:00:00Z | - | [honest-x](demo/honest-x.yaml) | Successful |", b.repo.Show("status/README.md"))
	require.NotContains(t, b.repo.Files(), "status/problems.yaml")
	require.NotContains(t, b.repo.Files(), "rotations/out.yaml")
	require.NotContains(t, b.repo.Files(), "rotations/up.yaml")
}
