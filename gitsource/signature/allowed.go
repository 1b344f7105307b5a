package signature

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// allowed is one line of an allowed_signers file.
type allowed struct {
	principals  patterns
	namespaces  patterns // empty: all
	validAfter  time.Time
	validBefore time.Time // both are in; zero: no bound
	key         ssh.PublicKey
	at          string // file:line
}

// readAllowed reads an allowed_signers file. Times without a zone are those of zone. Where ssh-keygen would skip a line
// that it does not understand, this is an error: a list with a hole in it should not pass for whole.
func readAllowed(file string, text []byte, zone *time.Location) ([]allowed, error) {
	var all []allowed
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		one, err := parseAllowed(line, zone)
		one.at = fmt.Sprintf("%s:%d", file, i+1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.at, err)
		}
		all = append(all, one)
	}
	return all, nil
}

func parseAllowed(line string, zone *time.Location) (allowed, error) {
	names, rest, ok := cutField(line)
	one := allowed{principals: parsePatterns(names)}
	if !ok || len(one.principals) == 0 {
		return allowed{}, fmt.Errorf("a line is principals, options if any, and a public key: %.80q is not", line)
	}
	// What follows the principals is a line of authorized_keys, but for the names of the options.
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return allowed{}, fmt.Errorf("no public key after the principals %.80q", names)
	}
	if _, is := key.(*ssh.Certificate); is {
		return allowed{}, fmt.Errorf("a certificate in place of a public key is not supported: list the key")
	}
	one.key = key
	for _, option := range options {
		if err := one.set(option, zone); err != nil {
			return allowed{}, err
		}
	}
	if !one.validBefore.IsZero() && !one.validBefore.After(one.validAfter) {
		return allowed{}, fmt.Errorf("valid-before is not after valid-after")
	}
	return one, nil
}

// cutField takes the first field off a line. It may stand in double quotes.
func cutField(line string) (field, rest string, ok bool) {
	if quoted, is := strings.CutPrefix(line, `"`); is {
		return strings.Cut(quoted, `"`)
	}
	end := strings.IndexAny(line, " \t")
	if end < 0 {
		return line, "", false
	}
	return line[:end], strings.TrimLeft(line[end:], " \t"), true
}

func (a *allowed) set(option string, zone *time.Location) error {
	name, quoted, _ := strings.Cut(option, "=")
	value := strings.Trim(quoted, `"`)
	name = strings.ToLower(name)
	switch name {
	case "cert-authority":
		return fmt.Errorf("cert-authority is not supported: list the keys themselves")
	case "namespaces", "valid-after", "valid-before":
	default:
		return fmt.Errorf("%.40q is not an option of an allowed signer: namespaces, valid-after and valid-before are", name)
	}
	if quoted != `"`+value+`"` {
		return fmt.Errorf("the value of %s has to stand in double quotes", name)
	}
	switch name {
	case "namespaces":
		if a.namespaces != nil {
			return fmt.Errorf("namespaces is given twice")
		}
		if a.namespaces = parsePatterns(value); len(a.namespaces) == 0 {
			return fmt.Errorf("namespaces is empty: name git, or leave the option out")
		}
		return nil
	case "valid-after":
		return setTime(&a.validAfter, "valid-after", value, zone)
	}
	return setTime(&a.validBefore, "valid-before", value, zone)
}

func setTime(to *time.Time, name, value string, zone *time.Location) error {
	if !to.IsZero() {
		return fmt.Errorf("%s is given twice", name)
	}
	digits := value
	for _, utc := range []string{"Z", "UTC"} {
		if short, is := strings.CutSuffix(strings.ToUpper(value), utc); is {
			digits, zone = short, time.UTC
		}
	}
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if ok {
		var err error
		*to, err = time.ParseInLocation(layout, digits, zone)
		ok = err == nil
	}
	if !ok {
		return fmt.Errorf("%s is %.40q, and not YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC", name, value)
	}
	return nil
}

// principal returns who signed, for a commit of that address; "" for somebody whom the line excludes.
func (a *allowed) principal(email string) string {
	switch {
	case a.principals.denies(email):
		return ""
	case a.principals.matches(email):
		return email
	}
	for _, p := range a.principals {
		if !strings.HasPrefix(p, "!") {
			return p
		}
	}
	return ""
}

func (a *allowed) validAt(t time.Time) bool {
	return (a.validAfter.IsZero() || !t.Before(a.validAfter)) && (a.validBefore.IsZero() || !t.After(a.validBefore))
}

// validity says when the key is valid, for an error.
func (a *allowed) validity() string {
	var said []string
	if !a.validAfter.IsZero() {
		said = append(said, "from "+a.validAfter.UTC().Format(time.RFC3339))
	}
	if !a.validBefore.IsZero() {
		said = append(said, "until "+a.validBefore.UTC().Format(time.RFC3339))
	}
	return strings.Join(said, " ")
}
