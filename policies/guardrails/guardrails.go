// Package guardrails decides what no document in Git may do, whoever has approved it.
//
// Whoever installs gitrota writes them into a local file, which nobody who can only push to the repository can change.
// Policies in Git add to them and take nothing away. The decisions are pure functions of that file: nil means allowed,
// and a [Refusal] says what is not and what to do.
package guardrails

import (
	"fmt"

	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/hosts"
)

// Guardrails are what an installation allows. The zero value allows everything but hosts outside of the cluster.
type Guardrails struct {
	Paths []Path     // which namespaces a file may be about; empty: every file about all of them
	Hosts hosts.List // outside of the cluster, to which a credential may be sent

	// Recipients and KeyServices say who may be able to read a credential that somebody supplies in Git; where one of
	// them is empty, it forbids nothing.
	Recipients  []string // as SOPS names them: age1…, a fingerprint, an ARN
	KeyServices []string // of [KindsOfKeys]

	Approval       approval.Rule  // the least that every request needs
	PolicyApproval *approval.Rule // what a change of a RotationPolicy needs; nil: Approval
	Bots           []string       // accounts whose reviews never count

	MaxConcurrent int      // rotations at once in all; 0: [DefaultMaxConcurrent]
	Escrow        []string // age recipients that generated passwords are committed for; empty: none are committed
	DenyList      []string // texts that no supplied password may contain
	DenyListFile  string   // a file with more of them, one a line, beside the guardrails' own; "": none
}

// DefaultMaxConcurrent is how many rotations run at once where the guardrails do not say it.
const DefaultMaxConcurrent = 10

// KindsOfKeys are the kinds of keys that SOPS encrypts for, as it names them.
var KindsOfKeys = []string{"age", "pgp", "kms", "gcp_kms", "azure_kv", "hc_vault", "hckms"}

// Why something is refused. They are part of what users see: a reason is never renamed.
const (
	ReasonForeignNamespace = "ForeignNamespace"   // a file is about a namespace that is not its folder's
	ReasonForeignRecipient = "ForeignRecipient"   // somebody could decrypt a credential who should not
	ReasonHost             = "EndpointNotAllowed" // a credential would be sent to a host that is not listed
)

// Refusal says why something is not allowed, and what to do.
type Refusal struct{ Reason, Message, Hint string }

func refuse(reason, hint, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Concurrent returns how many rotations may run at once in all, 1 or more.
func (g Guardrails) Concurrent() int {
	if g.MaxConcurrent == 0 {
		return DefaultMaxConcurrent
	}
	return g.MaxConcurrent
}

// Host says why no credential may be sent to an endpoint, "host:port".
func (g Guardrails) Host(endpoint string) *Refusal {
	if g.Hosts.Allows(endpoint) {
		return nil
	}
	return refuse(ReasonHost, "let whoever runs gitrota add it to --allow-hosts or to spec.hosts of the guardrails, or correct the endpoint",
		"%q is not on the list of hosts that gitrota may connect to", short(endpoint))
}

// RequestApprovals returns the rules that all have to be met before a request runs: the guardrails' own, and that of the
// policy for its database, nil if there is none. Of rules that ask for nothing but the merge there are none.
func (g Guardrails) RequestApprovals(policy *approval.Rule) []approval.Rule {
	return beyondMerge(&g.Approval, policy)
}

// PolicyApprovals returns the rules that all have to be met before a changed RotationPolicy counts.
func (g Guardrails) PolicyApprovals() []approval.Rule {
	if g.PolicyApproval != nil {
		return beyondMerge(g.PolicyApproval)
	}
	return beyondMerge(&g.Approval)
}

func beyondMerge(rules ...*approval.Rule) []approval.Rule {
	var needed []approval.Rule
	for _, rule := range rules {
		if rule != nil && rule.Mode != "" && rule.Mode != approval.Merge {
			needed = append(needed, *rule)
		}
	}
	return needed
}

// short bounds a text that somebody else wrote, for a message that quotes it.
func short(text string) string {
	if len(text) > 100 {
		return text[:100] + "…"
	}
	return text
}
