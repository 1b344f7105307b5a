package approval

import (
	"fmt"
	"slices"
	"strings"
)

// finding is what is to be said of one file under one rule.
type finding struct {
	approved     bool
	reason, text string
	by           []string
}

// Judge decides whether every file is approved under each of its rules.
func Judge(in Input) Verdict {
	v := Verdict{Approved: true, Reason: ReasonMerged}
	var said []statement
	for _, f := range in.Files {
		rules := f.Rules
		if len(rules) == 0 {
			rules = []Rule{{Mode: Merge}}
		}
		for _, rule := range rules {
			found := judge(f, rule, in.Bots)
			if !found.approved && v.Approved {
				v, said = Verdict{Reason: found.reason}, nil // what is there already is of no interest any more
			}
			if found.approved != v.Approved {
				continue
			}
			if found.approved && found.reason != ReasonMerged {
				v.Reason = found.reason
			}
			said = state(said, f.Path, found.text)
			for _, by := range found.by {
				if !slices.Contains(v.By, by) {
					v.By = append(v.By, by)
				}
			}
		}
	}
	v.Message = join(said)
	return v
}

func judge(f File, rule Rule, bots []string) finding {
	switch rule.Mode {
	case Signatures:
		return signed(f, rule)
	case Reviews:
		return reviewed(f, rule, bots)
	}
	text := fmt.Sprintf("on the branch since commit %s of %s", short(f.Added.Hash), f.Added.Author)
	if f.Landed.Hash != f.Added.Hash {
		text += fmt.Sprintf(", merged by %s with %s", f.Landed.Committer, short(f.Landed.Hash))
	}
	return finding{approved: true, reason: ReasonMerged, text: text}
}

// statement is a text about some files.
type statement struct {
	paths []string
	text  string
}

// state says a text once for all the files that it is about.
func state(said []statement, path, text string) []statement {
	for i := range said {
		if said[i].text == text {
			if !slices.Contains(said[i].paths, path) {
				said[i].paths = append(said[i].paths, path)
			}
			return said
		}
	}
	return append(said, statement{[]string{path}, text})
}

func join(said []statement) string {
	var lines []string
	for _, s := range said {
		lines = append(lines, strings.Join(s.paths, ", ")+": "+s.text)
	}
	return strings.Join(lines, "\n")
}

// short is how people write a commit's hash.
func short(hash string) string { return hash[:min(len(hash), 12)] }

// counted says how many of how many, of what.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func contains(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}
