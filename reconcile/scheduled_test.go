package reconcile_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/policies/pace"
	rota "github.com/gitrota/gitrota/policies/schedule"
	"github.com/gitrota/gitrota/reconcile"
)

const day = 24 * time.Hour

// scheduledFiles lists the requests that a schedule has asked for.
func (s *stage) scheduledFiles() []string {
	var found []string
	for _, file := range s.repo.Files() {
		if strings.HasPrefix(file, "rotations/scheduled/") {
			found = append(found, file)
		}
	}
	return found
}

// waiting is what a request waits for; empty: nothing.
func (s *stage) waiting(request string) (reason, message string) {
	for _, c := range s.status(s.repo, request).Conditions {
		if c.Type == reconcile.TypeWaiting && c.Status == "True" {
			return c.Reason, c.Message
		}
	}
	return "", ""
}

func TestWhatIsDueIsAskedForInGitAndRuns(t *testing.T) {
	s := newStage(t)
	s.world.created = s.world.now.Add(-29*day - 12*time.Hour) // 2026-10-25 00:00
	s.repo.Commit(map[string]string{policyFile: policy("{schedule: {every: 30d}}")}, "Rotate each month")
	c := s.controller(reconcile.Options{}, schedule{}.at)
	s.round(c)
	require.Empty(t, s.scheduledFiles())
	require.Len(t, c.Plan(), 1)
	planned := c.Plan()[0]
	require.Equal(t, rota.NotDue, planned.Reason)
	require.Equal(t, "due at 2026-11-24T00:00:00Z: 30d after it came into use at 2026-10-25T00:00:00Z", planned.Message)
	require.Equal(t, "rotations/policies/p.yaml:1", planned.From)

	s.world.now = s.world.now.Add(12 * time.Hour)
	require.Equal(t, rota.DueNow, c.Plan()[0].Reason)
	require.Equal(t, s.world.now, c.NextDue(), "to have looked at the plan is not to have asked")
	s.round(c)
	require.Equal(t, []string{"rotations/scheduled/demo/db-scheduled-20261124t0000z.yaml"}, s.scheduledFiles())
	require.Equal(t, "schedule demo/db-scheduled-20261124t0000z", s.repo.Log()[1].Subject)
	require.Contains(t, s.repo.Log()[1].Message, "MSSQLServer demo/db: due since 2026-11-24T00:00:00Z: 30d after it came into use at 2026-10-25T00:00:00Z (rotations/policies/p.yaml:1).")
	require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "db-scheduled-20261124t0000z").Phase)
	require.NotEqual(t, initialPassword, s.world.value("db-auth", "password"))

	t.Run("once", func(t *testing.T) {
		for _, controller := range []*reconcile.Controller{c, s.controller(reconcile.Options{}, schedule{}.at)} {
			s.round(controller)
			require.Len(t, s.scheduledFiles(), 1)
			require.Equal(t, rota.NotDue, controller.Plan()[0].Reason)
			require.Equal(t, "2026-12-24", controller.Plan()[0].Drawn.Format(time.DateOnly))
		}
	})
	t.Run("also when the file is taken away and comes back", func(t *testing.T) {
		content := s.repo.Show(s.scheduledFiles()[0])
		file := s.scheduledFiles()[0]
		s.repo.Delete("Tidy up", file)
		s.round(c)
		s.repo.Commit(map[string]string{file: content}, "Bring it back")
		s.round(c)
		require.Len(t, s.world.servers[0].given["sa"], 1)
	})
	t.Run("and again a month later", func(t *testing.T) {
		s.world.now = s.world.now.Add(30 * day)
		s.round(c)
		require.Len(t, s.world.servers[0].given["sa"], 2)
	})
}

func TestTwoAgentsAndOneWhoseAnswerIsLostAskOnce(t *testing.T) {
	s := newStage(t)
	s.world.created = s.world.now.Add(-40 * day)
	s.repo.Commit(map[string]string{policyFile: policy("{schedule: {every: 30d}}")}, "Rotate each month")
	one, other := s.controller(reconcile.Options{}, schedule{}.at), s.controller(reconcile.Options{}, schedule{}.at)
	for _, c := range []*reconcile.Controller{one, other} {
		require.NoError(t, c.Poll(t.Context()))
		require.NoError(t, c.Recover(t.Context()))
		require.NoError(t, c.Survey(t.Context()))
	}
	lost := false
	s.server.Break(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/git-receive-pack") && r.Method == http.MethodPost && !lost {
			lost = true
			next.ServeHTTP(discarded{}, r)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
	asked, err := one.Schedule(t.Context())
	require.NoError(t, err)
	require.True(t, asked)
	_, err = other.Schedule(t.Context())
	require.NoError(t, err)
	require.Len(t, s.scheduledFiles(), 1)
	commits := 0
	for _, entry := range s.repo.Log() {
		if strings.HasPrefix(entry.Subject, "schedule ") {
			commits++
		}
	}
	require.Equal(t, 1, commits)
}

// discarded is an answer that nobody gets.
type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(p []byte) (int, error) { return len(p), nil }
func (discarded) WriteHeader(int)             {}

func TestKubeDBsOwnScheduleIsHonoured(t *testing.T) {
	s := newStage(t)
	s.world.created, s.world.rotateAfter = s.world.now.Add(-31*day), 720*time.Hour
	c := s.controller(reconcile.Options{}, schedule{}.at)
	s.round(c)
	require.Equal(t, "spec.authSecret.rotateAfter of MSSQLServer demo/db", c.Plan()[0].From)
	require.Len(t, s.world.servers[0].given["sa"], 1)
}

func TestAScheduleInForceIsApprovalEnoughForWhatItAsksAndForNothingElse(t *testing.T) {
	s := newSigned(t)
	s.world.created = s.world.now.Add(-40 * day)
	s.repo.Commit(map[string]string{policyFile: policy("{approval: {mode: Signatures, count: 2}, schedule: {every: 30d}}")}, "Ask for signatures")
	rails := guardrails.Guardrails{Paths: []guardrails.Path{{Path: "rotations/policies", Namespaces: []string{"*"}}}}
	c := s.controller(reconcile.Options{ApprovalSigners: s.signers, Guardrails: func() guardrails.Guardrails { return rails }}, schedule{}.at)

	// Somebody is quicker, with more than the schedule asks for.
	name := "db-scheduled-20261113t1200z"
	file := "rotations/scheduled/demo/" + name + ".yaml"
	s.repo.Commit(map[string]string{file: request(name) + "  # by hand\n", "rotations/scheduled/demo/other.yaml": request("other")}, "Get in first")
	s.repo.Commit(map[string]string{file: strings.Replace(request(name), "RotateAuth,", "RotateAuth, apply: Always,", 1)}, "Ask for more")
	s.round(c)
	require.Equal(t, reconcile.PhaseDenied, s.status(s.repo, name).Phase, "no folder of the guardrails is for it")
	require.Equal(t, reconcile.PhaseDenied, s.status(s.repo, "other").Phase)
	require.Empty(t, s.world.servers[0].given)

	s.repo.Delete("Away", file, "rotations/scheduled/demo/other.yaml")
	s.round(c)
	s.round(c)
	status := s.status(s.repo, name)
	require.Equal(t, reconcile.PhaseSuccessful, status.Phase)
	require.Equal(t, reconcile.ReasonScheduled, status.Conditions[0].Reason)
	require.Equal(t, "the schedule of rotations/policies/p.yaml:1 asks for it", status.Conditions[0].Message)
}

func TestRequestsWaitForTheirWindow(t *testing.T) {
	s := newStage(t)
	s.repo.Commit(map[string]string{
		policyFile:         policy("{maintenance: {windows: [{start: '22:00', end: '04:00'}], freezes: [{from: 2026-11-23T00:00:00Z, until: 2026-11-24T00:00:00Z, reason: a sale}]}}"),
		"rotations/r.yaml": request("r"),
	}, "Rotate at night")
	c := s.controller(reconcile.Options{}, schedule{}.at)
	s.round(c)
	reason, message := s.waiting("r")
	require.Equal(t, "Frozen", reason)
	require.Equal(t, "rotations/r.yaml:1: frozen until 2026-11-24T00:00:00Z: a sale", message)
	require.Equal(t, reconcile.PhasePending, s.status(s.repo, "r").Phase)
	require.Equal(t, "2026-11-24T00:00:00Z", c.NextDue().Format(time.RFC3339))
	require.Equal(t, 1, c.State().Held)

	s.world.now = time.Date(2026, 11, 24, 5, 0, 0, 0, time.UTC)
	s.round(c)
	_, message = s.waiting("r")
	require.Equal(t, "rotations/r.yaml:1: waits for the window every day 22:00-04:00 UTC, which opens at 2026-11-24T22:00:00Z", message)

	s.world.now = time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC)
	s.round(c)
	require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "r").Phase)

	t.Run("a rollback does not wait", func(t *testing.T) {
		s.world.now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
		s.repo.Commit(map[string]string{"rotations/back.yaml": "apiVersion: gitrota.dev/v1alpha1\nkind: RotationRollback\nmetadata: {name: back, namespace: demo}\nspec: {databaseRef: {name: db}}\n"}, "Back")
		s.round(c)
		require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "back").Phase)
		require.Equal(t, initialPassword, s.world.value("db-auth", "password"))
	})
}

func TestAFailureHoldsWhatComesNextUntilSomebodyHasAcknowledgedIt(t *testing.T) {
	s := newStage(t)
	s.world.created = s.world.now
	s.repo.Commit(map[string]string{policyFile: policy("{limits: {afterFailure: Hold}, schedule: {every: 1d}}"), "rotations/r.yaml": request("r")}, "Rotate")
	s.world.servers[0].strict = true
	c := s.controller(reconcile.Options{}, schedule{}.at)
	s.round(c)
	require.Equal(t, reconcile.PhaseFailed, s.status(s.repo, "r").Phase)

	s.world.servers[0].strict = false
	s.repo.Commit(map[string]string{"rotations/next.yaml": request("next")}, "Rotate")
	s.round(c)
	reason, message := s.waiting("next")
	require.Equal(t, string(pace.HeldAfterFailure), reason)
	require.Equal(t, `rotations/next.yaml:1: demo/r failed, and the policy rotations/policies/p.yaml:1 holds the next rotation of demo/db until that is acknowledged: annotate its manifest rotations/r.yaml:1 with gitrota.dev/acknowledged: "why", or remove the manifest`, message)

	s.world.now = s.world.now.Add(2 * day)
	s.repo.Delete("Not yet", "rotations/next.yaml")
	s.round(c)
	require.Empty(t, s.scheduledFiles(), "the schedule waits, too")
	require.Contains(t, c.Plan()[0].Held, "demo/r failed, and nobody has acknowledged that")

	s.repo.Commit(map[string]string{"rotations/r.yaml": strings.Replace(request("r"), "namespace: demo", `namespace: demo, annotations: {gitrota.dev/acknowledged: "the disk was full"}`, 1)}, "Acknowledge")
	s.round(c)
	s.round(c)
	require.Len(t, s.scheduledFiles(), 1)
	require.True(t, slices.ContainsFunc(s.scheduledFiles(), func(f string) bool { return strings.Contains(f, "20261125t1200z") }), s.scheduledFiles())
	require.NotEqual(t, initialPassword, s.world.value("db-auth", "password"))
}

func TestABranchThatTakesNothingSaysSoAndIsNotHammered(t *testing.T) {
	s := newStage(t)
	s.world.created = s.world.now.Add(-40 * day)
	s.repo.Commit(map[string]string{policyFile: policy("{schedule: {every: 30d}}")}, "Rotate each month")
	s.repo.Protect("main takes pull requests only")
	c := s.controller(reconcile.Options{Statuses: s.open("gitrota-status")}, schedule{}.at)
	require.NoError(t, c.Poll(context.Background()))
	require.NoError(t, c.Recover(context.Background()))
	require.NoError(t, c.Survey(context.Background()))
	_, err := c.Schedule(context.Background())
	require.ErrorContains(t, err, "main takes pull requests only")
	require.Equal(t, rota.DueNow, c.Plan()[0].Reason)
}
