package manifest

import (
	"fmt"
	"slices"

	"github.com/gitrota/gitrota/policies/selection"
)

// Validate returns everything that can be said about files without a cluster and without keys, also that a request
// refers to a document that is among them and cannot be used.
func Validate(files map[string][]byte) []Problem {
	set := Parse(files)
	problems := set.AllProblems()
	for _, r := range set.Requests {
		problems = append(problems, set.references(r)...)
		if r.Spec.DatabaseRef.Name == "" {
			continue // it is wrong enough
		}
		database := set.Database(r.Namespace, r.Spec.DatabaseRef.Name)
		// What is wrong with one policy alone is in the list already.
		if _, p := set.rulesFor(database, database.Kind == KindMSSQLServer); p != nil && p.Reason == ReasonPolicyConflict {
			problems = append(problems, *p)
		}
	}
	return slices.Compact(sortProblems(problems))
}

// Blockers returns why a request cannot run as the files stand: its own problems, and what is wrong with the SQLServer
// that it names and with the policies that are about its database. A Secret is judged when its credential is needed.
func (s *Set) Blockers(r *Request, database selection.Database) []Problem {
	problems := slices.Clone(r.Problems)
	for _, p := range s.references(r) {
		if p.Reason == ReasonUnusableServer {
			problems = append(problems, p)
		}
	}
	if r.Spec.DatabaseRef.Name == "" {
		return problems // it is wrong enough
	}
	if _, p := s.RulesFor(database); p != nil {
		problems = append(problems, *p)
	}
	return problems
}

// references returns what is wrong with the documents that a request refers to. Those that are not there may be in the
// cluster.
func (s *Set) references(r *Request) []Problem {
	var problems []Problem
	unusable := func(line int, reason, field, kind string, flaw Problem) {
		p := r.place()
		p.Line, p.Reason, p.Hint = line, reason, flaw.Hint
		p.Message = fmt.Sprintf("%s refers to the %s %s/%s at %s, which cannot be used: %s",
			field, kind, flaw.Namespace, flaw.Name, flaw.Where(), flaw.Message)
		problems = append(problems, p)
	}
	if server := s.Server(r.Namespace, r.Spec.DatabaseRef.Name); server != nil && len(server.Problems) > 0 {
		unusable(r.databaseLine, ReasonUnusableServer, "spec.databaseRef", KindServer, server.Problems[0])
	}
	if r.Spec.Authentication != nil {
		if secret := s.Secret(r.Namespace, r.Spec.Authentication.SecretRef.Name); secret != nil {
			if flaw := secret.flaw(); flaw != nil {
				unusable(r.secretRefLine, ReasonUnusableSecret, "spec.authentication.secretRef", secretKind, *flaw)
			}
		}
	}
	return problems
}
