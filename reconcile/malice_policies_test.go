package reconcile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
)

// called is a RotationPolicy with a name and a spec in YAML's flow style.
func called(name, spec string) string {
	return strings.Replace(policy(spec), "production", name, 1)
}

func TestNoPolicyGetsPastOneThatAsksForApproval(t *testing.T) {
	s := newSigned(t)
	b := besiege(s.stage, reconcile.Options{ApprovalSigners: s.signers})
	b.repo.Commit(map[string]string{policyFile: policy(twoSignatures), "rotations/dev.yaml": called("dev", "{databases: [{namespace: dev}], approval: {mode: Merge}}")}, "Ask for signatures")
	b.round(b.Controller)
	b.world.created = b.world.now.Add(-40 * day)
	for _, attempt := range []struct{ story, name, spec string }{
		{"a more specific one that comes with the request", "mine", "{databases: [{namespace: demo, name: db}], approval: {mode: Merge}}"},
		{"one whose schedule is approval enough", "mine", "{databases: [{namespace: d*o}], schedule: {every: 1h}}"},
		{"one that was about other databases before", "dev", "{databases: [{namespace: dev}, {namespace: demo}], approval: {mode: Merge}}"},
	} {
		t.Run(attempt.story, func(t *testing.T) {
			file, commit := "rotations/"+attempt.name+".yaml", ""
			b.harmless(t, func() {
				commit = s.by(s.dana, map[string]string{file: called(attempt.name, attempt.spec), "rotations/r.yaml": request("r")}, "Both at once")
			})
			require.Empty(t, b.scheduledFiles())
			require.Equal(t, reconcile.PhaseWaitingForApproval, b.stage.status(b.repo, "r").Phase)
			require.Contains(t, b.said(t), fmt.Sprintf(`PolicyNotApproved %s:1: the RotationPolicy %s was changed, and the change is not in force: %s: needs 2 signatures and has 0; that of dana@example.com on commit %s does not count: it is the author's own; to approve, push a signed commit with the trailer "Approves: %s@%s"; what was in force before is still in force`,
				file, attempt.name, file, commit[:12], file, b.repo.Blob(file)))
		})
	}
	t.Run("nor does a request whose manifest goes away while it waits", func(t *testing.T) {
		b.harmless(t, func() { b.repo.Delete("Nobody can judge it now", "rotations/r.yaml") })
		status := b.stage.status(b.repo, "r")
		require.Equal(t, reconcile.PhaseSkipped, status.Phase)
		require.Equal(t, reconcile.ReasonWithdrawn, status.Conditions[len(status.Conditions)-1].Reason)
		require.Equal(t, "the manifest was removed before the request began", status.Conditions[len(status.Conditions)-1].Message)
	})
	t.Run("and one that is about none of its databases needs nobody's word", func(t *testing.T) {
		s.by(s.dana, map[string]string{policyFile: policy("{databases: [{namespace: demo}], approval: {mode: Signatures, count: 2}}")}, "Only for demo")
		s.by(s.erin, nil, s.approves(policyFile))
		s.by(s.frank, nil, s.approves(policyFile))
		b.round(b.Controller)
		b.repo.Delete("Away with it", "rotations/mine.yaml", "rotations/dev.yaml")
		b.repo.Commit(map[string]string{"rotations/test.yaml": called("test", "{databases: [{namespace: test}], limits: {maxConcurrent: 1}}")}, "Another team")
		b.round(b.Controller)
		require.NotContains(t, b.repo.Files(), "status/problems.yaml")
	})
	t.Run("and a record of the policies in force that somebody has changed is put right", func(t *testing.T) {
		record := b.repo.Show("status/policies.yaml")
		b.repo.Commit(map[string]string{"status/policies.yaml": strings.Replace(record, "Signatures", "Merge", 1)}, "Forge it")
		b.round(b.Controller)
		require.Equal(t, record, b.repo.Show("status/policies.yaml"))
		require.Zero(t, s.rotated())
	})
}

func TestATeamsPolicyStopsNobodyElse(t *testing.T) {
	b := besiege(newStage(t), reconcile.Options{Guardrails: func() guardrails.Guardrails { return tenancy }})
	b.repo.Commit(map[string]string{
		"rotations/policies/p.yaml":   policy("{consumers: {restart: true}}"),
		"rotations/team-a/all.yaml":   called("all", "{maintenance: {freezes: [{from: 2026-01-01T00:00:00Z, until: 2027-01-01T00:00:00Z, reason: mine}]}}"),
		"rotations/team-a/glob.yaml":  called("glob", "{databases: [{namespace: 'team-a*'}], limits: {maxConcurrent: 1}}"),
		"rotations/team-a/open.yaml":  called("open", "{databases: [{namespace: 5}], limits: {maxConcurrent: 1}}"),
		"rotations/team-a/twice.yaml": called("twice", "{databases: [{namespace: team-a}], limits: {maxConcurrent: 1}, limits: {maxConcurrent: 2}}"),
		"rotations/team-a/name.yaml":  called("production", "{databases: [{namespace: team-a}], limits: {maxConcurrent: 1}}"),
		"rotations/team-a/one.yaml":   called("same", "{databases: [{namespace: team-a-1}], limits: {maxConcurrent: 1}}"),
		"rotations/team-a/other.yaml": called("same", "{databases: [{namespace: team-a-2}], limits: {maxConcurrent: 1}}"),
		"rotations/team-a/large.yaml": called("large", "{databases: [{namespace: team-a}], limits: {maxConcurrent: 1}}") + strings.Repeat("#", 1<<20),
	}, "Stop everybody")
	b.serves(t)
	require.True(t, b.stage.status(b.repo, "honest-x").Has(reconcile.TypeConsumersRestarted), "the policy whose name was taken is followed")
	said := b.said(t)
	for _, expected := range []string{
		`ForeignNamespace rotations/team-a/all.yaml:1: the RotationPolicy all is not followed: files in "rotations/team-a" may be about the namespaces team-a, team-a-*, and not about "*"` + moveFolder,
		`ForeignNamespace rotations/team-a/glob.yaml:4: the RotationPolicy glob is not followed: files in "rotations/team-a" may be about the namespaces team-a, team-a-*, and not about "team-a*"` + moveFolder,
		"InvalidField rotations/team-a/open.yaml:4: spec.databases[0].namespace is a number and not a string; put it in quotes",
		"DuplicateKey rotations/team-a/twice.yaml:4: this key is here a second time, after line 4, and programs differ in which one they take; keep one of them",
		"DuplicateName rotations/team-a/one.yaml:1: there is another RotationPolicy named same at rotations/team-a/other.yaml:1; rename or remove one of them",
		"DuplicateName rotations/team-a/other.yaml:1: there is another RotationPolicy named same at rotations/team-a/one.yaml:1; rename or remove one of them",
		"UnreadableFile rotations/team-a/large.yaml: the file was not read: it has more than 1048576 bytes: split it",
	} {
		require.Contains(t, said, expected)
	}
	require.NotContains(t, fmt.Sprint(said), "named production")

	t.Run("but its own team, which cannot know what was meant", func(t *testing.T) {
		b.repo.Commit(map[string]string{"rotations/team-a/r.yaml": asks("r", "team-a", db)}, "Rotate")
		b.round(b.Controller)
		require.Contains(t, b.said(t), "UnusablePolicy rotations/team-a/open.yaml:4: the RotationPolicy open, which may be about MSSQLServer team-a/db, cannot be used: spec.databases[0].namespace is a number and not a string; put it in quotes")
	})
}

func TestAbsurdPoliciesAreRefusedOrHarmless(t *testing.T) {
	b := besiege(newStage(t), reconcile.Options{Guardrails: func() guardrails.Guardrails { return tenancy }})
	about := func(name, spec string) string {
		return called(name, "{databases: [{namespace: team-a, name: '*-"+name+"'}], "+spec+"}")
	}
	files := map[string]string{}
	for name, spec := range map[string]string{
		"jitter":  "schedule: {every: 30d, jitter: 1000000h}",
		"every":   "schedule: {every: 65535w}",
		"never":   "schedule: {cron: '0 0 31 2 *', jitter: 3650d}",
		"minute":  "schedule: {cron: '* * * * *', jitter: 3650d}",
		"long":    "schedule: {cron: '" + strings.Repeat("1,", 100_000) + "1 * * * *'}",
		"wrong":   "schedule: {cron: '99 99 99 99 99'}",
		"window":  "maintenance: {windows: [{start: '99:99', end: '24:00'}]}",
		"before":  "maintenance: {freezes: [{from: -0001-01-01T00:00:00Z, until: 9999-12-31T23:59:59Z, reason: x}]}",
		"after":   "maintenance: {freezes: [{from: 2026-01-01T00:00:00Z, until: 10000-01-01T00:00:00Z, reason: x}]}",
		"ages":    "maintenance: {freezes: [{from: 0000-01-01T00:00:00Z, until: 9999-12-31T23:59:59Z, reason: x}]}",
		"backlog": "limits: {maxConcurrent: 99999999999999999999}",
	} {
		files["rotations/team-a/"+name+".yaml"] = about(name, spec)
		files["rotations/team-a/"+name+"-r.yaml"] = asks(name, "team-a", "databaseRef: {name: db-"+name+"}")
	}
	entries := strings.Repeat(`{namespace: team-a, name: "*a*a*a*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab*"},`, 10_000)
	files["rotations/team-a/slow.yaml"] = called("slow", "{databases: ["+entries+"], limits: {maxConcurrent: 1}}")
	files["rotations/team-a/slow-r.yaml"] = asks("slow", "team-a", "databaseRef: {name: "+strings.Repeat("a", 240)+"}")
	began := time.Now()
	b.harmless(t, func() { b.repo.Commit(files, "Be absurd") })
	b.serves(t)
	require.Less(t, time.Since(began), 5*time.Minute, "however slow the machine is")
	said := b.said(t)
	for _, expected := range []string{
		"InvalidField rotations/team-a/jitter.yaml:4: spec.schedule.jitter is not a time span above zero; write it with its unit, such as 90m, 12h, 30d or 2w",
		"InvalidField rotations/team-a/every.yaml:4: spec.schedule.every is not a time span above zero; write it with its unit, such as 90m, 12h, 30d or 2w",
		`InvalidField rotations/team-a/window.yaml:4: spec.maintenance.windows[0].start "99:99" is no time of day; write hours and minutes in quotes, from "00:00" to "23:59"`,
		"InvalidField rotations/team-a/before.yaml:4: spec.maintenance.freezes[0].from is not a point in time; write it as 2026-12-20T00:00:00Z, or with an offset in place of the Z",
		"InvalidField rotations/team-a/after.yaml:4: spec.maintenance.freezes[0].until is not a point in time; write it as 2026-12-20T00:00:00Z, or with an offset in place of the Z",
		"InvalidField rotations/team-a/backlog.yaml:4: spec.limits.maxConcurrent is not a whole number from 1 up; write it without quotes",
		"NeverOpens rotations/team-a/ages-r.yaml:1: frozen until 9999-12-31T23:59:59Z: x; no rotation may begin within 400d",
	} {
		require.Contains(t, said, expected)
	}
	for _, harmless := range []string{"never", "minute", "long", "wrong", "slow"} {
		status, err := reconcile.ParseStatus([]byte(b.repo.Show("status/team-a/" + harmless + ".yaml")))
		require.NoError(t, err)
		require.Equal(t, reconcile.PhaseFailed, status.Phase, "there is no such database")
	}
}

func TestGuardrailsThatChangeInTheMiddleOfAReadingCountBeforeAnythingBegins(t *testing.T) {
	strict := guardrails.Guardrails{Approval: approval.Rule{Mode: approval.Signatures, Count: 2}}
	for change := 1; ; change++ {
		s := newSigned(t)
		s.repo.Commit(map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
		asked := 0
		c := s.controller(reconcile.Options{ApprovalSigners: s.signers, Guardrails: func() guardrails.Guardrails {
			if asked++; asked < change {
				return guardrails.Guardrails{}
			}
			return strict
		}}, schedule{}.at)
		require.NoError(t, c.Poll(t.Context()))
		require.NoError(t, c.Recover(t.Context()))
		require.NoError(t, c.Survey(t.Context()))
		changed := asked >= change
		c.Advance(t.Context())
		c.Wait()
		if !changed {
			return
		}
		require.Zero(t, s.rotated(), "they were strict from the %d. look on", change)
	}
}
