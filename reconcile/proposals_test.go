package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/gitsource/forge/forgetest"
	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/guardrails"
	rota "github.com/gitrota/gitrota/policies/schedule"
	"github.com/gitrota/gitrota/reconcile"
)

const (
	proposals = "{schedule: {every: 30d, onDue: PullRequest}, approval: {mode: Reviews, count: 1}}"
	firstDue  = "db-scheduled-20261113t1200z" // 30 days after the database was made
)

// newProposing is a hosted repository whose policy has everything proposed that is due, and a database that is due.
func newProposing(t *testing.T) *hosted {
	t.Helper()
	h := newHosted(t)
	h.world.created = h.world.now.Add(-40 * day)
	h.push(policyFile, policy(proposals))
	return h
}

// proposed are the pull requests of gitrota's for a request, the newest first.
func (h *hosted) proposed(request string) []forge.PullRequest {
	h.Helper()
	list, err := h.as(h.dana).ByBranch(h.Context(), "gitrota/demo/"+request, "main")
	require.NoError(h, err)
	return list
}

// branches are those of gitrota's proposals.
func (h *hosted) branches() []string {
	h.Helper()
	there, err := h.open().Branches(h.Context(), "gitrota/")
	require.NoError(h, err)
	var names []string
	for name := range there {
		names = append(names, name)
	}
	return names
}

func TestWhatIsDueIsProposedAndRunsOnceItIsMerged(t *testing.T) {
	t.Parallel()
	h := newProposing(t)
	rails := guardrails.Guardrails{Paths: []guardrails.Path{{Path: "rotations/policies", Namespaces: []string{"*"}}}}
	c := h.controller(rails)
	h.round(c)
	list := h.proposed(firstDue)
	require.Len(t, list, 1)
	require.Equal(t, "gitrota-robot", list[0].Author)
	require.Equal(t, "Rotate demo/db, due since 2026-11-13", list[0].Title)
	const merge = "Merge this to rotate it. Close it to skip this date. It is closed by itself when the database is rotated otherwise, or when the next date has come."
	const due = "The credential of MSSQLServer `demo/db` is due since 2026-11-13T12:00:00Z: 30d after it came into use at 2026-10-14T12:00:00Z (rotations/policies/p.yaml:1).\n\n"
	require.Equal(t, due+"Its credential is 40 days old, from 2026-10-14T12:00:00Z, and no request in this repository has rotated it yet.\n\n"+merge, list[0].Body)
	changes, err := h.as(h.dana).Changes(t.Context(), list[0].Number)
	require.NoError(t, err)
	require.Equal(t, []string{"rotations/scheduled/demo/" + firstDue + ".yaml"}, changes)

	h.round(c)
	other := h.controller(rails) // or the same, restarted
	h.round(other)
	h.round(other)
	require.Len(t, h.proposed(firstDue), 1, "nobody opens a second one")

	h.world.now = h.world.now.Add(day)
	h.round(c)
	list = h.proposed(firstDue)
	require.Len(t, list, 1)
	require.Contains(t, list[0].Body, "Its credential is 41 days old", "it is brought up to date")
	require.Zero(t, h.rotated())

	h.approve(list[0].Number, h.erin)
	h.repo.Merge(t, h.dana, list[0].Number, forgetest.Merge)
	h.round(c)
	status := h.status(firstDue)
	require.Equal(t, reconcile.PhaseSuccessful, status.Phase, "no folder of the guardrails is for it, and it is what the schedule asks for")
	require.Equal(t, approval.ReasonReviewed, status.Conditions[0].Reason)
	require.Contains(t, status.Conditions[0].Message, fmt.Sprintf("pull request #%d (%s) was approved by erin, merged by dana as commit ", list[0].Number, list[0].Link))
	require.Equal(t, 1, h.rotated())
	require.Empty(t, h.branches(), "the branch has done its work")
	require.Equal(t, rota.NotDue, c.Plan()[0].Reason)

	h.world.now = h.world.now.Add(31 * day)
	h.round(c)
	require.Equal(t, []string{"gitrota/demo/db-scheduled-20261224t1200z"}, h.branches())
	body := h.proposed("db-scheduled-20261224t1200z")[0].Body
	require.Contains(t, body, "Its credential is 31 days old, from 2026-11-24T12:00:")
	require.Contains(t, body, "The last request, `demo/"+firstDue+"`, ended as Successful at 2026-11-24T12:00:")
}

func TestAProposalThatPeopleCloseIsDeclined(t *testing.T) {
	t.Parallel()
	h := newProposing(t)
	c := h.controller(guardrails.Guardrails{})
	h.round(c)
	require.NoError(t, h.as(h.dana).Close(t.Context(), h.proposed(firstDue)[0].Number))
	for _, controller := range []*reconcile.Controller{c, h.controller(guardrails.Guardrails{})} {
		h.round(controller)
		h.round(controller)
		require.Len(t, h.proposed(firstDue), 1)
		require.Empty(t, h.branches())
	}
	planned := c.Plan()[0]
	require.Equal(t, rota.NotDue, planned.Reason)
	require.Equal(t, "due at 2026-12-13T12:00:00Z: 30d after the date 2026-11-13T12:00:00Z, which was declined", planned.Message)

	h.world.now = h.world.now.Add(21 * day)
	h.round(c)
	require.Equal(t, []string{"gitrota/demo/db-scheduled-20261213t1200z"}, h.branches(), "the next date is another one")
	require.Zero(t, h.rotated())
}

func TestAProposalIsClosedWhenItIsOvertakenAndNotBefore(t *testing.T) {
	t.Parallel()
	h := newProposing(t)
	h.repo.Push(t, h.dana, "gitrota/notes", map[string]string{"notes.md": "Not yours."}, "Take notes")
	c := h.controller(guardrails.Guardrails{})
	h.round(c)
	first := h.proposed(firstDue)[0]

	// Asking is not rotating: else whoever may push could stop every date.
	h.push(requestFile, request("r"))
	h.round(c)
	require.Equal(t, reconcile.PhaseWaitingForApproval, h.status("r").Phase)
	require.False(t, h.proposed(firstDue)[0].Closed)

	// While the schedule is another one, it is closed, and that declines nothing.
	paused := h.propose("pause", policyFile, policy(strings.Replace(proposals, "every: 30d", "every: 90d", 1)))
	h.approve(paused, h.erin)
	h.repo.Merge(t, h.acme, paused, forgetest.Merge)
	h.round(c)
	h.round(c)
	closed := h.proposed(firstDue)
	require.Len(t, closed, 1)
	require.True(t, closed[0].Closed)
	require.Equal(t, []string{"gitrota/notes"}, h.branches(), "what is somebody else's stays")
	require.True(t, strings.HasSuffix(closed[0].Body, "Closed by gitrota: the database was rotated otherwise, the next date has come, or the schedule has changed."), closed[0].Body)
	resumed := h.propose("resume", policyFile, policy(proposals))
	h.approve(resumed, h.erin)
	h.repo.Merge(t, h.acme, resumed, forgetest.Merge)
	h.round(c)
	h.round(c)
	again := h.proposed(firstDue)
	require.Len(t, again, 2)
	require.Greater(t, again[0].Number, first.Number)
	require.False(t, again[0].Closed)

	manual := h.propose("manual", "rotations/manual.yaml", request("manual"))
	h.approve(manual, h.erin)
	h.repo.Merge(t, h.acme, manual, forgetest.Merge)
	h.round(c)
	require.Equal(t, reconcile.PhaseSuccessful, h.status("manual").Phase)
	require.Equal(t, 1, h.rotated())
	require.True(t, h.proposed(firstDue)[0].Closed)
	require.False(t, h.proposed(firstDue)[0].Merged)
	require.Equal(t, []string{"gitrota/notes"}, h.branches())
}

func TestWhoChangesAProposalCannotApproveItAlone(t *testing.T) {
	t.Parallel()
	h := newProposing(t)
	c := h.controller(guardrails.Guardrails{})
	h.round(c)
	pull := h.proposed(firstDue)[0]
	file := "rotations/scheduled/demo/" + firstDue + ".yaml"
	h.repo.Push(t, h.dana, pull.HeadBranch, map[string]string{file: strings.Replace(request(firstDue), "RotateAuth,", "RotateAuth, apply: Always,", 1)}, "Ask for more")
	h.approve(pull.Number, h.dana)
	h.repo.Merge(t, h.dana, pull.Number, forgetest.Merge)
	h.round(c)
	status := h.status(firstDue)
	require.Equal(t, reconcile.PhaseWaitingForApproval, status.Phase)
	require.Equal(t, fmt.Sprintf("%s: pull request #%d (%s) has 1 of 2 approving reviews: dana; one of them because gitrota-robot, who proposed it, is a bot, and who has changed its branch is not known; let others review it, or propose it again", file, pull.Number, pull.Link),
		status.Conditions[0].Message)
	require.Zero(t, h.rotated())
}
