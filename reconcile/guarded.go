package reconcile

import (
	"fmt"
	"path"
	"slices"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/policies/selection"
)

// guarded says what the guardrails have against a request: the folder that it, its server or its Secret is in, or somebody
// who could decrypt the credential that it brings. The caller holds the lock.
func (c *Controller) guarded(r *manifest.Request, request Request) []manifest.Problem {
	guards := c.guards
	var problems []manifest.Problem
	refuse := func(file string, line int, refusal *guardrails.Refusal) {
		if refusal != nil {
			problems = append(problems, manifest.Problem{
				Path: file, Line: line, Namespace: r.Namespace, Name: r.Name, Reason: refusal.Reason, Message: refusal.Message, Hint: refusal.Hint,
			})
		}
	}
	unknown := !c.surveyed && inside(r.Path, path.Join(c.Path, scheduledFolder)) // what a schedule asks for, which is judged again
	if _, asked := c.askedFor(request); !asked && !unknown {
		refuse(r.Path, r.Line, guards.File(r.Path, r.Namespace))
	}
	if server := c.set.Server(r.Namespace, r.Spec.DatabaseRef.Name); server != nil {
		refuse(server.Path, server.Line, guards.File(server.Path, r.Namespace))
	}
	if r.Spec.Authentication == nil {
		return problems
	}
	if secret := c.set.Secret(r.Namespace, r.Spec.Authentication.SecretRef.Name); secret != nil {
		refuse(secret.Path, secret.Line, guards.File(secret.Path, r.Namespace))
		for _, recipient := range secret.Recipients {
			refuse(secret.Path, secret.Line, guards.Recipient(recipient.Kind, recipient.Name))
		}
	}
	return problems
}

// fence takes out the policies about databases that the folder of their file has no business with. They are left out, and
// not taken as broken: else one team could stop all the others with a policy about everything.
func fence(guards guardrails.Guardrails, policies []*manifest.Policy) (allowed []*manifest.Policy, refused []manifest.Problem) {
	named := map[string]int{}
	for _, p := range policies {
		named[policyKey(guards, p)]++
	}
	for _, p := range policies {
		confine(guards, p)
		if named[policyKey(guards, p)] == 1 { // nor with the name of another team's policy
			p.Problems = slices.DeleteFunc(slices.Clone(p.Problems), func(problem manifest.Problem) bool { return problem.Reason == manifest.ReasonDuplicateName })
		}
		if problem := outside(guards, p); problem != nil {
			refused = append(append(refused, p.Problems...), *problem)
			continue
		}
		allowed = append(allowed, p)
	}
	return allowed, refused
}

// policyKey names a policy. Each folder of the guardrails has its own names.
func policyKey(guards guardrails.Guardrails, p *manifest.Policy) string {
	folder, _ := guards.Folder(p.Path)
	return folder + ":" + p.Namespace + "/" + p.Name
}

// confine makes a policy that leaves open what it is about one about all that it may be about.
func confine(guards guardrails.Guardrails, p *manifest.Policy) {
	if p.Databases != nil {
		return
	}
	_, namespaces := guards.Folder(p.Path)
	for _, namespace := range namespaces {
		p.Databases = append(p.Databases, manifest.Databases{Pattern: selection.Pattern{Namespace: namespace, Name: "*"}, Line: p.Line})
	}
}

// outside says that a policy is about databases that the folder of its file has no business with.
func outside(guards guardrails.Guardrails, p *manifest.Policy) *manifest.Problem {
	about := p.Databases
	if about == nil {
		about = []manifest.Databases{{Pattern: selection.Pattern{Namespace: "*"}, Line: p.Line}}
	}
	for _, d := range about {
		if refusal := guards.File(p.Path, d.Namespace); refusal != nil {
			return &manifest.Problem{
				Path: p.Path, Line: d.Line, Namespace: p.Namespace, Name: p.Name, Reason: refusal.Reason,
				Message: fmt.Sprintf("the RotationPolicy %s is not followed: %s", p.Name, refusal.Message), Hint: refusal.Hint,
			}
		}
	}
	return nil
}
