package guardrails

import (
	"slices"
	"strings"
)

const foreignHint = "choose a new password and encrypt it for allowed keys only: this one stays readable in Git's history"

// Recipient says why nobody may encrypt a credential for a key. The kind is one of [KindsOfKeys], or something that is
// none and is refused where kinds are listed; the name is as SOPS writes it.
func (g Guardrails) Recipient(kind, name string) *Refusal {
	switch {
	case len(g.KeyServices) > 0 && !slices.Contains(g.KeyServices, kind):
		return refuse(ReasonForeignRecipient, foreignHint,
			"the file can be decrypted with the key %q of the kind %q, and the guardrails allow the kinds %s", short(name), short(kind), strings.Join(g.KeyServices, ", "))
	case len(g.Recipients) > 0 && !slices.Contains(g.Recipients, name):
		return refuse(ReasonForeignRecipient, foreignHint,
			"the file can be decrypted with the %s key %q, which is not one of the recipients that the guardrails allow", short(kind), short(name))
	}
	return nil
}
