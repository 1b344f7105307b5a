package manifest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
)

func TestASealedCredentialIsReadByWhoHasTheKey(t *testing.T) {
	ours, other := newSealer(t), newSealer(t)
	for _, password := range []string{"Canary5-Passw0rd", "0123", "null", "true", "2026-11-23", "a: b # c", "'\"\\", "-_.", "1e3"} {
		c := credential.Credential{Username: "sa", Password: credential.NewPassword(password)}
		file, err := manifest.SealCredential("demo", "r", c, []string{ours.recipient, other.recipient})
		require.NoError(t, err)
		require.NotContains(t, string(file), canary)

		set := parse("# who made it\n" + string(file))
		require.Empty(t, set.AllProblems())
		for _, s := range []sealer{ours, other} {
			got, problem := manifest.ReadCredential(set.Secret("demo", "r"), s.keys)
			require.Nil(t, problem, password)
			require.Equal(t, c, got)
		}
		_, problem := manifest.ReadCredential(set.Secret("demo", "r"), newSealer(t).keys)
		require.Equal(t, manifest.ReasonUndecryptable, problem.Reason)
	}
	_, err := manifest.SealCredential("demo", "r", credential.Credential{Username: "sa", Password: credential.NewPassword(canary)}, []string{"age1nonsense"})
	require.EqualError(t, err, `encrypting with SOPS: "age1nonsense" is not an age recipient`)
}
