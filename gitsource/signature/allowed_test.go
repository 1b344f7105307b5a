package signature

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1kw8Y0sXkI8oiPSfLkk6VkqcLqsrNcJ5eRmUpp6nTB"

func TestALineThatIsNoAllowedSigner(t *testing.T) {
	for line, says := range map[string]string{
		"dana@example.com":                                                   "a line is principals, options if any, and a public key",
		"dana@example.com ssh-ed25519":                                       "no public key after the principals",
		publicKey:                                                            "no public key after the principals",
		`"dana@example.com ` + publicKey:                                     "a line is principals",
		", " + publicKey:                                                     "a line is principals",
		"*@example.com cert-authority " + publicKey:                          "cert-authority is not supported: list the keys themselves",
		`dana no-touch-required ` + publicKey:                                `"no-touch-required" is not an option of an allowed signer`,
		`dana namespaces="" ` + publicKey:                                    "namespaces is empty",
		`dana namespaces=git ` + publicKey:                                   "the value of namespaces has to stand in double quotes",
		`dana namespaces="git",namespaces="file" ` + publicKey:               "namespaces is given twice",
		`dana valid-after="2026-01-01" ` + publicKey:                         `valid-after is "2026-01-01", and not YYYYMMDD`,
		`dana valid-after="20261301" ` + publicKey:                           "and not YYYYMMDD",
		`dana valid-after="20260101",valid-after="20260102" ` + publicKey:    "valid-after is given twice",
		`dana valid-before="20260101Z",valid-after="20260101Z" ` + publicKey: "valid-before is not after valid-after",
	} {
		t.Run(line, func(t *testing.T) {
			_, err := readAllowed("signers", []byte("# comment\n\n"+line+"\n"), time.UTC)
			require.ErrorContains(t, err, "signers:3: ")
			require.ErrorContains(t, err, says)
		})
	}
}

func TestTimesOfAnAllowedSignerAreLocalWithoutAZ(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	for text, want := range map[string]string{
		"20260310":        "2026-03-09T23:00:00Z",
		"20260310Z":       "2026-03-10T00:00:00Z",
		"20260310z":       "2026-03-10T00:00:00Z",
		"20260310UTC":     "2026-03-10T00:00:00Z",
		"202603101200":    "2026-03-10T11:00:00Z",
		"20260310120030":  "2026-03-10T11:00:30Z",
		"20260310120030Z": "2026-03-10T12:00:30Z",
	} {
		lines, err := readAllowed("signers", []byte(`dana valid-after="`+text+`" `+publicKey), zone)
		require.NoError(t, err)
		require.Equal(t, want, lines[0].validAfter.UTC().Format(time.RFC3339))
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "A", false}, {"*", "", true}, {"*", "abc", true},
		{"a*c", "abbc", true}, {"a*c", "abcd", false}, {"a*b*c", "aXbYbZc", true}, {"?", "", false}, {"?b", "ab", true},
		{"*@example.com", "dana@example.com", true}, {"*@example.com", "dana@example.com.evil", false},
		{"a**", "a", true}, {"[a]", "a", false}, {strings.Repeat("*a", 40) + "b", strings.Repeat("a", 200), false},
	} {
		require.Equal(t, c.want, match(c.pattern, c.text), "%q, %q", c.pattern, c.text)
	}
}

func FuzzAllowedSigners(f *testing.F) {
	f.Add("dana@example.com " + publicKey)
	f.Add(`"a b",!c namespaces="git,fi*",valid-after="20260101Z",valid-before="20270101" ` + publicKey + " comment")
	f.Add("*@example.com cert-authority " + publicKey)
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := readAllowed("signers", []byte(text), time.UTC)
		if err != nil {
			require.Contains(t, err.Error(), "signers:")
			return
		}
		for _, line := range lines {
			require.NotNil(t, line.key)
			require.NotEmpty(t, line.principals)
			if line.principals.denies("dana@example.com") {
				require.Empty(t, line.principal("dana@example.com"))
			}
		}
	})
}
