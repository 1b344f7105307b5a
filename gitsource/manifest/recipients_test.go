package manifest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/guardrails"
)

func TestRecipientsOfASecret(t *testing.T) {
	s := newSealer(t)
	sealed := s.seal(t, plainSecret, onlyValues)
	ours := guardrails.Guardrails{Recipients: []string{s.recipient}, KeyServices: []string{"age"}}

	said := func(content string, g guardrails.Guardrails) string {
		secrets := parse(content).Secrets
		require.Len(t, secrets, 1)
		if problem := secrets[0].ForeignRecipient(g); problem != nil {
			return problem.String()
		}
		return ""
	}
	const hint = "; choose a new password and encrypt it for allowed keys only: this one stays readable in Git's history"

	t.Run("are known without decrypting it", func(t *testing.T) {
		r := parse(sealed).Secrets[0].Recipients
		require.Len(t, r, 1)
		require.Equal(t, "age", r[0].Kind)
		require.Equal(t, s.recipient, r[0].Name)
		require.Empty(t, parse(plainSecret).Secrets[0].Recipients)
	})

	t.Run("are allowed as they are, or with no guardrails", func(t *testing.T) {
		require.Empty(t, said(sealed, ours))
		require.Empty(t, said(sealed, guardrails.Guardrails{}))
	})

	t.Run("one who is not listed is named with the line", func(t *testing.T) {
		eve := newSealer(t)
		require.Regexp(t, `^rotations/a\.yaml:20: ForeignRecipient: the file can be decrypted with the age key "`+eve.recipient+
			`", which is not one of the recipients that the guardrails allow`+hint+`$`, said(eve.seal(t, plainSecret, onlyValues), ours))
	})

	t.Run("another kind of key is found wherever the file has it", func(t *testing.T) {
		vault := "sops:\n    hc_vault:\n        - vault_address: https://vault.example.com\n          engine_path: transit\n          key_name: k\n          created_at: \"2026-01-01T00:00:00Z\"\n          enc: vault:v1:AAAA"
		require.Equal(t, `rotations/a.yaml:1: ForeignRecipient: the file can be decrypted with the key "https://vault.example.com/v1/transit/keys/k" of the kind "hc_vault", `+
			"and the guardrails allow the kinds age"+hint, said(strings.Replace(sealed, "sops:", vault, 1), ours))
		groups := "sops:\n    key_groups:\n        - age: [{recipient: " + s.recipient + ", enc: x}]\n" +
			"        - pgp: [{fp: FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4, created_at: \"2026-01-01T00:00:00Z\", enc: x}]\n    was:"
		require.Contains(t, said(strings.Replace(sealed, "sops:\n    age:", groups, 1), ours), `with the key "FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4" of the kind "pgp"`)
	})

	t.Run("a name with anything in it is quoted and cut", func(t *testing.T) {
		odd := strings.Replace(sealed, s.recipient, `"age1\n\e[31m `+strings.Repeat("x", 5000)+`"`, 1)
		require.Equal(t, `rotations/a.yaml:1: ForeignRecipient: the file can be decrypted with the age key "age1\n\x1b[31m `+strings.Repeat("x", 89)+`…", `+
			"which is not one of the recipients that the guardrails allow"+hint, said(odd, ours))
	})

	t.Run("all documents of a file have them in common", func(t *testing.T) {
		content, err := os.ReadFile("../sopsfile/testdata/multi.yaml")
		require.NoError(t, err)
		set := parse(string(content))
		require.Len(t, set.Secrets, 2)
		for _, secret := range set.Secrets {
			require.NotNil(t, secret.ForeignRecipient(ours))
			require.NotEmpty(t, secret.Recipients)
		}
		require.Equal(t, guardrails.ReasonForeignRecipient, set.Secrets[0].ForeignRecipient(ours).Reason)
	})
}
