package manifest

import (
	"bytes"
	"slices"

	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/guardrails"
)

// Recipient is one of the keys that an encrypted Secret can be decrypted with, as its author wrote it.
type Recipient struct {
	Kind string // as SOPS names it: age, pgp, kms, gcp_kms, azure_kv, hc_vault, hckms
	Name string
	line int
}

// seal gives the encrypted Secrets of a file what they have in common: the file, whose documents share one MAC and one
// key, and who can decrypt it.
func (f *File) seal(content []byte) {
	if !slices.ContainsFunc(f.secrets, func(s *Secret) bool { return s.Encrypted }) {
		return
	}
	source := bytes.Clone(content)
	var recipients []Recipient
	for _, r := range sopsfile.Recipients(source) {
		line := 1 // of a name that SOPS puts together of several fields
		if before, _, written := bytes.Cut(source, []byte(r.Name)); written {
			line += bytes.Count(before, []byte("\n"))
		}
		recipients = append(recipients, Recipient{r.Kind, r.Name, line})
	}
	for _, s := range f.secrets {
		if s.Encrypted {
			s.source, s.Recipients = source, recipients
		}
	}
}

// ForeignRecipient returns the first of the Secret's recipients that guardrails do not allow, as a problem; nil when
// there is none.
func (s *Secret) ForeignRecipient(g guardrails.Guardrails) *Problem {
	for _, r := range s.Recipients {
		if refusal := g.Recipient(r.Kind, r.Name); refusal != nil {
			p := s.problemAt(r.line, refusal.Reason, refusal.Message, refusal.Hint)
			return &p
		}
	}
	return nil
}
