package manifest

import (
	"fmt"
	"slices"

	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/policies/pace"
	"github.com/gitrota/gitrota/policies/schedule"
	"github.com/gitrota/gitrota/policies/selection"
)

// Rules are what the policies say about one database, nil where none says anything.
type Rules struct {
	Consumers   *Consumers // to restart after a rotation; nil: none
	Approval    *approval.Rule
	Schedule    *schedule.Rule
	Maintenance *schedule.Maintenance
	Password    *credential.Rules
	Limits      *pace.Limits

	From     map[string]string // by section, such as "approval": the place of the policy that says it, path:line
	Policies []string          // the files of all policies that are about the database, sorted
}

// Database returns what a request's databaseRef names, as policies select it. The labels of a SQLServer are those of its
// document, and those of a MSSQLServer are in Labels.
func (s *Set) Database(namespace, name string) selection.Database {
	database := selection.Database{Kind: KindMSSQLServer, Namespace: namespace, Name: name, Labels: s.Labels[namespace+"/"+name]}
	if server := s.Server(namespace, name); server != nil {
		database.Kind, database.Labels = KindServer, server.Labels
	}
	return database
}

// RulesFor returns what the policies say about a database, each section chosen on its own: of the policies that say
// something in it, the most specific one counts. Where they cannot be followed the problem says why: two of them differ,
// or one that may be about the database is wrong. Then nobody knows what was wanted, and no rotation should begin.
func (s *Set) RulesFor(database selection.Database) (Rules, *Problem) {
	return s.rulesFor(database, false)
}

// rulesFor returns, of a database whose labels nobody knows, only what is wrong whatever they are.
func (s *Set) rulesFor(database selection.Database, anyLabels bool) (Rules, *Problem) {
	c := chooser{database: database, anyLabels: anyLabels, from: map[string]string{}}
	rules := Rules{From: c.from}
	for _, p := range s.Policies {
		switch {
		case !p.isAbout(database, anyLabels):
		case len(p.Problems) > 0:
			flaw := p.Problems[0]
			flaw.Message = fmt.Sprintf("the RotationPolicy %s, which may be about %s %s/%s, cannot be used: %s",
				p.Name, database.Kind, database.Namespace, database.Name, flaw.Message)
			flaw.Reason = ReasonUnusablePolicy
			return Rules{}, &flaw
		default:
			c.policies = append(c.policies, p)
			rules.Policies = append(rules.Policies, p.Path)
		}
	}
	slices.Sort(rules.Policies)
	rules.Policies = slices.Compact(rules.Policies)

	rules.Consumers = choose(&c, "consumers", func(p *Policy) *Consumers { return p.Consumers })
	rules.Approval = choose(&c, "approval", func(p *Policy) *approval.Rule { return p.Approval })
	rules.Schedule = choose(&c, "schedule", func(p *Policy) *schedule.Rule { return p.Schedule })
	rules.Maintenance = choose(&c, "maintenance", func(p *Policy) *schedule.Maintenance { return p.Maintenance })
	rules.Password = choose(&c, "password", func(p *Policy) *credential.Rules { return p.Password })
	rules.Limits = choose(&c, "limits", func(p *Policy) *pace.Limits { return p.Limits })
	if c.problem != nil {
		return Rules{}, c.problem
	}
	if rules.Consumers != nil && rules.Consumers.MaxConcurrent == 0 {
		rules.Consumers = nil
	}
	return rules, nil
}

// chooser finds what counts for one database.
type chooser struct {
	database  selection.Database
	anyLabels bool
	policies  []*Policy // that are about the database, and have no problems
	from      map[string]string
	problem   *Problem // the first conflict
}

// choose returns what counts in one section, nil where no policy says anything, or where there is a conflict.
func choose[T any](c *chooser, section string, of func(*Policy) *T) *T {
	var rules []selection.Rule[*T]
	places, policies := map[string]Problem{}, map[string]*Policy{}
	for _, p := range c.policies {
		says := of(p)
		if says == nil {
			continue
		}
		for _, d := range p.Databases {
			own := p.place()
			own.Line = d.Line
			rules = append(rules, selection.Rule[*T]{Pattern: d.Pattern, Says: says, Where: own.Where()})
			places[own.Where()], policies[own.Where()] = own, p
		}
	}
	rule, conflict := selection.Choose(rules, c.database)
	if c.anyLabels {
		conflict = selection.SureConflict(rules, c.database)
	}
	switch {
	case conflict != nil && c.problem == nil:
		problem := places[conflict.Where[0]]
		problem.Reason, problem.Message = ReasonPolicyConflict, "spec."+section+": "+conflict.Error()
		problem.Hint = "make one of them more specific, or let both say the same"
		c.problem = &problem
		return nil
	case rule == nil:
		return nil
	}
	c.from[section] = policies[rule.Where].place().Where()
	return rule.Says
}

// Overlaps reports whether there could be a database that both policies are about.
func (p *Policy) Overlaps(other *Policy) bool {
	if p.Databases == nil || other.Databases == nil {
		return true // a problem leaves it open
	}
	return slices.ContainsFunc(p.Databases, func(own Databases) bool {
		return slices.ContainsFunc(other.Databases, func(d Databases) bool { return own.Pattern.Overlaps(d.Pattern) })
	})
}

// isAbout reports whether a policy is about a database. One with problems may be about all, where nobody can tell.
func (p *Policy) isAbout(database selection.Database, anyLabels bool) bool {
	if p.Databases == nil {
		return true
	}
	return slices.ContainsFunc(p.Databases, func(d Databases) bool {
		return d.Matches(database) || anyLabels && d.CouldMatch(database)
	})
}
