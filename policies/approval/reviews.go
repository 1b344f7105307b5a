package approval

import (
	"fmt"
	"slices"
	"strings"
)

// reviewed judges a file under a rule that asks for reviews.
func reviewed(f File, rule Rule, bots []string) finding {
	if f.Unasked != "" {
		return finding{reason: ReasonForgeUnavailable, text: "the reviews are not known: " + f.Unasked}
	}
	best := finding{reason: ReasonNoPullRequest, text: fmt.Sprintf("needs %s and came to the branch without a pull request, by commit %s of %s; propose it in a pull request",
		counted(rule.Count, "approving review"), short(f.Landed.Hash), f.Landed.Author)}
	for _, p := range f.PullRequests {
		found := reviewedIn(p, f, rule, bots)
		if found.approved {
			return found
		}
		best = found
	}
	return best
}

func reviewedIn(p PullRequest, f File, rule Rule, bots []string) finding {
	name := fmt.Sprintf("pull request #%d (%s)", p.Number, p.Link)
	if p.Blob != f.Blob {
		return finding{reason: ReasonNoPullRequest, text: fmt.Sprintf("%s had another content than the branch has now: what was changed in the merge or since needs a pull request of its own", name)}
	}
	needed := rule.Count
	unknown := !f.Scheduled && contains(bots, p.Author)
	if unknown {
		needed++
	}
	var by, have, not []string
	for _, r := range lastWords(p.Reviews) {
		why := ""
		switch {
		case strings.EqualFold(r.Account, p.Author):
			why = "it is the author's own"
		case contains(bots, r.Account):
			why = "it is a bot's"
		case len(rule.By) > 0 && !contains(rule.By, r.Account):
			why = "the policy asks for others"
		case r.State == Dismissed:
			why = "it was dismissed"
		case r.State == ChangesRequested:
			return finding{reason: ReasonChangesRequested, text: fmt.Sprintf("%s asks for changes in %s", r.Account, name)}
		case r.Commit == "":
			why = "the forge does not tell which commit it is about"
		case r.Commit != p.Head:
			why = fmt.Sprintf("it is of %s, and %s was merged", short(r.Commit), short(p.Head))
		}
		if why != "" {
			not = append(not, fmt.Sprintf("that of %s does not count: %s", r.Account, why))
			continue
		}
		have = append(have, r.Account)
		link := r.Link
		if link == "" {
			link = p.Link
		}
		by = append(by, fmt.Sprintf("%s, review of pull request #%d %s", r.Account, p.Number, link))
	}
	if len(have) >= needed {
		text := fmt.Sprintf("%s was approved by %s", name, strings.Join(have, ", "))
		if p.MergedBy != "" {
			text += ", merged by " + p.MergedBy
		}
		return finding{true, ReasonReviewed, text + " as commit " + short(p.MergedAs), by}
	}
	text := fmt.Sprintf("%s has %d of %s", name, len(have), counted(needed, "approving review"))
	if len(have) > 0 {
		text += ": " + strings.Join(have, ", ")
	}
	if unknown {
		text += fmt.Sprintf("; one of them because %s, who proposed it, is a bot, and who has changed its branch is not known", p.Author)
	}
	for _, n := range not {
		text += "; " + n
	}
	return finding{reason: ReasonReviewsMissing, text: text + "; let others review it, or propose it again"}
}

// lastWords returns the last review of each account, in the order of the accounts. A comment takes nothing back.
func lastWords(reviews []Review) []Review {
	ordered := slices.Clone(reviews)
	slices.SortStableFunc(ordered, func(a, b Review) int { return a.At.Compare(b.At) })
	last := map[string]Review{}
	for _, r := range ordered {
		if r.State != Commented {
			last[strings.ToLower(r.Account)] = r
		}
	}
	var words []Review
	for _, r := range last {
		words = append(words, r)
	}
	slices.SortFunc(words, func(a, b Review) int { return strings.Compare(a.Account, b.Account) })
	return words
}
