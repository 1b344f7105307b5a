package manifest

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
)

// readLoginPair reads two logins that take turns, and how long the one that had its turn stays valid.
func (s *Server) readLoginPair(in *reader, spec *yaml.Node) {
	pair := given(spec, "loginPair")
	grace := in.duration(spec, "gracePeriod", "spec.gracePeriod", true)
	if len(pair) == 0 {
		for _, key := range given(spec, "gracePeriod") {
			in.problem(key, ReasonInvalidField, "spec.gracePeriod is how long the other login of spec.loginPair stays valid, and there is no pair",
				"leave it out, or give spec.loginPair")
		}
		return
	}
	s.Spec.GracePeriod = defaultGracePeriod
	if grace != nil {
		s.Spec.GracePeriod = *grace
	}
	if len(given(spec, "admin")) == 0 {
		in.problem(pair[0], ReasonMissingField, "spec.loginPair needs spec.admin: neither login of a pair may change the other one",
			"give the Secret of a login that may")
	}
	for _, key := range given(spec, "containedDatabase") {
		in.problem(key, ReasonInvalidField, "spec.containedDatabase and spec.loginPair do not go together", "leave one of them out")
	}
	items := in.list(spec, "loginPair", "spec.loginPair")
	for i, item := range items {
		where := fmt.Sprintf("spec.loginPair[%d]", i)
		name, ok := in.scalar(item, where)
		if !ok {
			continue
		}
		if flaw := loginFlaw(name); flaw != "" {
			in.problem(item, ReasonInvalidField, where+" "+flaw, "give the name of a login of SQL Server")
		}
		s.Spec.LoginPair = append(s.Spec.LoginPair, name)
	}
	switch {
	case len(items) == 0: // said already
	case len(items) != 2:
		in.problem(pair[0], ReasonInvalidField, fmt.Sprintf("spec.loginPair has %d and not two logins", len(items)), "give two, which take turns")
	case len(s.Spec.LoginPair) == 2 && sameLogin(s.Spec.LoginPair[0], s.Spec.LoginPair[1]):
		in.problem(items[1], ReasonInvalidField, "spec.loginPair names one login twice: most servers make no difference between upper and lower case",
			"give two different logins")
	}
}

// sameLogin compares names as SQL Server does with its usual collations: without regard to case and blanks at the end.
func sameLogin(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, " "), strings.TrimRight(b, " "))
}

// loginFlaw says why no login with a password can have that name; "" if one can.
func loginFlaw(name string) string {
	if strings.Contains(name, `\`) {
		return "has a backslash, as logins of Windows have, and these have no password of their own"
	}
	return sysnameFlaw(name)
}

// sysnameFlaw says why a text is no name of SQL Server, its type sysname; "" if it is one.
func sysnameFlaw(name string) string {
	units := 0
	for _, r := range name {
		if unicode.IsControl(r) {
			return "has a control character"
		}
		units += utf16.RuneLen(r)
	}
	switch {
	case strings.Trim(name, " ") == "":
		return "is empty"
	case units > 128:
		return fmt.Sprintf("has %d characters, and SQL Server's names have 128 at most", units)
	}
	return ""
}
