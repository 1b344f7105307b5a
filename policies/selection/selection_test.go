package selection_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/selection"
)

func TestChoose(t *testing.T) {
	database := selection.Database{Kind: "SQLServer", Namespace: "shop-eu", Name: "orders", Labels: map[string]string{"tier": "gold", "team": "shop"}}
	p := func(namespace, name string) selection.Pattern {
		return selection.Pattern{Namespace: namespace, Name: name}
	}
	with := func(p selection.Pattern, labels ...string) selection.Pattern {
		p.Labels = map[string]string{}
		for i := 0; i < len(labels); i += 2 {
			p.Labels[labels[i]] = labels[i+1]
		}
		return p
	}
	for story, test := range map[string]struct{ wins, over selection.Pattern }{
		"a name wins over a glob":                            {p("shop-eu", "orders"), p("shop-eu", "orders*")},
		"a namespace's name wins over a database's name":     {p("shop-eu", "*"), p("*", "orders")},
		"a database's name wins over a longer glob":          {p("*", "orders"), p("shop-e*", "*")},
		"of globs the longer beginning wins":                 {p("shop-*", "*"), p("shop*", "*")},
		"what stands after the * does not count":             {p("shop*", "*"), p("s*-eu", "*")},
		"the namespace's beginning is compared first":        {p("sh*", "*"), p("s*", "order*")},
		"the name's beginning is compared last":              {p("s*", "or*"), p("s*", "o*")},
		"a kind is better than none":                         {selection.Pattern{Kind: "SQLServer", Namespace: "*", Name: "*"}, p("*", "*")},
		"a kind does not win over anything else":             {p("*", "o*"), selection.Pattern{Kind: "SQLServer", Namespace: "*", Name: "*"}},
		"a label is better than none":                        {with(p("*", "*"), "tier", "gold"), p("*", "*")},
		"more labels are better":                             {with(p("*", "*"), "tier", "gold", "team", "shop"), with(p("*", "*"), "tier", "gold")},
		"labels do not win over a longer glob":               {p("*", "o*"), with(p("*", "*"), "tier", "gold", "team", "shop")},
		"a label wins over a kind":                           {with(p("*", "*"), "tier", "gold"), selection.Pattern{Kind: "SQLServer", Namespace: "*", Name: "*"}},
		"another value of a label is not meant":              {p("*", "*"), with(p("*", "*"), "tier", "silver")},
		"a label that the database lacks is not meant":       {p("*", "*"), with(p("*", "*"), "tier", "gold", "region", "")},
		"another kind is not meant":                          {p("*", "*"), selection.Pattern{Kind: "MSSQLServer", Namespace: "shop-eu", Name: "orders"}},
		"another namespace is not meant":                     {p("*", "*"), p("shop", "orders")},
		"what no name can be matches nothing and harms none": {p("*", "*"), p("[", "orders")},
	} {
		t.Run(story, func(t *testing.T) {
			rules := []selection.Rule[string]{{test.wins, "this", "a.yaml:1"}, {test.over, "that", "b.yaml:1"}}
			for range 2 {
				rule, conflict := selection.Choose(rules, database)
				require.Nil(t, conflict)
				require.Equal(t, "this", rule.Says)
				slices.Reverse(rules)
			}
		})
	}

	t.Run("no rule says nothing", func(t *testing.T) {
		rule, conflict := selection.Choose([]selection.Rule[string]{{p("demo", "*"), "this", "a.yaml:1"}}, database)
		require.Nil(t, rule)
		require.Nil(t, conflict)
	})

	t.Run("equally specific rules that differ are a conflict, which names both places", func(t *testing.T) {
		_, conflict := selection.Choose([]selection.Rule[string]{
			{p("*", "*"), "that", "a.yaml:1"}, {p("s*-eu", "*"), "this", "b.yaml:2"}, {p("s*", "*"), "this", "c.yaml:3"}, {p("s*u", "*"), "that", "d.yaml:4"},
		}, database)
		require.EqualError(t, conflict, "b.yaml:2 and d.yaml:4 say different things about SQLServer shop-eu/orders, and neither is more specific")
	})

	t.Run("equally specific rules that agree are none", func(t *testing.T) {
		rule, conflict := selection.Choose([]selection.Rule[string]{{p("s*", "*"), "this", "a.yaml:1"}, {p("s*u", "*"), "this", "b.yaml:1"}}, database)
		require.Nil(t, conflict)
		require.Equal(t, "a.yaml:1", rule.Where)
	})

	t.Run("a conflict does not matter below a more specific rule", func(t *testing.T) {
		rules := []selection.Rule[string]{{p("s*", "*"), "a", "a.yaml:1"}, {p("s*u", "*"), "b", "b.yaml:1"}, {p("shop-eu", "*"), "c", "c.yaml:1"}}
		for range len(rules) {
			rule, conflict := selection.Choose(rules, database)
			require.Nil(t, conflict)
			require.Equal(t, "c", rule.Says)
			rules = append(rules[1:], rules[0])
		}
	})
}

func TestSureConflict(t *testing.T) {
	database := selection.Database{Kind: "MSSQLServer", Namespace: "shop", Name: "orders"}
	rule := func(namespace, says string, labels map[string]string) selection.Rule[string] {
		return selection.Rule[string]{Pattern: selection.Pattern{Namespace: namespace, Name: "*", Labels: labels}, Says: says, Where: says + ".yaml:1"}
	}
	gold, silver := map[string]string{"tier": "gold"}, map[string]string{"tier": "silver"}
	this, that := rule("*", "this", nil), rule("*", "that", nil)
	for story, test := range map[string]struct {
		rules    []selection.Rule[string]
		conflict bool
	}{
		"rules without labels that differ are a conflict":       {[]selection.Rule[string]{this, that}, true},
		"labels could resolve it":                               {[]selection.Rule[string]{this, that, rule("*", "gold", gold)}, false},
		"labels of another namespace could not":                 {[]selection.Rule[string]{this, that, rule("prod", "gold", gold)}, true},
		"labels of a less specific rule could not":              {[]selection.Rule[string]{rule("s*", "this", nil), rule("s*", "that", nil), rule("*", "gold", gold)}, true},
		"labels that are a conflict themselves could not":       {[]selection.Rule[string]{this, that, rule("*", "gold", gold), rule("*", "more", gold)}, true},
		"labels that differ may be those of two databases":      {[]selection.Rule[string]{rule("*", "gold", gold), rule("*", "silver", silver)}, false},
		"a conflict among labels may be about another database": {[]selection.Rule[string]{this, rule("*", "gold", gold), rule("*", "more", gold)}, false},
	} {
		t.Run(story, func(t *testing.T) {
			for range len(test.rules) {
				require.Equal(t, test.conflict, selection.SureConflict(test.rules, database) != nil)
				test.rules = append(test.rules[1:], test.rules[0])
			}
		})
	}
}

func TestAGlobThatMatchesAnotherMatchesWhateverThatOneDoes(t *testing.T) {
	for _, test := range []struct {
		outer, inner string
		want         bool
	}{
		{"team-a-*", "team-a-*", true}, {"team-a-*", "team-a-eu", true}, {"*", "team-*", true}, {"team-*", "team-a-*-eu", true},
		{"team-a-*", "team-*", false}, {"team-a", "team-*", false}, {"team-a*", "*", false}, {"[a-z]", "a", false},
	} {
		require.Equal(t, test.want, selection.Match(test.outer, test.inner), "%s matches %s", test.outer, test.inner)
	}
}

func TestPatternsOverlapIfOneDatabaseCouldBeBoth(t *testing.T) {
	p := func(namespace, name string) selection.Pattern {
		return selection.Pattern{Namespace: namespace, Name: name}
	}
	gold, silver, eu := p("*", "*"), p("*", "*"), p("*", "*")
	gold.Labels, silver.Labels, eu.Labels = map[string]string{"tier": "gold"}, map[string]string{"tier": "silver"}, map[string]string{"region": "eu"}
	theirs, ours := p("*", "*"), p("*", "*")
	theirs.Kind, ours.Kind = "MSSQLServer", "SQLServer"
	for _, test := range []struct {
		one, other selection.Pattern
		want       bool
	}{
		{p("demo", "db"), p("demo", "db"), true}, {p("demo", "db"), p("*", "*"), true}, {p("demo", "db"), p("d*o", "*b"), true},
		{p("a*", "*"), p("*b", "*"), true}, {p("a*c", "*"), p("*b*", "*"), true}, {p("*a*", "*"), p("b*", "x*"), true},
		{p("demo", "db"), p("demo", "db2"), false}, {p("demo", "db"), p("dem", "*"), false}, {p("a*", "*"), p("b*", "*"), false},
		{p("*-eu", "*"), p("*-us", "*"), false}, {p("demo", "a*"), p("*", "b*"), false}, {p("demo*", "*"), p("dem", "*"), false},
		{gold, silver, false}, {gold, eu, true}, {gold, p("demo", "db"), true},
		{theirs, ours, false}, {theirs, p("*", "*"), true},
	} {
		require.Equal(t, test.want, test.one.Overlaps(test.other), "%v and %v", test.one, test.other)
		require.Equal(t, test.want, test.other.Overlaps(test.one), "%v and %v", test.other, test.one)
	}
}
