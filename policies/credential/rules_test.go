package credential_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
)

func TestGeneratedPasswordsFollowTheRules(t *testing.T) {
	generate := func(rules credential.Rules) string {
		c, err := credential.Generate(rand.Reader, "sa", rules)
		require.NoError(t, err)
		require.NoError(t, credential.Check(c, rules))
		return c.Password.Reveal()
	}
	for range 500 {
		require.Len(t, generate(credential.Rules{}), 32)
		require.Len(t, generate(credential.Rules{Length: 8, Classes: 4}), 8)
		require.Len(t, generate(credential.Rules{Length: 128}), 128)
		require.Len(t, generate(credential.Rules{MinLength: 40}), 40, "what people have to supply is not too much for a program")
		require.False(t, strings.ContainsAny(generate(credential.Rules{Exclude: "lI0Oöß✓"}), "lI0O"))

		text := generate(credential.Rules{Length: 12, Exclude: "-_.abcdefghijklmnopqrstuvwyz"})
		require.Regexp(t, `^[xA-Z][xA-Z0-9]{11}$`, text)
		require.Contains(t, text, "x", "of a class that has one character left")
		require.Regexp(t, `[0-9]`, text)

		few := credential.Rules{Length: 8, Exclude: "bcdefghijklmnopqrstuvwxyzBCDEFGHIJKLMNOPQRSTUVWXYZ123456789-_.", DenyList: []string{"AAA"}}
		require.NotContains(t, strings.ToLower(generate(few)), "aaa")
	}
}

func TestRulesThatCannotBeFollowedSayWhatToChange(t *testing.T) {
	for story, test := range map[string]struct {
		rules credential.Rules
		want  string
	}{
		"too short for SQL Server":           {credential.Rules{Length: 7}, "length is 7, and SQL Server takes passwords of 8 to 128 characters"},
		"too long for SQL Server":            {credential.Rules{MinLength: 129}, "minLength is 129, and SQL Server takes passwords of 8 to 128 characters"},
		"generated ones that nobody may use": {credential.Rules{Length: 12, MinLength: 16}, "length is 12 and minLength is 16, so no generated password would do: raise length"},
		"less than SQL Server wants":         {credential.Rules{Classes: 2}, "classes is 2: it is 3, which SQL Server's policy wants, or 4"},
		"more classes than there are":        {credential.Rules{Classes: 5}, "classes is 5: it is 3, which SQL Server's policy wants, or 4"},
		"a history without an end":           {credential.Rules{Reuse: 25}, "reuse is 25: it is from 0 to 24"},
		"nothing to begin with": {credential.Rules{Exclude: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"},
			"exclude leaves no letter, and generated passwords begin with one: leave some out of it"},
		"a class of which nothing is left": {credential.Rules{Exclude: "0123456789-_."}, "exclude leaves characters of 2 classes to generate passwords of " +
			"(abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ), and they need 3: leave some of a further class out of it"},
	} {
		t.Run(story, func(t *testing.T) {
			require.EqualError(t, test.rules.Check(), test.want)
			_, err := credential.Generate(rand.Reader, "sa", test.rules)
			require.EqualError(t, err, "generating a password: "+test.want)
		})
	}
	require.NoError(t, credential.Rules{}.Check())

	t.Run("a deny list that leaves nothing", func(t *testing.T) {
		rules := credential.Rules{Length: 8, Exclude: "bcdefghijklmnopqrstuvwxyzBCDEFGHIJKLMNOPQRSTUVWXYZ123456789-_."}
		for _, a := range "a0" {
			for _, b := range "a0" {
				for _, c := range "a0" {
					rules.DenyList = append(rules.DenyList, string([]rune{a, b, c}))
				}
			}
		}
		_, err := credential.Generate(rand.Reader, "sa", rules)
		require.EqualError(t, err, "generating a password: the deny list, exclude and the login's name leave next to none: take short words out of the deny list")
	})
}

func TestSuppliedPasswordsFollowTheRulesToo(t *testing.T) {
	rules := credential.Rules{MinLength: 16, Classes: 4, Exclude: "lI0O✓", DenyList: []string{"Company", "", "  ", "xy"}}
	for story, test := range map[string]struct{ password, want string }{
		"one that does":                                {"Correct-Horse-9-Stapfer", ""},
		"one that SQL Server would take":               {"Mssqlserver2", "the password is too short: it has 12 characters, the RotationPolicy wants 16 or more"},
		"a class is missing":                           {"CorrectHorse9Stapfer", "the password is too simple: it has 3 of the four classes upper case, lower case, digits and symbols, the RotationPolicy wants 4"},
		"a character that is excluded":                 {"Correct-Horse-0-Stapfer", "the password holds a character that the RotationPolicy excludes"},
		"a word of the deny list in any case":          {"Correct-coMPANy-9-Stapfer", "the password is, or contains, a word of the deny list"},
		"short words are in too many to be looked for": {"Correct-Horse-9-xy", ""},
	} {
		t.Run(story, func(t *testing.T) {
			err := credential.Check(credential.Credential{Username: "sa", Password: credential.NewPassword(test.password)}, rules)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, test.want)
			require.NotContains(t, err.Error(), test.password)
		})
	}
	err := credential.Check(credential.Credential{Username: "sa", Password: credential.NewPassword("Aa1-Bb2-")}, credential.Rules{DenyList: []string{"aA1-bB2-"}})
	require.EqualError(t, err, "the password is, or contains, a word of the deny list")
}
