package reconcile

import (
	"fmt"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/guardrails"
)

// guarded says what the guardrails have against a request: the folder that it, its server or its Secret is in, or somebody
// who could decrypt the credential that it brings. The caller holds the lock.
func (c *Controller) guarded(r *manifest.Request, request Request) []manifest.Problem {
	guards := c.guards
	var problems []manifest.Problem
	refuse := func(path string, line int, refusal *guardrails.Refusal) {
		if refusal != nil {
			problems = append(problems, manifest.Problem{
				Path: path, Line: line, Namespace: r.Namespace, Name: r.Name, Reason: refusal.Reason, Message: refusal.Message, Hint: refusal.Hint,
			})
		}
	}
	if _, asked := c.askedFor(request); !asked {
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
next:
	for _, p := range policies {
		for _, d := range p.Databases {
			if refusal := guards.File(p.Path, d.Namespace); refusal != nil {
				refused = append(refused, manifest.Problem{
					Path: p.Path, Line: d.Line, Namespace: p.Namespace, Name: p.Name, Reason: refusal.Reason,
					Message: fmt.Sprintf("the RotationPolicy %s is not followed: %s", p.Name, refusal.Message), Hint: refusal.Hint,
				})
				continue next
			}
		}
		allowed = append(allowed, p)
	}
	return allowed, refused
}
