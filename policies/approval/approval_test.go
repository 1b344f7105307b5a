package approval_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/approval"
)

const (
	added = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	merge = "cccccccccccccccccccccccccccccccccccccccc"
	head  = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
	older = "dddddddddddddddddddddddddddddddddddddddd"
	later = "ffffffffffffffffffffffffffffffffffffffff"
	blob  = "0123456789012345678901234567890123456789"
	link  = "https://forge.example.com/dba/rotations/pulls/7"
)

func by(hash, who, principal string) approval.Commit {
	c := approval.Commit{Hash: hash, Author: who + " <" + who + "@example.com>", Address: who + "@example.com", Committer: who + " <" + who + "@example.com>"}
	if principal != "" {
		c.Principal, c.Key = principal, "key of "+principal
	}
	return c
}

func file(rules ...approval.Rule) approval.File {
	dana := by(added, "dana", "")
	return approval.File{Path: "rotations/r.yaml", Blob: blob, Rules: rules, Added: dana, Landed: dana}
}

// minute makes reviews come one after the other.
func minute(n int) time.Time { return time.Date(2026, 3, 1, 9, n, 0, 0, time.UTC) }

func review(account string, state approval.State, of string, at int) approval.Review {
	return approval.Review{Account: account, State: state, Commit: of, Link: link + "#" + account, At: minute(at)}
}

func proposed(reviews ...approval.Review) approval.PullRequest {
	return approval.PullRequest{Number: 7, Link: link, Author: "dana", Head: head, Blob: blob, MergedBy: "carol", MergedAs: merge, Reviews: reviews}
}

func TestVerdicts(t *testing.T) {
	signatures := func(count int) approval.Rule { return approval.Rule{Mode: approval.Signatures, Count: count} }
	reviews := func(count int) approval.Rule { return approval.Rule{Mode: approval.Reviews, Count: count} }
	const howToSign = `; to approve, push a signed commit with the trailer "Approves: rotations/r.yaml@` + blob + `"`
	const howToReview = "; let others review it, or propose it again"
	const request = "pull request #7 (" + link + ")"

	for story, test := range map[string]struct {
		rule    approval.Rule
		given   func(*approval.File)
		reason  string // approved, if by is not nil or the reason is Merged
		message string
		by      []string
	}{
		"being on the branch is enough where nothing else is asked for": {
			rule: approval.Rule{Mode: approval.Merge}, reason: approval.ReasonMerged,
			message: "on the branch since commit aaaaaaaaaaaa of dana <dana@example.com>",
		},
		"a merge names who merged": {
			rule: approval.Rule{}, given: func(f *approval.File) { f.Landed = by(merge, "carol", "") }, reason: approval.ReasonMerged,
			message: "on the branch since commit aaaaaaaaaaaa of dana <dana@example.com>, merged by carol <carol@example.com> with cccccccccccc",
		},

		"without a signature nothing is signed, and the unknown author costs one more": {
			rule: signatures(1), reason: approval.ReasonSignaturesMissing,
			message: "needs 2 signatures and has 0; one of them because commit aaaaaaaaaaaa, which added it, has no signature that proves who its author is" + howToSign,
		},
		"the author's own signature does not count": {
			rule: signatures(1), given: func(f *approval.File) { f.Added.Principal, f.Added.Key = "dana@example.com", "k" }, reason: approval.ReasonSignaturesMissing,
			message: "needs 1 signature and has 0; that of dana@example.com on commit aaaaaaaaaaaa does not count: it is the author's own" + howToSign,
		},
		"the author's own signature counts where the policy says so": {
			rule: approval.Rule{Mode: approval.Signatures, Count: 1, AuthorCounts: true}, given: func(f *approval.File) { f.Added.Principal, f.Added.Key = "dana@example.com", "k" },
			reason: approval.ReasonSigned, message: "signed by dana@example.com with commit aaaaaaaaaaaa", by: []string{"dana@example.com " + added},
		},
		"a later commit that names the content is an approval": {
			rule: signatures(1), given: func(f *approval.File) {
				f.Added.Principal, f.Added.Key = "dana@example.com", "k"
				f.Approving = []approval.Commit{by(later, "erin", "erin@example.com")}
			},
			reason: approval.ReasonSigned, message: "signed by erin@example.com with commit ffffffffffff", by: []string{"erin@example.com " + later},
		},
		"who merged and who approved are two": {
			rule: signatures(2), given: func(f *approval.File) {
				f.Added.Principal, f.Added.Key = "dana@example.com", "k"
				f.Landed, f.Approving = by(merge, "carol", "carol@example.com"), []approval.Commit{by(later, "erin", "erin@example.com")}
			},
			reason: approval.ReasonSigned, message: "signed by carol@example.com with commit cccccccccccc, erin@example.com with commit ffffffffffff",
			by: []string{"carol@example.com " + merge, "erin@example.com " + later},
		},
		"the same person twice is one": {
			rule: signatures(2), given: func(f *approval.File) {
				f.Added.Principal, f.Added.Key = "dana@example.com", "k"
				f.Landed, f.Approving = by(merge, "erin", "erin@example.com"), []approval.Commit{by(later, "erin", "Erin@example.com")}
			},
			reason: approval.ReasonSignaturesMissing, message: "needs 2 signatures and has 1: erin@example.com with commit cccccccccccc; that of dana@example.com on commit aaaaaaaaaaaa does not count: it is the author's own" + howToSign,
		},
		"one key under two names is one": {
			rule: signatures(2), given: func(f *approval.File) {
				f.Added.Principal, f.Added.Key = "dana@example.com", "k"
				f.Landed, f.Approving = by(merge, "erin", "erin@example.com"), []approval.Commit{by(later, "erin", "root@example.com")}
				f.Approving[0].Key = f.Landed.Key
			},
			reason: approval.ReasonSignaturesMissing, message: "needs 2 signatures and has 1: erin@example.com with commit cccccccccccc; that of dana@example.com on commit aaaaaaaaaaaa does not count: it is the author's own" + howToSign,
		},
		"a signer who writes another author into an unsigned commit gains nothing": {
			rule: signatures(1), given: func(f *approval.File) {
				f.Approving = []approval.Commit{by(later, "erin", "erin@example.com")}
			},
			reason:  approval.ReasonSignaturesMissing,
			message: "needs 2 signatures and has 1: erin@example.com with commit ffffffffffff; one of them because commit aaaaaaaaaaaa, which added it, has no signature that proves who its author is" + howToSign,
		},
		"who is named as the author of an unsigned commit does not count either": {
			rule: signatures(1), given: func(f *approval.File) {
				f.Approving = []approval.Commit{by(later, "dana", "dana@example.com"), by(merge, "erin", "erin@example.com")}
			},
			reason:  approval.ReasonSignaturesMissing,
			message: "needs 2 signatures and has 1: erin@example.com with commit cccccccccccc; one of them because commit aaaaaaaaaaaa, which added it, has no signature that proves who its author is; that of dana@example.com on commit ffffffffffff does not count: it is the author's own" + howToSign,
		},
		"a signature that is broken says why": {
			rule: signatures(1), given: func(f *approval.File) {
				f.Added.Principal, f.Added.Key = "dana@example.com", "k"
				f.Approving = []approval.Commit{by(later, "erin", "")}
				f.Approving[0].Problem = "its key is not one of the allowed signers'"
			},
			reason:  approval.ReasonSignaturesMissing,
			message: "needs 1 signature and has 0; that of dana@example.com on commit aaaaaaaaaaaa does not count: it is the author's own; that of erin <erin@example.com> on commit ffffffffffff does not count: its key is not one of the allowed signers'" + howToSign,
		},
		"signers whom the policy does not name do not count": {
			rule: approval.Rule{Mode: approval.Signatures, Count: 1, By: []string{"frank@example.com"}}, given: func(f *approval.File) {
				f.Added.Principal, f.Added.Key = "dana@example.com", "k"
				f.Approving = []approval.Commit{by(later, "erin", "erin@example.com")}
			},
			reason:  approval.ReasonSignaturesMissing,
			message: "needs 1 signature and has 0; that of dana@example.com on commit aaaaaaaaaaaa does not count: it is the author's own; that of erin@example.com on commit ffffffffffff does not count: the policy asks for others" + howToSign,
		},

		"what was pushed past the pull requests has no reviews": {
			rule: reviews(1), reason: approval.ReasonNoPullRequest,
			message: "needs 1 approving review and came to the branch without a pull request, by commit aaaaaaaaaaaa of dana <dana@example.com>; propose it in a pull request",
		},
		"a forge that cannot be asked is waited for": {
			rule: reviews(1), given: func(f *approval.File) { f.Unasked = "the forge answered 502" }, reason: approval.ReasonForgeUnavailable,
			message: "the reviews are not known: the forge answered 502",
		},
		"one review too few": {
			rule: reviews(2), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("erin", approval.Approved, head, 1))}
			},
			reason: approval.ReasonReviewsMissing, message: request + " has 1 of 2 approving reviews: erin" + howToReview,
		},
		"enough reviews": {
			rule: reviews(2), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("frank", approval.Approved, head, 1), review("erin", approval.Approved, head, 2))}
			},
			reason: approval.ReasonReviewed, message: request + " was approved by erin, frank, merged by carol as commit cccccccccccc",
			by: []string{"erin, review of pull request #7 " + link + "#erin", "frank, review of pull request #7 " + link + "#frank"},
		},
		"a self-approval does not count": {
			rule: reviews(1), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("Dana", approval.Approved, head, 1))}
			},
			reason: approval.ReasonReviewsMissing, message: request + " has 0 of 1 approving review; that of Dana does not count: it is the author's own" + howToReview,
		},
		"a review of an older head does not count": {
			rule: reviews(1), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("erin", approval.Approved, older, 1))}
			},
			reason: approval.ReasonReviewsMissing, message: request + " has 0 of 1 approving review; that of erin does not count: it is of dddddddddddd, and eeeeeeeeeeee was merged" + howToReview,
		},
		"a dismissed review does not count": {
			rule: reviews(1), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("erin", approval.Dismissed, head, 1))}
			},
			reason: approval.ReasonReviewsMissing, message: request + " has 0 of 1 approving review; that of erin does not count: it was dismissed" + howToReview,
		},
		"an approval by a bot does not count": {
			rule: reviews(1), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("gitrota-bot", approval.Approved, head, 1))}
			},
			reason: approval.ReasonReviewsMissing, message: request + " has 0 of 1 approving review; that of gitrota-bot does not count: it is a bot's" + howToReview,
		},
		"a review whose head the forge does not tell does not count": {
			rule: reviews(1), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("erin", approval.Approved, "", 1))}
			},
			reason: approval.ReasonReviewsMissing, message: request + " has 0 of 1 approving review; that of erin does not count: the forge does not tell which commit it is about" + howToReview,
		},
		"reviewers whom the policy does not name do not count": {
			rule: approval.Rule{Mode: approval.Reviews, Count: 1, By: []string{"grace"}}, given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("erin", approval.Approved, head, 1))}
			},
			reason: approval.ReasonReviewsMissing, message: request + " has 0 of 1 approving review; that of erin does not count: the policy asks for others" + howToReview,
		},
		"who approves and then asks for changes, asks for changes": {
			rule: reviews(1), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("erin", approval.ChangesRequested, head, 2), review("erin", approval.Approved, head, 1), review("frank", approval.Approved, head, 3))}
			},
			reason: approval.ReasonChangesRequested, message: "erin asks for changes in " + request,
		},
		"a comment takes no approval back": {
			rule: reviews(1), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("erin", approval.Approved, head, 1), review("erin", approval.Commented, head, 2))}
			},
			reason: approval.ReasonReviewed, message: request + " was approved by erin, merged by carol as commit cccccccccccc",
			by: []string{"erin, review of pull request #7 " + link + "#erin"},
		},
		"what was changed while merging was reviewed by nobody": {
			rule: reviews(1), given: func(f *approval.File) {
				p := proposed(review("erin", approval.Approved, head, 1))
				p.Blob = "another"
				f.PullRequests = []approval.PullRequest{p}
			},
			reason:  approval.ReasonNoPullRequest,
			message: request + " had another content than the branch has now: what was changed in the merge or since needs a pull request of its own",
		},
		"of what a bot proposed, whoever approves may be the author": {
			rule: reviews(1), given: func(f *approval.File) {
				p := proposed(review("erin", approval.Approved, head, 1))
				p.Author = "gitrota-bot"
				f.PullRequests = []approval.PullRequest{p}
			},
			reason:  approval.ReasonReviewsMissing,
			message: request + " has 1 of 2 approving reviews: erin; one of them because gitrota-bot, who proposed it, is a bot, and who has changed its branch is not known" + howToReview,
		},
		"what a schedule asks for has no other author than the schedule": {
			rule: reviews(1), given: func(f *approval.File) {
				p := proposed(review("erin", approval.Approved, head, 1))
				p.Author = "gitrota-bot"
				f.PullRequests, f.Scheduled = []approval.PullRequest{p}, true
			},
			reason: approval.ReasonReviewed, message: request + " was approved by erin, merged by carol as commit cccccccccccc",
			by: []string{"erin, review of pull request #7 " + link + "#erin"},
		},
		"of two pull requests one is enough": {
			rule: reviews(1), given: func(f *approval.File) {
				f.PullRequests = []approval.PullRequest{proposed(review("erin", approval.Approved, head, 1)), proposed()}
			},
			reason: approval.ReasonReviewed, message: request + " was approved by erin, merged by carol as commit cccccccccccc",
			by: []string{"erin, review of pull request #7 " + link + "#erin"},
		},
	} {
		t.Run(story, func(t *testing.T) {
			f := file(test.rule)
			if test.given != nil {
				test.given(&f)
			}
			v := approval.Judge(approval.Input{Files: []approval.File{f}, Bots: []string{"gitrota-bot"}})
			approved := test.by != nil || test.reason == approval.ReasonMerged
			require.Equal(t, approval.Verdict{Approved: approved, Reason: test.reason, Message: "rotations/r.yaml: " + test.message, By: test.by}, v)
		})
	}
}

func TestEveryFileNeedsItsApprovalUnderEachRule(t *testing.T) {
	reviews := approval.Rule{Mode: approval.Reviews, Count: 1}
	approved := proposed(review("erin", approval.Approved, head, 1))
	request, secret := file(reviews), file(reviews)
	secret.Path = "rotations/secret.yaml"
	request.PullRequests = []approval.PullRequest{approved}

	t.Run("a request that is approved waits for its Secret, and says only what is missing", func(t *testing.T) {
		v := approval.Judge(approval.Input{Files: []approval.File{request, secret}})
		require.Equal(t, approval.ReasonNoPullRequest, v.Reason)
		require.Equal(t, "rotations/secret.yaml: needs 1 approving review and came to the branch without a pull request, by commit aaaaaaaaaaaa of dana <dana@example.com>; propose it in a pull request", v.Message)
		require.False(t, v.Approved)
	})
	t.Run("what one pull request brought is told once", func(t *testing.T) {
		secret.PullRequests = request.PullRequests
		v := approval.Judge(approval.Input{Files: []approval.File{request, secret}})
		require.True(t, v.Approved)
		require.Equal(t, "rotations/r.yaml, rotations/secret.yaml: pull request #7 ("+link+") was approved by erin, merged by carol as commit cccccccccccc", v.Message)
		require.Len(t, v.By, 1)
	})
	t.Run("the minimum of whoever installed it is asked for beside the policy", func(t *testing.T) {
		request.Rules = append(request.Rules, approval.Rule{Mode: approval.Signatures, Count: 1})
		v := approval.Judge(approval.Input{Files: []approval.File{request}})
		require.False(t, v.Approved)
		require.Equal(t, approval.ReasonSignaturesMissing, v.Reason)
	})
	t.Run("what was removed is approved by naming its path and no content", func(t *testing.T) {
		require.Equal(t, "rotations/p.yaml@0000000000000000000000000000000000000000", approval.Subject("rotations/p.yaml", ""))
	})
}
