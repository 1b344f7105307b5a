package reconcile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/forge/forgetest"
	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
)

const (
	requestFile = "rotations/r.yaml"
	twoReviews  = "{approval: {mode: Reviews, count: 2}}"
)

// refused asserts that a request waits after a round, and why.
func (h *hosted) refused(c *reconcile.Controller, request, reason, message string) {
	h.Helper()
	h.round(c)
	h.waits(request, reason, message)
}

func (h *hosted) waits(request, reason, message string) {
	h.Helper()
	status := h.status(request)
	require.Equal(h, reconcile.PhaseWaitingForApproval, status.Phase, request)
	require.Equal(h, reconcile.TypeApproved, status.Conditions[0].Type)
	require.Equal(h, "False", status.Conditions[0].Status)
	require.Equal(h, reason, status.Conditions[0].Reason)
	require.Equal(h, "rotations/"+request+".yaml: "+message, status.Conditions[0].Message)
	require.Empty(h, status.Request.ApprovedBy)
	require.Zero(h, h.rotated())
}

func TestEveryWayToMergeLeadsBackToItsPullRequest(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	h.push(policyFile, policy(twoReviews))
	c := h.controller(guardrails.Guardrails{})
	for n, style := range []forgetest.Style{forgetest.Merge, forgetest.Squash, forgetest.Rebase} {
		name := "by-" + string(style)
		pull := h.propose(name, "rotations/"+name+".yaml", request(name))
		h.approve(pull, h.erin, h.frank)
		h.push("README.md", "The base moves on, before "+name) // so that nothing is a fast-forward
		merged := h.repo.Merge(t, h.acme, pull, style)

		h.round(c)
		status := h.status(name)
		require.Equal(t, reconcile.PhaseSuccessful, status.Phase)
		require.Equal(t, n+1, h.rotated())
		approved := status.Conditions[0]
		require.Equal(t, []string{reconcile.TypeApproved, "True", approval.ReasonReviewed}, []string{approved.Type, approved.Status, approved.Reason})
		require.Equal(t, fmt.Sprintf("rotations/%s.yaml: pull request #%d (%s) was approved by erin, frank, merged by acme as commit %s", name, pull, h.page(pull), merged[:12]), approved.Message)
		require.Len(t, status.Request.ApprovedBy, 2)
		for i, who := range []string{"erin", "frank"} {
			require.Regexp(t, fmt.Sprintf(`^%s, review of pull request #%d %s#issuecomment-\d+$`, who, pull, h.page(pull)), status.Request.ApprovedBy[i])
		}
	}
}

func TestOneReviewTooFewWaits(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	h.push(policyFile, policy(twoReviews))
	c := h.controller(guardrails.Guardrails{})
	pull := h.propose("rotate", requestFile, request("r"))
	h.approve(pull, h.erin)
	h.repo.Merge(t, h.acme, pull, forgetest.Merge)
	h.refused(c, "r", approval.ReasonReviewsMissing, fmt.Sprintf("pull request #%d (%s) has 1 of 2 approving reviews: erin; let others review it, or propose it again", pull, h.page(pull)))
	head := h.repo.Head(t, "main")
	h.round(c)
	require.Equal(t, head, h.repo.Head(t, "main"), "waiting is said once")

	// Gitea takes no review after the merge, so that it has to be proposed again.
	pull = h.propose("again", requestFile, request("r")+"# again\n")
	h.approve(pull, h.erin, h.frank)
	h.repo.Merge(t, h.acme, pull, forgetest.Merge)
	h.round(c)
	require.Equal(t, reconcile.PhaseSuccessful, h.status("r").Phase)
	require.Contains(t, h.status("r").Conditions[0].Message, fmt.Sprintf("pull request #%d ", pull))
	require.Equal(t, 1, h.rotated())
}

func TestReviewsThatDoNotCount(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	h.push(policyFile, policy(twoReviews))
	stories := []struct {
		name, reason, message string // PULL, MERGED and OPENED stand for its name, and for its head at the end and in the beginning
		review                func(pull int)
	}{
		{
			"nobody", approval.ReasonReviewsMissing,
			"PULL has 0 of 2 approving reviews; let others review it, or propose it again",
			func(int) {},
		},
		{
			"comments", approval.ReasonReviewsMissing,
			"PULL has 1 of 2 approving reviews: erin; let others review it, or propose it again",
			func(pull int) {
				h.approve(pull, h.erin)
				h.repo.Review(h, h.erin, pull, forgetest.Comment)
				h.repo.Review(h, h.frank, pull, forgetest.Comment)
			},
		},
		{
			"older-head", approval.ReasonReviewsMissing,
			"PULL has 1 of 2 approving reviews: erin; that of frank does not count: it is of OPENED, and MERGED was merged; let others review it, or propose it again",
			func(pull int) {
				h.approve(pull, h.frank)
				h.repo.Push(h, h.dana, "older-head", map[string]string{"rotations/older-head.yaml": request("older-head") + "# more\n"}, "More")
				h.approve(pull, h.erin)
			},
		},
		{
			"dismissed", approval.ReasonReviewsMissing,
			"PULL has 1 of 2 approving reviews: erin; that of frank does not count: it was dismissed; let others review it, or propose it again",
			func(pull int) {
				h.approve(pull, h.erin)
				h.repo.Dismiss(h, h.acme, pull, h.repo.Review(h, h.frank, pull, forgetest.Approve))
			},
		},
		{
			"bots", approval.ReasonReviewsMissing, // gitrota's own account is one, whether the guardrails name it or not
			"PULL has 1 of 2 approving reviews: erin; that of gitrota-robot does not count: it is a bot's; that of scanner does not count: it is a bot's; let others review it, or propose it again",
			func(pull int) { h.approve(pull, h.erin, h.scanner, h.robot) },
		},
		{
			"changes", approval.ReasonChangesRequested, // which outweighs all others
			"frank asks for changes in PULL",
			func(pull int) {
				h.approve(pull, h.erin, h.acme)
				h.repo.Review(h, h.frank, pull, forgetest.RequestChanges)
			},
		},
	}
	pulls, opened := map[string]int{}, map[string]string{}
	for _, story := range stories {
		pull := h.propose(story.name, "rotations/"+story.name+".yaml", request(story.name))
		pulls[story.name], opened[story.name] = pull, h.head(pull)
		story.review(pull)
		h.repo.Merge(t, h.acme, pull, forgetest.Squash)
	}
	_, err := h.repo.TryReview(h.dana, h.propose("own", "rotations/own.yaml", request("own")), forgetest.Approve)
	require.EqualError(t, err, "HTTP 422 Unprocessable Entity: approve your own pull is not allowed", "this forge lets nobody approve their own")

	h.round(h.controller(guardrails.Guardrails{Bots: []string{"scanner"}}))
	for _, story := range stories {
		pull := pulls[story.name]
		name := fmt.Sprintf("pull request #%d (%s)", pull, h.page(pull))
		message := strings.NewReplacer("PULL", name, "MERGED", h.head(pull), "OPENED", opened[story.name]).Replace(story.message)
		h.waits(story.name, story.reason, message)
	}
}

func TestWhatIsOnTheBranchIsApprovedOnlyAsThePullRequestBroughtIt(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	h.push(policyFile, policy(twoReviews))
	bring := func(name string) {
		pull := h.propose(name, "rotations/"+name+".yaml", request(name))
		h.approve(pull, h.erin, h.frank)
		h.repo.Merge(t, h.acme, pull, forgetest.Merge)
	}
	bring("changed")
	changed := h.push("rotations/changed.yaml", request("changed")+"# by hand\n")
	bring("again")
	h.push("rotations/again.yaml", "")
	again := h.push("rotations/again.yaml", request("again"))
	direct := h.push("rotations/direct.yaml", request("direct"))

	h.round(h.controller(guardrails.Guardrails{}))
	for name, commit := range map[string]string{"changed": changed, "again": again, "direct": direct} {
		h.waits(name, approval.ReasonNoPullRequest,
			fmt.Sprintf("needs 2 approving reviews and came to the branch without a pull request, by commit %s of acme <acme@example.com>; propose it in a pull request", commit[:12]))
	}
}

func TestAPolicyChangesByPullRequest(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	h.push(policyFile, policy(twoReviews))
	c := h.controller(guardrails.Guardrails{})
	h.round(c) // the policy is recorded
	pull := h.propose("weaker", policyFile, policy("{approval: {mode: Merge}}"))
	h.approve(pull, h.erin)
	h.repo.Merge(t, h.acme, pull, forgetest.Merge)
	h.push(requestFile, request("r"))
	h.round(c)
	h.round(c) // by what the forge has said in the first one
	require.Equal(t, reconcile.PhaseWaitingForApproval, h.status("r").Phase)
	require.Contains(t, h.status("r").Conditions[0].Message, "needs 2 approving reviews and came", "what was in force is in force")
	require.Contains(t, h.problems(), fmt.Sprintf("the RotationPolicy production was changed, and the change is not in force: rotations/policies/p.yaml: pull request #%d (%s) has 1 of 2 approving reviews: erin; let others review it, or propose it again", pull, h.page(pull)))
	require.Contains(t, h.problems(), "reason: PolicyNotApproved")

	pull = h.propose("enough", policyFile, policy("{approval: {mode: Reviews, count: 1}, limits: {maxConcurrent: 1}}"))
	h.approve(pull, h.erin, h.frank)
	h.repo.Merge(t, h.acme, pull, forgetest.Merge)
	h.round(c)
	h.round(c)
	require.Empty(t, h.problems())
	recorded := h.files("status")["status/policies.yaml"]
	require.Contains(t, recorded, fmt.Sprintf("erin, review of pull request #%d %s#issuecomment-", pull, h.page(pull)))
	require.Contains(t, recorded, fmt.Sprintf("frank, review of pull request #%d %s#issuecomment-", pull, h.page(pull)))
	require.Contains(t, h.status("r").Conditions[0].Message, "needs 1 approving review and came", "the new policy is asked from now on")
}

func TestAForgeThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	h.push(policyFile, policy("{approval: {mode: Reviews, count: 1}}"))
	c := h.controller(guardrails.Guardrails{})
	pull := h.propose("rotate", requestFile, request("r"))
	h.approve(pull, h.erin)
	h.repo.Merge(t, h.acme, pull, forgetest.Merge)
	h.away.Store(true)
	h.refused(c, "r", approval.ReasonForgeUnavailable, "the reviews are not known: asking whose the credentials are at gitea "+
		strings.TrimSuffix(strings.TrimPrefix(h.repo.URL, "http://"), ".git")+": the forge cannot answer now: HTTP 502 Bad Gateway")
	h.away.Store(false)
	h.round(c)
	require.Equal(t, reconcile.PhaseSuccessful, h.status("r").Phase)
	require.Equal(t, 1, h.rotated())
}

func TestWhatWasApprovedAndWaitsIsNotApprovedAnyLongerOnceItIsChanged(t *testing.T) {
	t.Parallel()
	h := newHosted(t)
	h.push(policyFile, policy("{approval: {mode: Reviews, count: 2}, maintenance: {freezes: [{from: 2026-11-23T00:00:00Z, until: 2026-11-24T00:00:00Z, reason: a sale}]}}"))
	c := h.controller(guardrails.Guardrails{})
	pull := h.propose("r", requestFile, request("r"))
	h.approve(pull, h.erin, h.frank)
	h.repo.Merge(t, h.acme, pull, forgetest.Merge)
	h.round(c)
	require.Equal(t, reconcile.PhaseApproved, h.status("r").Phase)
	require.Zero(t, h.rotated())

	h.push(requestFile, strings.Replace(request("r"), "RotateAuth,", "RotateAuth, apply: Always,", 1))
	h.world.now = h.world.now.Add(24 * time.Hour) // the freeze is over
	require.NoError(t, c.Poll(t.Context()))
	c.Advance(t.Context()) // before the forge has answered
	c.Wait()
	require.Zero(t, h.rotated())
	h.round(c)
	require.Equal(t, reconcile.PhaseWaitingForApproval, h.status("r").Phase)
	require.Zero(t, h.rotated())
}
