package manifest

import (
	"fmt"

	"github.com/gitrota/gitrota/policies/selection"
)

// ConsumersOf returns which users of the database's auth Secret the policies want restarted after a rotation, nil for
// none. Where they cannot be followed the problem says why: two of them differ, or one that may be about the database
// is wrong. Then nobody knows what was wanted, and a rotation would leave applications with a password that is refused.
func (s *Set) ConsumersOf(kind, namespace, name string) (*Consumers, *Problem) {
	database := selection.Database{Kind: kind, Namespace: namespace, Name: name}
	var rules []selection.Rule[Consumers]
	places := map[string]Problem{}
	for _, p := range s.Policies {
		if len(p.Problems) > 0 {
			if p.mayBeAbout(database) {
				flaw := p.Problems[0]
				flaw.Message = fmt.Sprintf("the RotationPolicy %s, which may be about %s %s/%s, cannot be used: %s", p.Name, kind, namespace, name, flaw.Message)
				flaw.Reason = ReasonUnusablePolicy
				return nil, &flaw
			}
			continue
		}
		for _, d := range p.Databases {
			own := p.place()
			own.Line = d.Line
			rule := selection.Rule[Consumers]{Pattern: d.Pattern, Where: own.Where()}
			if p.Consumers != nil {
				rule.Says = *p.Consumers
			}
			rules = append(rules, rule)
			places[rule.Where] = own
		}
	}
	rule, conflict := selection.Choose(rules, database)
	switch {
	case conflict != nil:
		problem := places[conflict.Where[0]]
		problem.Reason, problem.Message = ReasonPolicyConflict, conflict.Error()
		problem.Hint = "make one of them more specific, or let both say the same"
		return nil, &problem
	case rule == nil || rule.Says == Consumers{}:
		return nil, nil
	}
	return &rule.Says, nil
}

// mayBeAbout reports whether a policy with problems was perhaps meant for a database.
func (p *Policy) mayBeAbout(database selection.Database) bool {
	for _, d := range p.Databases {
		if d.Matches(database) {
			return true
		}
	}
	return p.Databases == nil
}
