package credential_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/policies/credential"
)

func TestAPasswordShowsNothingWhateverPrintsIt(t *testing.T) {
	const canary = "Canary-7fK2"
	c := credential.Credential{Username: "sa", Password: credential.NewPassword(canary)}

	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("event", "credential", c, "password", c.Password, "pointer", &c)
	asJSON, err := json.Marshal(map[string]any{"c": c, "p": &c.Password})
	require.NoError(t, err)
	asYAML, err := yaml.Marshal(c)
	require.NoError(t, err)

	shown := []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %s %q", c, c, c.Password, c.Password), fmt.Sprintf("%#v", c),
		fmt.Sprintf("%v", &c), fmt.Sprintf("%v", []credential.Credential{c}), fmt.Errorf("bad %v", c.Password).Error(),
		logged.String(), string(asJSON), string(asYAML),
	}
	for _, text := range shown {
		require.NotContains(t, text, canary)
	}
	// %x and %d bypass String on some types: a struct without exported fields has to hold there, too.
	require.NotContains(t, fmt.Sprintf("%x", c.Password), fmt.Sprintf("%x", canary))
	require.Equal(t, canary, c.Password.Reveal())
}

func TestGeneratedPasswordsAreLongMixedAndSafeEverywhere(t *testing.T) {
	seen := map[string]bool{}
	for range 2000 {
		c, err := credential.Generate(rand.Reader, "sa", credential.Rules{})
		require.NoError(t, err)
		require.Equal(t, "sa", c.Username)
		text := c.Password.Reveal()
		require.False(t, seen[text], "the same password twice")
		seen[text] = true

		require.GreaterOrEqual(t, len(text), 24)
		require.NoError(t, credential.Check(c, credential.Rules{}))
		for name, class := range map[string]string{
			"upper": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "lower": "abcdefghijklmnopqrstuvwxyz", "digit": "0123456789", "symbol": "-_.",
		} {
			require.True(t, strings.ContainsAny(text, class), "no %s in %q", name, text)
		}
		require.Equal(t, text, url.QueryEscape(text), "needs escaping in a URL")
		require.NotContains(t, text, ";")
		require.NotRegexp(t, `^[^a-zA-Z]`, text)
	}
}

func TestAGeneratedPasswordNeverHoldsTheLoginsName(t *testing.T) {
	few := credential.Rules{Length: 8, Exclude: "cdefghijklmnopqrstuvwxyzCDEFGHIJKLMNOPQRSTUVWXYZ23456789-_."} // leaves a, b, A, B, 0 and 1
	for range 500 {
		c, err := credential.Generate(rand.Reader, "bAb", few)
		require.NoError(t, err)
		require.NoError(t, credential.Check(c, few))
		require.NotContains(t, strings.ToLower(c.Password.Reveal()), "bab")
	}
}

func TestARandomSourceThatFailsMakesNoPassword(t *testing.T) {
	_, err := credential.Generate(strings.NewReader("short"), "sa", credential.Rules{})
	require.ErrorContains(t, err, "generating a password")
}

func TestSuppliedPasswordsAreRefusedWithTheReason(t *testing.T) {
	for _, tc := range []struct{ name, password, want string }{
		{"the seed's own", "Mssqlserver2", ""},
		{"umlauts count as letters", "Größe-über-9", ""},
		{"quotes and brackets", `Aa1'"]]{}<>--`, ""},
		{"128 characters", "Aa1" + strings.Repeat("x", 125), ""},
		{"129 characters", "Aa1" + strings.Repeat("x", 126), "too long: it has 129"},
		{"empty", "", "empty"},
		{"seven characters", "Aa1-xyz", "too short: it has 7"},
		{"two classes", "abcdefgh1", "too simple: it has 2"},
		{"a line break at the end", "Mssqlserver2\n", "control character"},
		{"a NUL", "Mssql\x00server2", "control character"},
		{"an emoji", "Mssqlserver2😀", "Basic Multilingual Plane"},
		{"a semicolon", "Mssql;server2", "semicolon"},
		{"a blank in front", " Mssqlserver2", "blank"},
		{"broken UTF-8", "Mssqlserver2\xff", "UTF-8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := credential.Check(credential.Credential{Username: "sa", Password: credential.NewPassword(tc.password)}, credential.Rules{})
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			if tc.password != "" {
				require.NotContains(t, err.Error(), tc.password)
			}
		})
	}
	require.ErrorContains(t, credential.Check(credential.Credential{Username: "reporting", Password: credential.NewPassword("My-Reporting-1")}, credential.Rules{}), "login's name")
}

func TestScrubTakesOutEverySpelling(t *testing.T) {
	p := credential.NewPassword("O'Neil&Co/7]x=1")
	text := p.Reveal()
	for _, form := range []string{
		text, strings.ReplaceAll(text, "'", "''"), url.QueryEscape(text), url.PathEscape(text),
		base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)),
	} {
		require.Equal(t, "near '<secret>' it failed", credential.Scrub("near '"+form+"' it failed", p), form)
	}
	require.Equal(t, "unchanged", credential.Scrub("unchanged", credential.Password{}))
}
