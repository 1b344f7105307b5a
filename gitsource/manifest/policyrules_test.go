package manifest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/policies/pace"
	"github.com/gitrota/gitrota/policies/schedule"
	"github.com/gitrota/gitrota/policies/selection"
)

const wholePolicy = `apiVersion: gitrota.dev/v1alpha1
kind: RotationPolicy
metadata: {name: production}
spec:
  databases:
  - {namespace: "prod-*", name: "*", kind: MSSQLServer, labels: {tier: gold}}
  consumers: {restart: true, maxConcurrent: 2}
  approval: {mode: Signatures, count: 2, authorCounts: true, by: [alice@example.com, bob]}
  schedule: {every: 30d, jitter: 2h, onDue: PullRequest}
  maintenance:
    windows: [{days: [Mon, Tue], start: "22:00", end: "04:00", timeZone: Europe/Berlin}]
    freezes: [{from: 2026-12-20T00:00:00Z, until: 2027-01-03T01:00:00+01:00, reason: year end}]
  password: {length: 32, minLength: 16, classes: 4, exclude: "lI0O", reuse: 5, denyList: [password, company]}
  limits: {maxConcurrent: 2, maxPerNamespace: 1, afterFailure: Hold}
`

func TestAPolicyHasSections(t *testing.T) {
	t.Run("each of them is read", func(t *testing.T) {
		set := parse(wholePolicy)
		require.Empty(t, set.AllProblems())
		requireRecord(t, set.Policies[0])
		require.Equal(t, &manifest.Policy{
			Name: "production", Path: "rotations/a.yaml", Line: 1,
			Databases: []manifest.Databases{{Line: 6, Pattern: selection.Pattern{
				Kind: "MSSQLServer", Namespace: "prod-*", Name: "*", Labels: map[string]string{"tier": "gold"}}}},
			Consumers: &manifest.Consumers{MaxConcurrent: 2},
			Approval:  &approval.Rule{Mode: approval.Signatures, Count: 2, AuthorCounts: true, By: []string{"alice@example.com", "bob"}},
			Schedule:  &schedule.Rule{Every: 30 * 24 * time.Hour, Jitter: 2 * time.Hour, OnDue: schedule.PullRequest},
			Maintenance: &schedule.Maintenance{
				Windows: []schedule.Window{{Days: []time.Weekday{time.Monday, time.Tuesday}, Start: 22 * 60, End: 4 * 60, TimeZone: "Europe/Berlin"}},
				Freezes: []schedule.Freeze{{
					From: time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC), Until: time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC), Reason: "year end"}},
			},
			Password: &credential.Rules{Length: 32, MinLength: 16, Classes: 4, Exclude: "lI0O", Reuse: 5, DenyList: []string{"password", "company"}},
			Limits:   &pace.Limits{MaxConcurrent: 2, MaxPerNamespace: 1, AfterFailure: pace.Hold},
		}, set.Policies[0])
	})

	only := func(section string) string {
		return "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: production}\nspec:\n  " + section + "\n"
	}
	t.Run("one is enough, and what is left out in it has its default", func(t *testing.T) {
		for section, want := range map[string]manifest.Policy{
			"consumers: {restart: false}":                            {Consumers: &manifest.Consumers{}},
			"approval: {mode: Merge}":                                {Approval: &approval.Rule{Mode: approval.Merge}},
			"approval: {mode: Reviews}":                              {Approval: &approval.Rule{Mode: approval.Reviews, Count: 1}},
			`schedule: {cron: "0 3 * * 0", timeZone: Europe/Berlin}`: {Schedule: &schedule.Rule{Cron: "0 3 * * 0", TimeZone: "Europe/Berlin", OnDue: schedule.Commit}},
			"schedule: {every: 2w}":                                  {Schedule: &schedule.Rule{Every: 14 * 24 * time.Hour, OnDue: schedule.Commit}},
			"schedule: {every: 1h30m}":                               {Schedule: &schedule.Rule{Every: 90 * time.Minute, OnDue: schedule.Commit}},
			"maintenance: {}":                                        {Maintenance: &schedule.Maintenance{}},
			`maintenance: {windows: [{start: "00:00", end: 23:59}]}`: {Maintenance: &schedule.Maintenance{Windows: []schedule.Window{{End: 23*60 + 59}}}},
			"password: {}":                                           {Password: &credential.Rules{}},
			"limits: {maxPerNamespace: 1}":                           {Limits: &pace.Limits{MaxPerNamespace: 1, AfterFailure: pace.Continue}},
		} {
			set := parse(only(section))
			require.Empty(t, set.AllProblems(), section)
			want.Name, want.Path, want.Line = "production", "rotations/a.yaml", 1
			want.Databases = []manifest.Databases{{Pattern: selection.Pattern{Namespace: "*", Name: "*"}, Line: 1}}
			requireRecord(t, set.Policies[0])
			require.Equal(t, &want, set.Policies[0], section)
		}
	})

	const inFive = "rotations/a.yaml:5: InvalidField: "
	for story, test := range map[string]struct{ section, want string }{
		"a mistyped section is named with what was meant": {"aproval: {mode: Reviews}",
			`rotations/a.yaml:5: UnknownField: spec has no field "aproval"; did you mean "approval"?`},
		"labels are texts": {"databases: [{labels: {tier: 1}}]\n  limits: {}",
			inFive + `the label "tier" in spec.databases[0].labels is a number and not a string; put it in quotes`},
		"labels are what databases can have": {"databases: [{labels: {tier: \"a b\"}}]\n  limits: {}",
			inFive + `"tier: a b" in spec.databases[0].labels is not a label that databases can have; copy key and value from the labels of the database`},
		"no labels are a mistake": {"databases: [{labels: {}}]\n  limits: {}",
			inFive + `spec.databases[0].labels is empty; leave it out, or put something into it`},

		"an approval has a mode": {"approval: {count: 2}",
			"rotations/a.yaml:5: MissingField: spec.approval.mode is missing; use Merge, Signatures or Reviews"},
		"a mode that is none": {"approval: {mode: Review}", inFive + `spec.approval.mode is "Review"; use Merge, Signatures or Reviews`},
		"nobody is nobody's approval": {"approval: {mode: Reviews, count: 0}",
			inFive + "spec.approval.count is not a whole number from 1 up; write it without quotes"},
		"a merge is nobody's approval": {"approval: {mode: Merge, count: 1}",
			inFive + "spec.approval.count is about who approves, and in the mode Merge nobody is asked; leave it out, or use the mode Signatures or Reviews"},
		"authors do not review": {"approval: {mode: Reviews, authorCounts: true}",
			inFive + "spec.approval.authorCounts is about signatures, and nobody reviews a pull request of his own; leave it out"},
		"more approvals than people": {"approval: {mode: Reviews, count: 2, by: [alice]}",
			inFive + "spec.approval.count is 2 and spec.approval.by names 1, so nothing could ever be approved; name more, or ask for fewer"},
		"somebody who is named twice is one": {"approval: {mode: Reviews, by: [alice, alice]}",
			inFive + `spec.approval.by has "alice" twice; keep one of them`},

		"a schedule says when": {"schedule: {jitter: 1h}",
			"rotations/a.yaml:5: MissingField: spec.schedule does not say when; give one of every and cron"},
		"a schedule says so once": {`schedule: {every: 1d, cron: "0 3 * * 0"}`,
			inFive + "spec.schedule.every and spec.schedule.cron are both there, and only one can say when; keep one of them"},
		"a number has a unit":       {"schedule: {every: 30}", inFive + "spec.schedule.every is not a time span above zero; write it with its unit, such as 90m, 12h, 30d or 2w"},
		"half a day is not in days": {"schedule: {every: 0.5d}", inFive + "spec.schedule.every is not a time span above zero; write it with its unit, such as 90m, 12h, 30d or 2w"},
		"never is not a time span":  {"schedule: {every: 60000w}", inFive + "spec.schedule.every is not a time span above zero; write it with its unit, such as 90m, 12h, 30d or 2w"},
		"a time zone that nobody knows": {`schedule: {cron: "0 3 * * 0", timeZone: Europe/Berln}`,
			inFive + `spec.schedule.timeZone "Europe/Berln" is no time zone that is known here; use a name of the IANA database, such as Europe/Berlin or UTC`},
		"the agent's own time zone is none": {`schedule: {cron: "0 3 * * 0", timeZone: Local}`,
			inFive + `spec.schedule.timeZone "Local" is no time zone that is known here; use a name of the IANA database, such as Europe/Berlin or UTC`},
		"a time zone belongs to a cron": {"schedule: {every: 1d, timeZone: UTC}", inFive + "spec.schedule.timeZone is that of spec.schedule.cron, and there is none; leave it out"},
		"a cron has five fields": {`schedule: {cron: "0 0 3 * * 0"}`,
			inFive + `spec.schedule.cron does not have five fields; write minute, hour, day of the month, month and day of the week, such as "0 3 * * 0"`},
		"what is done when it is due": {"schedule: {every: 1d, onDue: Push}", inFive + `spec.schedule.onDue is "Push"; use Commit or PullRequest`},

		"a window has an end": {`maintenance: {windows: [{start: "22:00"}]}`,
			`rotations/a.yaml:5: MissingField: spec.maintenance.windows[0].end is missing; write a time of day, such as "22:00"`},
		"a time of day is within the day": {`maintenance: {windows: [{start: "22:00", end: "24:00"}]}`,
			inFive + `spec.maintenance.windows[0].end "24:00" is no time of day; write hours and minutes in quotes, from "00:00" to "23:59"`},
		"a time of day has two digits": {`maintenance: {windows: [{start: "9:00", end: "10:00"}]}`,
			inFive + `spec.maintenance.windows[0].start "9:00" is no time of day; write hours and minutes in quotes, from "00:00" to "23:59"`},
		"days are written in one way": {`maintenance: {windows: [{days: [Monday], start: "22:00", end: "23:00"}]}`,
			inFive + `spec.maintenance.windows[0].days has "Monday"; the days are Sun, Mon, Tue, Wed, Thu, Fri, Sat`},
		"a window is a mapping": {`maintenance: {windows: ["22:00-04:00"]}`,
			inFive + `spec.maintenance.windows[0] is a string and not a mapping; write {days: [Sat, Sun], start: "22:00", end: "04:00"}`},
		"a freeze has a reason": {"maintenance: {freezes: [{from: 2026-12-20T00:00:00Z, until: 2027-01-03T00:00:00Z}]}",
			"rotations/a.yaml:5: MissingField: spec.maintenance.freezes[0].reason is missing; say why, for those whose rotations wait"},
		"a freeze ends after it began": {"maintenance: {freezes: [{from: 2027-01-03T00:00:00Z, until: 2026-12-20T00:00:00Z, reason: x}]}",
			inFive + "spec.maintenance.freezes[0].until is not after spec.maintenance.freezes[0].from; swap or correct them"},
		"a day is no point in time": {"maintenance: {freezes: [{from: 2026-12-20, until: 2027-01-03T00:00:00Z, reason: x}]}",
			inFive + "spec.maintenance.freezes[0].from is not a point in time; write it as 2026-12-20T00:00:00Z, or with an offset in place of the Z"},
		"a freeze ends": {"maintenance: {freezes: [{from: 2026-12-20T00:00:00Z, reason: x}]}",
			"rotations/a.yaml:5: MissingField: spec.maintenance.freezes[0].until is missing; write it as 2026-12-20T00:00:00Z, or with an offset in place of the Z"},

		"a password that SQL Server would not take": {"password: {length: 200}",
			inFive + "spec.password cannot be followed: length is 200, and SQL Server takes passwords of 8 to 128 characters"},
		"a class that nothing is left of": {`password: {classes: 4, exclude: "-_."}`,
			inFive + "spec.password cannot be followed: exclude leaves characters of 3 classes to generate passwords of " +
				"(abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789), and they need 4: leave some of a further class out of it"},
		"a history is bounded": {"password: {reuse: 100}", inFive + "spec.password cannot be followed: reuse is 100: it is from 0 to 24"},
		"a long deny list": {"password: {denyList: [" + manyWords(101) + "]}",
			inFive + "spec.password.denyList has 101 words, and a policy may have 100; put a long list into the agent's guardrails"},

		"a limit of none would be a stop": {"limits: {maxConcurrent: 0}", inFive + "spec.limits.maxConcurrent is not a whole number from 1 up; write it without quotes"},
		"what a failure means":            {"limits: {afterFailure: Stop}", inFive + `spec.limits.afterFailure is "Stop"; use Continue or Hold`},
	} {
		t.Run(story, func(t *testing.T) {
			problems := parse(only(test.section)).AllProblems()
			require.Len(t, problems, 1)
			require.Equal(t, test.want, problems[0].String())
		})
	}
}

func manyWords(n int) string {
	var words []string
	for i := range n {
		words = append(words, "word"+strings.Repeat("x", i))
	}
	return strings.Join(words, ", ")
}

func TestEachSectionIsChosenOnItsOwn(t *testing.T) {
	document := func(name, databases, sections string) string {
		return "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: " + name + "}\nspec:\n  databases: [" + databases + "]\n  " + sections + "\n"
	}
	files := map[string][]byte{
		"all.yaml":  []byte(document("all", "{}", "approval: {mode: Reviews}\n  limits: {maxPerNamespace: 1}\n  consumers: {restart: true}")),
		"gold.yaml": []byte(document("gold", "{labels: {tier: gold}}", "schedule: {every: 30d}\n  approval: {mode: Signatures}")),
		"shop.yaml": []byte(document("shop", "{namespace: shop}", "limits: {maxPerNamespace: 2}\n  consumers: {restart: false}")),
		"demo.yaml": []byte(document("demo", "{namespace: demo}", "password: {reuse: 3}")),
	}
	orders := selection.Database{Kind: "MSSQLServer", Namespace: "shop", Name: "orders"}

	t.Run("by what is most specific in it", func(t *testing.T) {
		orders.Labels = map[string]string{"tier": "gold", "team": "shop"}
		rules, problem := manifest.Parse(files).RulesFor(orders)
		require.Nil(t, problem)
		require.Equal(t, manifest.Rules{
			Approval: &approval.Rule{Mode: approval.Signatures, Count: 1},
			Schedule: &schedule.Rule{Every: 30 * 24 * time.Hour, OnDue: schedule.Commit},
			Limits:   &pace.Limits{MaxPerNamespace: 2, AfterFailure: pace.Continue},
			From:     map[string]string{"approval": "gold.yaml:1", "schedule": "gold.yaml:1", "limits": "shop.yaml:1", "consumers": "shop.yaml:1"},
			Policies: []string{"all.yaml", "gold.yaml", "shop.yaml"},
		}, rules)
	})

	t.Run("without the label, its policy is about another database", func(t *testing.T) {
		orders.Labels = nil
		rules, problem := manifest.Parse(files).RulesFor(orders)
		require.Nil(t, problem)
		require.Equal(t, &approval.Rule{Mode: approval.Reviews, Count: 1}, rules.Approval)
		require.Nil(t, rules.Schedule)
		require.Equal(t, []string{"all.yaml", "shop.yaml"}, rules.Policies)
	})

	t.Run("the labels of a SQLServer are those of its document", func(t *testing.T) {
		with := map[string][]byte{"s.yaml": []byte(strings.Replace(external, "{name: legacy,", "{labels: {tier: gold}, name: legacy,", 1))}
		for path, content := range files {
			with[path] = content
		}
		set := manifest.Parse(with)
		database := set.Database("shop", "legacy")
		require.Equal(t, selection.Database{Kind: "SQLServer", Namespace: "shop", Name: "legacy", Labels: map[string]string{"tier": "gold"}}, database)
		rules, problem := set.RulesFor(database)
		require.Nil(t, problem)
		require.NotNil(t, rules.Schedule)
	})

	t.Run("a conflict names the section, and is none where something is more specific", func(t *testing.T) {
		files["other.yaml"] = []byte(document("other", "{}", "approval: {mode: Merge}"))
		orders.Labels = nil
		_, problem := manifest.Parse(files).RulesFor(orders)
		require.NotNil(t, problem)
		require.Equal(t, "all.yaml:5: PolicyConflict: spec.approval: all.yaml:5 and other.yaml:5 say different things about MSSQLServer shop/orders, "+
			"and neither is more specific; make one of them more specific, or let both say the same", problem.String())
		orders.Labels = map[string]string{"tier": "gold"}
		_, problem = manifest.Parse(files).RulesFor(orders)
		require.Nil(t, problem)
	})

	t.Run("who checks without a cluster says nothing of a conflict that labels could resolve", func(t *testing.T) {
		files["r.yaml"] = []byte(rollback)
		require.Empty(t, manifest.Validate(files))
		delete(files, "gold.yaml")
		require.Len(t, manifest.Validate(files), 1)
	})
}
