package credential

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The lengths that SQL Server's password policy knows, in UTF-16 units ("Password policy", SQL Server documentation).
const (
	MinLength = 8
	MaxLength = 128
)

// Check judges a credential that somebody supplied and says, without quoting the password, what is wrong with it.
// It refuses what SQL Server's policy would refuse, so that the server is not even asked, and what some client could
// not send: control characters, characters outside the Basic Multilingual Plane (go-mssqldb counts them wrongly in a
// login), a semicolon (it ends the value in connection strings, KubeDB's own among them), and blanks at the ends. The
// rules come on top; their Length and Reuse are not judged here.
func Check(c Credential, rules Rules) error {
	text := c.Password.Reveal()
	length := len(utf16.Encode([]rune(text)))
	switch {
	case text == "":
		return fmt.Errorf("the password is empty")
	case !utf8.ValidString(text):
		return fmt.Errorf("the password is not valid UTF-8, so no client can send it")
	case length < MinLength:
		return fmt.Errorf("the password is too short: it has %d characters, SQL Server's policy wants %d or more", length, MinLength)
	case length < rules.minLength():
		return fmt.Errorf("the password is too short: it has %d characters, the RotationPolicy wants %d or more", length, rules.minLength())
	case length > MaxLength:
		return fmt.Errorf("the password is too long: it has %d characters, SQL Server takes %d at most", length, MaxLength)
	}
	for _, r := range text {
		switch {
		case unicode.IsControl(r):
			return fmt.Errorf("the password holds a control character (a line break or tab, often from `echo` without -n), which clients cannot send")
		case r > 0xFFFF:
			return fmt.Errorf("the password holds a character outside the Basic Multilingual Plane (an emoji, for example), which SQL Server clients send wrongly")
		case r == ';':
			return fmt.Errorf("the password holds a semicolon, which ends the value in connection strings")
		case strings.ContainsRune(rules.Exclude, r):
			return fmt.Errorf("the password holds a character that the RotationPolicy excludes")
		}
	}
	if strings.TrimSpace(text) != text {
		return fmt.Errorf("the password begins or ends with a blank, which connection strings drop")
	}
	switch n := classes(text); {
	case n < minClasses:
		return fmt.Errorf("the password is too simple: it has %d of the four classes upper case, lower case, digits and symbols, SQL Server's policy wants 3", n)
	case n < rules.classes():
		return fmt.Errorf("the password is too simple: it has %d of the four classes upper case, lower case, digits and symbols, the RotationPolicy wants %d", n, rules.classes())
	case rules.denies(text):
		return fmt.Errorf("the password is, or contains, a word of the deny list")
	}
	if holdsName(text, c.Username) {
		return fmt.Errorf("the password contains the login's name, which SQL Server's policy refuses")
	}
	return nil
}

// holdsName reports whether SQL Server's policy would find the login's name in a password. Short names are contained in too
// many words; Windows, whose rule this is, starts at three characters as well.
func holdsName(text, username string) bool {
	return len(username) >= 3 && strings.Contains(strings.ToLower(text), strings.ToLower(username))
}

// classes counts how many of upper case, lower case, digits and symbols text has.
func classes(text string) int {
	var hasUpper, hasLower, hasDigit, hasSymbol int
	for _, r := range text {
		switch {
		case unicode.IsUpper(r):
			hasUpper = 1
		case unicode.IsLower(r):
			hasLower = 1
		case unicode.IsDigit(r):
			hasDigit = 1
		default:
			hasSymbol = 1
		}
	}
	return hasUpper + hasLower + hasDigit + hasSymbol
}
