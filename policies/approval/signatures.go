package approval

import (
	"fmt"
	"strings"
)

// Trailer is what a commit that approves a content has in its message, once for each file: path@blob. Of a file that was
// removed the blob is 40 zeros.
const Trailer = "Approves"

// Subject is the trailer's value for a content.
func Subject(path, blob string) string {
	if blob == "" {
		blob = strings.Repeat("0", 40)
	}
	return path + "@" + blob
}

// signed judges a file under a rule that asks for signatures.
func signed(f File, rule Rule) finding {
	needed, whose := rule.Count, "signature"
	if !rule.AuthorCounts && f.Added.Principal == "" {
		needed++
	}
	commits := []Commit{f.Added}
	if f.Landed.Hash != f.Added.Hash {
		commits = append(commits, f.Landed)
	}
	commits = append(commits, f.Approving...)
	var by, have, not []string
	seen := map[string]bool{}
	for _, c := range commits {
		why := ""
		switch {
		case c.Principal == "" && c.Problem == "":
			continue
		case c.Principal == "":
			why = c.Problem
		case !rule.AuthorCounts && (strings.EqualFold(c.Principal, f.Added.Principal) || strings.EqualFold(c.Principal, f.Added.Address)):
			why = "it is the author's own"
		case len(rule.By) > 0 && !contains(rule.By, c.Principal):
			why = "the policy asks for others"
		case seen[strings.ToLower(c.Principal)], seen[c.Key]:
			continue // once is enough
		}
		who := c.Principal
		if who == "" {
			who = c.Committer
		}
		if why != "" {
			not = append(not, fmt.Sprintf("that of %s on commit %s does not count: %s", who, short(c.Hash), why))
			continue
		}
		seen[strings.ToLower(c.Principal)], seen[c.Key] = true, true
		have = append(have, fmt.Sprintf("%s with commit %s", c.Principal, short(c.Hash)))
		by = append(by, c.Principal+" "+c.Hash)
	}
	if len(have) >= needed {
		return finding{true, ReasonSigned, fmt.Sprintf("signed by %s", strings.Join(have, ", ")), by}
	}
	text := fmt.Sprintf("needs %s and has %d", counted(needed, whose), len(have))
	if len(have) > 0 {
		text += ": " + strings.Join(have, ", ")
	}
	if needed > rule.Count {
		text += fmt.Sprintf("; one of them because commit %s, which added it, has no signature that proves who its author is", short(f.Added.Hash))
	}
	for _, n := range not {
		text += "; " + n
	}
	text += fmt.Sprintf(`; to approve, push a signed commit with the trailer "%s: %s"`, Trailer, Subject(f.Path, f.Blob))
	return finding{reason: ReasonSignaturesMissing, text: text}
}
