package sopsfile

import (
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	sopsage "github.com/getsops/sops/v3/age"
)

// Recipient is one of the keys that a file is encrypted for. Its name is the file author's word.
type Recipient struct {
	Kind string // as SOPS names it: age, pgp, kms, gcp_kms, azure_kv, hc_vault, hckms
	Name string // an age recipient, a fingerprint, an ARN, the URL of a key
}

// Recipients lists who can decrypt a file, of all its key groups, without decrypting it. It reads the file as [Decrypt]
// does, so that the two cannot differ. What is not encrypted, or too damaged to be decrypted, has no recipients.
func Recipients(data []byte) (found []Recipient) {
	if len(data) > MaxSize {
		return nil
	}
	defer func() {
		if recover() != nil { // crafted metadata can make SOPS panic, in Decrypt as well
			found = nil
		}
	}()
	tree, err := storeFor(data).LoadEncryptedFile(data)
	if err != nil {
		return nil
	}
	for _, group := range tree.Metadata.KeyGroups {
		for _, key := range group {
			found = append(found, Recipient{key.TypeToIdentifier(), key.ToString()})
		}
	}
	return found
}

// IsRecipient reports whether a text is the public key of an age identity, as age-keygen prints it.
func IsRecipient(text string) bool {
	recipients, err := age.ParseRecipients(strings.NewReader(text))
	return err == nil && len(recipients) == 1 && looksLikeAge(text)
}

// recipientsOf names, for somebody who has to add one, who can decrypt the file. Recipients are public keys; they are
// the file author's words all the same, so only those that look like age's are repeated.
func recipientsOf(tree *sops.Tree) string {
	var ages []string
	others := 0
	for _, group := range tree.Metadata.KeyGroups {
		for _, key := range group {
			mine, ok := key.(*sopsage.MasterKey)
			switch {
			case ok && looksLikeAge(mine.Recipient):
				ages = append(ages, mine.Recipient)
			default:
				others++
			}
		}
	}
	slices.Sort(ages)
	text := "its age recipients are " + strings.Join(ages, ", ")
	if len(ages) == 0 {
		text = "it has no age recipient"
	}
	if others > 0 {
		text += fmt.Sprintf(", and %d of another kind", others)
	}
	return text + `: add gitrota's with "sops updatekeys" or "sops rotate --add-age"`
}

func looksLikeAge(recipient string) bool {
	return strings.HasPrefix(recipient, "age1") && len(recipient) < 3000 && !strings.ContainsFunc(recipient, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
}
