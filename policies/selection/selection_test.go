package selection_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/selection"
)

func TestChoose(t *testing.T) {
	database := selection.Database{Kind: "SQLServer", Namespace: "shop-eu", Name: "orders"}
	p := func(namespace, name string) selection.Pattern {
		return selection.Pattern{Namespace: namespace, Name: name}
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
