package signature

import (
	"slices"
	"strings"
)

// patterns is a pattern-list of ssh_config(5).
type patterns []string

func parsePatterns(text string) patterns {
	return slices.DeleteFunc(strings.Split(text, ","), func(p string) bool { return p == "" })
}

// accept reports whether one of the patterns matches, and none that is negated. No patterns accept everything.
func (p patterns) accept(text string) bool {
	return len(p) == 0 || p.matches(text) && !p.denies(text)
}

func (p patterns) matches(text string) bool {
	return slices.ContainsFunc(p, func(one string) bool { return !strings.HasPrefix(one, "!") && match(one, text) })
}

func (p patterns) denies(text string) bool {
	return slices.ContainsFunc(p, func(one string) bool {
		negated, is := strings.CutPrefix(one, "!")
		return is && match(negated, text)
	})
}

// match reports whether text fits a pattern, in which * is any text and ? any character.
func match(pattern, text string) bool {
	star, from := -1, 0 // where the last * was, and how much of text it has taken so far
	p := 0
	for t := 0; t < len(text); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
