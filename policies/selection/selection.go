// Package selection decides which of several rules counts for a database, when each rule says for itself which
// databases it is about.
//
// The most specific rule wins. A rule that names the namespace wins over one with a glob for it, then one that names the
// database; of globs, the one with more text before its first * wins, and again the namespace is compared before the
// name; then the one that asks for more labels, whatever they are; last, a rule that names the kind wins over one that
// does not. Two rules that are equally specific and say different things are a [Conflict]: which of them was written
// last, or comes first in the alphabet, is no reason that anybody would guess.
package selection

import (
	"cmp"
	"fmt"
	"path"
	"reflect"
	"strings"
)

// Database is what rules are about. Kind is MSSQLServer or SQLServer.
type Database struct {
	Kind, Namespace, Name string
	Labels                map[string]string
}

// Pattern stands for databases. Namespace and Name are globs, in which * stands for any characters; see [IsGlob]. An
// empty Kind stands for all kinds. A database has to have all Labels, and may have more.
type Pattern struct {
	Kind, Namespace, Name string
	Labels                map[string]string
}

// Rule says one thing about the databases that its pattern matches. Two rules say the same if what they say is deeply
// equal.
type Rule[T any] struct {
	Pattern Pattern
	Says    T
	Where   string // it is written, for people: path:line
}

// Conflict is two equally specific rules that say different things about a database.
type Conflict struct {
	Database Database
	Where    [2]string
}

// Error names both places.
func (c *Conflict) Error() string {
	return fmt.Sprintf("%s and %s say different things about %s %s/%s, and neither is more specific",
		c.Where[0], c.Where[1], c.Database.Kind, c.Database.Namespace, c.Database.Name)
}

// IsGlob reports whether a text can match a Kubernetes name. One that cannot matches nothing.
func IsGlob(text string) bool {
	strange := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '*'
	}
	return text != "" && !strings.ContainsFunc(text, strange)
}

// Match reports whether a glob matches a name. With another glob in place of the name, true means that the first
// matches whatever the second one does.
func Match(glob, name string) bool {
	if !strings.HasPrefix(name, glob[:prefix(glob)]) || !IsGlob(glob) { // nearly all of many rules are about others
		return false
	}
	matched, err := path.Match(glob, name)
	return err == nil && matched
}

// Choose returns the rule that counts for a database, nil when none is about it. The order of the rules does not
// matter but among equally specific ones that say the same, of which it returns the first.
func Choose[T any](rules []Rule[T], database Database) (*Rule[T], *Conflict) {
	var best *Rule[T]
	var conflict *Conflict
	for i := range rules {
		rule := &rules[i]
		if !rule.Pattern.Matches(database) {
			continue
		}
		order := 1
		if best != nil {
			order = rule.Pattern.compare(best.Pattern)
		}
		switch {
		case order > 0:
			best, conflict = rule, nil
		case order == 0 && conflict == nil && !reflect.DeepEqual(rule.Says, best.Says):
			conflict = &Conflict{database, [2]string{best.Where, rule.Where}}
		}
	}
	if conflict != nil {
		return nil, conflict
	}
	return best, nil
}

// SureConflict returns the conflict that a database is in whatever its labels are, nil for none. One that labels could
// resolve, as some rule asks for them, is not sure.
func SureConflict[T any](rules []Rule[T], database Database) *Conflict {
	database.Labels = nil
	_, conflict := Choose(rules, database)
	for _, rule := range rules {
		if conflict == nil {
			break
		}
		// A rule that wins among more labels wins where there are no others than those that it asks for.
		labelled := database
		labelled.Labels = rule.Pattern.Labels
		if _, stays := Choose(rules, labelled); stays == nil {
			conflict = nil
		}
	}
	return conflict
}

// Matches reports whether the pattern stands for a database.
func (p Pattern) Matches(database Database) bool {
	for key, value := range p.Labels {
		if actual, ok := database.Labels[key]; !ok || actual != value {
			return false
		}
	}
	return p.CouldMatch(database)
}

// CouldMatch is Matches for a database of which nobody knows the labels: with the right ones it would match.
func (p Pattern) CouldMatch(database Database) bool {
	return (p.Kind == "" || p.Kind == database.Kind) && Match(p.Namespace, database.Namespace) && Match(p.Name, database.Name)
}

// Overlaps reports whether there could be a database that both patterns stand for.
func (p Pattern) Overlaps(q Pattern) bool {
	for key, value := range p.Labels {
		if other, ok := q.Labels[key]; ok && other != value {
			return false
		}
	}
	return (p.Kind == "" || q.Kind == "" || p.Kind == q.Kind) && meet(p.Namespace, q.Namespace) && meet(p.Name, q.Name)
}

// meet reports whether a text could match both globs.
func meet(a, b string) bool {
	next := make([]bool, len(b)+1) // next[j]: what follows in a meets b[j:]
	for i := len(a); i >= 0; i-- {
		row := make([]bool, len(b)+1)
		for j := len(b); j >= 0; j-- {
			switch {
			case i < len(a) && a[i] == '*':
				row[j] = next[j] || j < len(b) && row[j+1]
			case j < len(b) && b[j] == '*':
				row[j] = row[j+1] || i < len(a) && next[j]
			case i < len(a) && j < len(b):
				row[j] = a[i] == b[j] && next[j+1]
			default:
				row[j] = i == len(a) && j == len(b)
			}
		}
		next = row
	}
	return next[0]
}

// compare is above zero when p is more specific than q. Both match the same database.
func (p Pattern) compare(q Pattern) int {
	return cmp.Or(
		cmp.Compare(exact(p.Namespace), exact(q.Namespace)),
		cmp.Compare(exact(p.Name), exact(q.Name)),
		cmp.Compare(prefix(p.Namespace), prefix(q.Namespace)),
		cmp.Compare(prefix(p.Name), prefix(q.Name)),
		cmp.Compare(len(p.Labels), len(q.Labels)),
		cmp.Compare(min(len(p.Kind), 1), min(len(q.Kind), 1)),
	)
}

// exact is 1 for a name and 0 for a glob.
func exact(pattern string) int {
	if strings.Contains(pattern, "*") {
		return 0
	}
	return 1
}

// prefix is the length of what stands before the first *.
func prefix(pattern string) int {
	before, _, _ := strings.Cut(pattern, "*")
	return len(before)
}
