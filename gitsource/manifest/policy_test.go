package manifest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/selection"
)

const policy = `apiVersion: gitrota.dev/v1alpha1
kind: RotationPolicy
metadata:
  name: production
spec:
  databases:
  - namespace: shop*
    kind: SQLServer
  consumers: {restart: true, maxConcurrent: 2}
`

func TestPolicy(t *testing.T) {
	t.Run("it says what it is about and what it wants", func(t *testing.T) {
		set := parse(policy)
		require.Empty(t, set.AllProblems())
		requireRecord(t, set.Policies[0])
		require.Equal(t, []*manifest.Policy{{
			Name: "production", Path: "rotations/a.yaml", Line: 1,
			Databases: []manifest.Databases{{Pattern: selection.Pattern{Kind: "SQLServer", Namespace: "shop*", Name: "*"}, Line: 7}},
			Consumers: &manifest.Consumers{MaxConcurrent: 2},
		}}, set.Policies)
	})

	t.Run("what is left out has its default", func(t *testing.T) {
		set := parse("apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: all, namespace: ops}\nspec: {consumers: {restart: true}}\n")
		require.Empty(t, set.AllProblems())
		require.Equal(t, "ops", set.Policies[0].Namespace)
		require.Equal(t, []manifest.Databases{{Pattern: selection.Pattern{Namespace: "*", Name: "*"}, Line: 1}}, set.Policies[0].Databases)
		require.Equal(t, &manifest.Consumers{MaxConcurrent: 1}, set.Policies[0].Consumers)
	})

	for story, test := range map[string]struct{ content, want string }{
		"a name is needed": {strings.Replace(policy, "  name: production", "  labels: {}", 1),
			`4: MissingField: metadata.name is missing; every policy needs a name of its own`},
		"a mistyped field is named with what was meant": {strings.Replace(policy, "maxConcurrent", "maxConcurent", 1),
			`9: UnknownField: spec.consumers has no field "maxConcurent"; did you mean "maxConcurrent"?`},
		"an item that is no mapping is about nothing": {strings.Replace(policy, "- namespace: shop*\n    kind: SQLServer", "- shop", 1),
			`7: InvalidField: spec.databases[0] is a string and not a mapping; write {namespace: shop, name: orders}`},
		"a glob that can match nothing is a mistake": {strings.Replace(policy, "shop*", "Shop_?", 1),
			`7: InvalidField: spec.databases[0].namespace "Shop_?" cannot match a Kubernetes name; use lower case letters, digits, dashes and dots, and * for any characters`},
		"there are two kinds of databases": {strings.Replace(policy, "kind: SQLServer", "kind: Postgres", 1),
			`8: InvalidField: spec.databases[0].kind is "Postgres"; use MSSQLServer or SQLServer, or leave it out for both`},
		"an empty list is neither all nor none": {strings.Replace(policy, "databases:\n  - namespace: shop*\n    kind: SQLServer", "databases: []", 1),
			`6: InvalidField: spec.databases is empty; leave it out, or put something into it`},
		"a policy says something": {strings.Split(policy, "  consumers:")[0],
			`6: MissingField: spec has no section, and so the policy says nothing; give one of consumers, approval, schedule, maintenance, password, limits`},
		"to restart is said": {strings.Replace(policy, "restart: true, ", "", 1),
			`9: MissingField: spec.consumers.restart is missing; write true or false`},
		"none at once would take for ever": {strings.Replace(policy, "maxConcurrent: 2", "maxConcurrent: 0", 1),
			`9: InvalidField: spec.consumers.maxConcurrent is not a whole number from 1 up; write it without quotes`},
		"a spec is needed": {strings.Split(policy, "spec:")[0],
			`1: MissingField: spec is missing; give one of consumers, approval, schedule, maintenance, password, limits`},
	} {
		t.Run(story, func(t *testing.T) {
			problems := parse(test.content).AllProblems()
			require.Len(t, problems, 1)
			require.Equal(t, "rotations/a.yaml:"+test.want, problems[0].String())
		})
	}

	t.Run("two policies with one name are both refused", func(t *testing.T) {
		set := manifest.Parse(map[string][]byte{"a.yaml": []byte(policy), "b.yaml": []byte(policy)})
		require.Equal(t, "a.yaml:1: DuplicateName: there is another RotationPolicy named production at b.yaml:1; rename or remove one of them",
			set.Policies[0].Problems[0].String())
		require.Len(t, set.Policies[1].Problems, 1)
	})
}

func TestTheConsumersOfADatabase(t *testing.T) {
	everywhere := strings.NewReplacer("production", "everywhere", "  databases:\n  - namespace: shop*\n    kind: SQLServer\n", "", "maxConcurrent: 2", "maxConcurrent: 5").Replace(policy)
	of := func(kind, namespace string, files ...string) (*manifest.Consumers, *manifest.Problem) {
		content := map[string][]byte{}
		for i, f := range files {
			content[string(rune('a'+i))+".yaml"] = []byte(f)
		}
		rules, problem := manifest.Parse(content).RulesFor(selection.Database{Kind: kind, Namespace: namespace, Name: "orders"})
		return rules.Consumers, problem
	}
	five, two := &manifest.Consumers{MaxConcurrent: 5}, &manifest.Consumers{MaxConcurrent: 2}
	for story, test := range map[string]struct {
		kind, namespace string
		files           []string
		want            *manifest.Consumers
		problem         string
	}{
		"without policies nothing is restarted":        {kind: "SQLServer", namespace: "shop"},
		"a policy is about what it names":              {kind: "SQLServer", namespace: "shop-eu", files: []string{policy}, want: two},
		"a policy is not about what it does not name":  {kind: "SQLServer", namespace: "demo", files: []string{policy}},
		"a policy is not about another kind":           {kind: "MSSQLServer", namespace: "shop", files: []string{policy}},
		"the more specific policy counts":              {kind: "SQLServer", namespace: "shop", files: []string{everywhere, policy}, want: two},
		"the broader policy counts for everybody else": {kind: "SQLServer", namespace: "demo", files: []string{everywhere, policy}, want: five},
		"a policy can except from a broader one": {kind: "SQLServer", namespace: "shop", want: nil,
			files: []string{everywhere, strings.Replace(policy, "restart: true", "restart: false", 1)}},
		"two policies that say the same are no conflict": {kind: "SQLServer", namespace: "shop", want: two,
			files: []string{policy, strings.Replace(policy, "production", "other", 1)}},
		"two policies that differ are a conflict": {kind: "SQLServer", namespace: "shop",
			files:   []string{policy, strings.NewReplacer("production", "other", "maxConcurrent: 2", "maxConcurrent: 3").Replace(policy)},
			problem: "a.yaml:7: PolicyConflict: spec.consumers: a.yaml:7 and b.yaml:7 say different things about SQLServer shop/orders, and neither is more specific; make one of them more specific, or let both say the same"},
		"a conflict is no matter where a third policy is more specific": {kind: "SQLServer", namespace: "shop", want: five,
			files: []string{policy, strings.NewReplacer("production", "other", "maxConcurrent: 2", "maxConcurrent: 3").Replace(policy),
				strings.NewReplacer("production", "third", "shop*", "shop", "maxConcurrent: 2", "maxConcurrent: 5").Replace(policy)}},
		"a wrong policy is not passed over": {kind: "SQLServer", namespace: "shop", files: []string{everywhere, strings.Replace(policy, "maxC", "maxc", 1)},
			problem: `b.yaml:9: UnusablePolicy: the RotationPolicy production, which may be about SQLServer shop/orders, cannot be used: spec.consumers has no field "maxconcurrent"; did you mean "maxConcurrent"?`},
		"a wrong policy does not disturb others": {kind: "SQLServer", namespace: "demo", want: five, files: []string{everywhere, strings.Replace(policy, "maxC", "maxc", 1)}},
		"a policy may be about all when what it is about is wrong": {kind: "SQLServer", namespace: "demo", files: []string{strings.Replace(policy, "shop*", "Shop", 1)},
			problem: `a.yaml:7: UnusablePolicy: the RotationPolicy production, which may be about SQLServer demo/orders, cannot be used: spec.databases[0].namespace "Shop" cannot match a Kubernetes name; use lower case letters, digits, dashes and dots, and * for any characters`},
	} {
		t.Run(story, func(t *testing.T) {
			got, problem := of(test.kind, test.namespace, test.files...)
			if test.problem != "" {
				require.NotNil(t, problem)
				require.Equal(t, test.problem, problem.String())
				return
			}
			require.Nil(t, problem)
			require.Equal(t, test.want, got)
		})
	}
}

// requireRecord looks at what a policy says of itself for the record of those in force, and takes it away: read back, it is
// the same policy.
func requireRecord(t *testing.T, p *manifest.Policy) {
	t.Helper()
	require.Regexp(t, `^[0-9a-f]{32}$`, p.Digest)
	again := manifest.PolicyOf(p.Raw, p.Path, p.Line)
	require.Empty(t, again.Problems)
	require.Equal(t, p.Digest, again.Digest)
	require.Equal(t, p.Raw["spec"], again.Raw["spec"])
	p.Digest, p.Raw = "", nil
}
