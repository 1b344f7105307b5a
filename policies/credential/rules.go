package credential

import (
	"cmp"
	"fmt"
	"strings"
)

// Rules say what passwords have to be like. The zero value asks for what SQL Server's own policy does, and for
// generated passwords of [GeneratedLength]. Lengths are in characters, as UTF-16 counts them.
type Rules struct {
	Length    int      `json:"length,omitempty"`    // of generated passwords; 0: GeneratedLength, or MinLength if that is more
	MinLength int      `json:"minLength,omitempty"` // of supplied ones; 0: [MinLength]
	Classes   int      `json:"classes,omitempty"`   // how many of upper case, lower case, digits and symbols; 0: 3
	Exclude   string   `json:"exclude,omitempty"`   // characters that no password may hold
	Reuse     int      `json:"reuse,omitempty"`     // how many of the last passwords may not be used again; 0: any may
	DenyList  []string `json:"denyList,omitempty"`  // words that no password may be or contain, in upper or lower case
}

// MaxReuse bounds Rules.Reuse: each password that is looked for costs time, on purpose.
const MaxReuse = 24

// minClasses is what SQL Server's policy asks for.
const minClasses = 3

// Check says what makes it impossible to follow the rules, and what to change; nil: they can be followed.
func (r Rules) Check() error {
	allowed := r.alphabet(lower + upper + digits + symbols)
	switch {
	case r.Length != 0 && (r.Length < MinLength || r.Length > MaxLength):
		return fmt.Errorf("length is %d, and SQL Server takes passwords of %d to %d characters", r.Length, MinLength, MaxLength)
	case r.MinLength != 0 && (r.MinLength < MinLength || r.MinLength > MaxLength):
		return fmt.Errorf("minLength is %d, and SQL Server takes passwords of %d to %d characters", r.MinLength, MinLength, MaxLength)
	case r.Length != 0 && r.Length < r.MinLength:
		return fmt.Errorf("length is %d and minLength is %d, so no generated password would do: raise length", r.Length, r.MinLength)
	case r.Classes != 0 && (r.Classes < minClasses || r.Classes > 4):
		return fmt.Errorf("classes is %d: it is 3, which SQL Server's policy wants, or 4", r.Classes)
	case r.Reuse < 0 || r.Reuse > MaxReuse:
		return fmt.Errorf("reuse is %d: it is from 0 to %d", r.Reuse, MaxReuse)
	case r.alphabet(lower+upper) == "":
		return fmt.Errorf("exclude leaves no letter, and generated passwords begin with one: leave some out of it")
	case classes(allowed) < r.classes():
		return fmt.Errorf("exclude leaves characters of %d classes to generate passwords of (%s), and they need %d: leave some of a further class out of it",
			classes(allowed), allowed, r.classes())
	}
	return nil
}

func (r Rules) length() int    { return cmp.Or(r.Length, max(GeneratedLength, r.MinLength)) }
func (r Rules) minLength() int { return max(MinLength, r.MinLength) }
func (r Rules) classes() int   { return max(minClasses, r.Classes) }

// alphabet returns those of some characters that are not excluded.
func (r Rules) alphabet(characters string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(r.Exclude, c) {
			return -1
		}
		return c
	}, characters)
}

// minWord is how long a word of the deny list has to be to be looked for inside of passwords: shorter ones are in too
// many. They are refused as a whole password only.
const minWord = 3

// denies reports whether a text is, or contains, a word of the deny list.
func (r Rules) denies(text string) bool {
	text = strings.ToLower(text)
	for _, word := range r.DenyList {
		word = strings.ToLower(strings.TrimSpace(word))
		if word != "" && (text == word || len(word) >= minWord && strings.Contains(text, word)) {
			return true
		}
	}
	return false
}
