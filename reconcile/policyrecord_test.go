package reconcile_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

// remembering is a stage whose agents keep the policies in force in a Secret.
func (s signed) remembering() reconcile.Options {
	return reconcile.Options{ApprovalSigners: s.signers, PolicyRecord: "gitrota/policies"}
}

func (s signed) policiesInGit() string {
	for _, file := range s.repo.Files() {
		if file == "status/policies.yaml" {
			return s.repo.Show(file)
		}
	}
	return ""
}

func TestWhoCanWriteEverywhereInTheRepositoryCannotMakeANewAgentForgetAPolicy(t *testing.T) {
	for _, attempt := range []struct {
		story string
		act   func(s signed, before string)
	}{
		{"by taking the policy and its record away", func(s signed, _ string) {
			s.repo.Delete("Away with them", policyFile, "status/policies.yaml")
		}},
		{"by changing both", func(s signed, _ string) {
			record := strings.ReplaceAll(s.policiesInGit(), "Signatures", "Merge")
			s.repo.Commit(map[string]string{policyFile: policy("{approval: {mode: Merge}}"), "status/policies.yaml": record}, "Weaken them")
		}},
		{"by a more specific policy that the record has, too", func(s signed, _ string) {
			specific := called("mine", "{databases: [{namespace: demo, name: db}], approval: {mode: Merge}}")
			s.repo.Commit(map[string]string{"rotations/mine.yaml": specific, "status/policies.yaml": s.policiesInGit() + `- {name: mine, digest: "", path: rotations/mine.yaml, line: 1, document: {}}` + "\n"}, "Add one")
		}},
		{"by a history in which it never was", func(s signed, before string) { s.repo.Reset(before) }},
		{"by a record that cannot be read", func(s signed, _ string) {
			s.repo.Commit(map[string]string{"status/policies.yaml": "policies: ["}, "Break it")
			s.repo.Delete("Away with it", policyFile)
		}},
	} {
		t.Run(attempt.story, func(t *testing.T) {
			s := newSigned(t)
			before := s.repo.Head()
			s.repo.Commit(map[string]string{policyFile: policy(twoSignatures)}, "Ask for signatures")
			s.round(s.controller(s.remembering(), schedule{}.at))
			record := s.policiesInGit()
			require.Contains(t, record, "Signatures")

			attempt.act(s, before)
			s.by(s.dana, map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
			s.round(s.controller(s.remembering(), schedule{}.at))
			require.Zero(t, s.rotated())
			require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "r").Phase)
			require.Equal(t, record, s.policiesInGit(), "it is put right")

			s.by(s.erin, nil, s.approves("rotations/r.yaml"))
			s.by(s.frank, nil, s.approves("rotations/r.yaml"))
			s.round(s.controller(s.remembering(), schedule{}.at))
			require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "r").Phase, "who asks properly is served")
		})
	}
}

// interrupted is a repository that does not say once who brought what.
type interrupted struct {
	reconcile.Repository
	before bool
}

func (r *interrupted) Origins(ctx context.Context, revision string, paths ...string) (map[string]gitsource.Origin, error) {
	if !r.before {
		r.before = true
		return nil, errors.New("the connection was cut")
	}
	return r.Repository.Origins(ctx, revision, paths...)
}

func TestAReadingThatIsCutOffAfterTheRecordWasReadForgetsNoPolicy(t *testing.T) {
	s := newSigned(t)
	s.repo.Commit(map[string]string{policyFile: policy(twoSignatures)}, "Ask for signatures")
	s.round(s.controller(s.remembering(), schedule{}.at))
	record := s.policiesInGit()
	s.repo.Delete("Away with them", policyFile, "status/policies.yaml")
	s.by(s.dana, map[string]string{"rotations/r.yaml": request("r")}, "Rotate")

	c := s.controller(s.remembering(), schedule{}.at)
	c.Repository = &interrupted{Repository: c.Repository}
	c.Statuses = c.Repository
	require.ErrorContains(t, c.Poll(t.Context()), "the connection was cut")
	s.round(c)
	require.Zero(t, s.rotated())
	require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "r").Phase)
	require.Equal(t, record, s.policiesInGit())
}

func TestAPolicyThatGitSaysIsInForceIsRememberedWhateverGoesWrong(t *testing.T) {
	for fault := dieBefore; fault < singles; fault++ {
		for n := 1; !recordWith(t, fault, n); n++ {
		}
	}
}

// recordWith lets the n-th call of an agent fail that sees a policy for the first time, and reports whether there were
// fewer calls.
func recordWith(t *testing.T, fault mishap, n int) bool {
	s := newSigned(t)
	s.round(s.controller(s.remembering(), schedule{}.at))
	s.repo.Commit(map[string]string{policyFile: policy(twoSignatures)}, "Ask for signatures")
	failing := s.world.calls + n
	c := s.controller(s.remembering(), schedule{failing: fault}.at)
	for range 2 { // an error is a reason to try again
		if c.Poll(t.Context()) == nil && c.Recover(t.Context()) == nil {
			require.NoError(t, c.Flush(t.Context()))
		}
	}
	done, inForce := s.world.calls < failing, s.policiesInGit() != ""

	s.repo.Delete("Away with it", policyFile)
	if inForce {
		s.repo.Delete("Away with it", "status/policies.yaml")
	}
	s.by(s.dana, map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
	s.round(s.controller(s.remembering(), schedule{}.at))
	if inForce {
		require.Zero(t, s.rotated(), "%s", schedule{failing: fault})
	}
	require.True(t, inForce || !done, "nothing went wrong")
	return done
}

func TestEachRepositoryHasARecordOfItsOwn(t *testing.T) {
	s := newSigned(t)
	s.repo.Commit(map[string]string{policyFile: policy(twoSignatures)}, "Ask for signatures")
	s.round(s.controller(s.remembering(), schedule{}.at))
	secret := s.world.secrets["policies"]
	require.Equal(t, s.policiesInGit(), strings.TrimSpace(secret.Data["policies.yaml"].Reveal()))

	secret.Annotations = map[string]string{"gitrota.dev/repository": "https://git.example.com/other.git (main) status"}
	s.world.put(secret)
	c := s.controller(s.remembering(), schedule{}.at)
	owner := c.Engine.Owner
	require.EqualError(t, c.Poll(t.Context()), `the Secret gitrota/policies records the policies in force of "https://git.example.com/other.git (main) status" and not of `+owner+
		` status; give each agent a Secret of its own or, if the repository has moved, set its annotation gitrota.dev/repository to "`+owner+` status"`)

	secret.Annotations = map[string]string{"gitrota.dev/repository": owner + " status"}
	secret.Data["policies.yaml"] = credential.NewPassword("policies: [")
	s.world.put(secret)
	require.ErrorContains(t, c.Poll(t.Context()), "the Secret gitrota/policies, the record of the policies in force, cannot be read")
	require.ErrorContains(t, c.Poll(t.Context()), "restore its key policies.yaml from that file in the status path")
	require.Zero(t, s.rotated())
}
