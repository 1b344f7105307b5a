package reconcile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/signature"
	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
)

// signed is a stage with people who sign.
type signed struct {
	*stage
	dana, erin, frank *gittest.SigningKey
	signers           *signature.Signers
}

func newSigned(t *testing.T) signed {
	s := signed{stage: newStage(t)}
	file := filepath.Join(t.TempDir(), "allowed_signers")
	var lines strings.Builder
	for name, key := range map[string]**gittest.SigningKey{"dana": &s.dana, "erin": &s.erin, "frank": &s.frank} {
		*key = s.server.NewSSHKey("ed25519", "")
		fmt.Fprintf(&lines, "%s@example.com %s\n", name, (*key).Public)
	}
	require.NoError(t, os.WriteFile(file, []byte(lines.String()), 0o600))
	signers, err := signature.LoadSigners(file)
	require.NoError(t, err)
	s.signers = signers
	return s
}

// by commits as somebody who signs; nil signs nothing.
func (s signed) by(key *gittest.SigningKey, files map[string]string, message string) string {
	s.Helper()
	s.repo.SignWith(key)
	defer s.repo.SignWith(nil)
	return s.repo.Commit(files, message)
}

// approves is the message of a commit that approves what a file holds now.
func (s signed) approves(file string) string {
	blob := strings.Repeat("0", 40)
	for _, there := range s.repo.Files() {
		if there == file {
			blob = s.repo.Blob(file)
		}
	}
	return fmt.Sprintf("approve %s\n\nApproves: %s@%s", file, file, blob)
}

func (s signed) rotated() int { return len(s.world.servers[0].given["sa"]) }

const policyFile = "rotations/policies/p.yaml"

// policy is a RotationPolicy with a spec in YAML's flow style.
func policy(spec string) string {
	return "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: production}\nspec: " + spec + "\n"
}

const twoSignatures = "{approval: {mode: Signatures, count: 2}}"

func TestARequestWaitsUntilEnoughPeopleHaveSigned(t *testing.T) {
	s := newSigned(t)
	s.repo.Commit(map[string]string{policyFile: policy(twoSignatures)}, "Ask for signatures")
	brought := s.by(s.dana, map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
	c := s.controller(reconcile.Options{ApprovalSigners: s.signers}, schedule{}.at)
	s.round(c)
	status := s.status(s.repo, "r")
	require.Equal(t, reconcile.PhaseWaitingForApproval, status.Phase)
	require.Equal(t, approval.ReasonSignaturesMissing, status.Conditions[0].Reason)
	require.Equal(t, fmt.Sprintf(`rotations/r.yaml: needs 2 signatures and has 0; that of dana@example.com on commit %s does not count: it is the author's own; to approve, push a signed commit with the trailer "Approves: rotations/r.yaml@%s"`,
		brought[:12], s.repo.Blob("rotations/r.yaml")), status.Conditions[0].Message)
	require.Equal(t, "rotate demo/db: WaitingForApproval", s.repo.Log()[0].Subject)

	commits := len(s.repo.Log())
	s.round(c)
	require.Len(t, s.repo.Log(), commits, "waiting is said once")

	erin := s.by(s.erin, nil, s.approves("rotations/r.yaml"))
	s.round(c)
	require.Contains(t, s.status(s.repo, "r").Conditions[0].Message, "needs 2 signatures and has 1: erin@example.com with commit "+erin[:12])
	require.Zero(t, s.rotated())

	frank := s.by(s.frank, nil, s.approves("rotations/r.yaml"))
	s.round(s.controller(reconcile.Options{ApprovalSigners: s.signers}, schedule{}.at)) // also for who was not there before
	status = s.status(s.repo, "r")
	require.Equal(t, reconcile.PhaseSuccessful, status.Phase)
	require.Equal(t, reconcile.TypeApproved, status.Conditions[0].Type)
	require.Equal(t, "True", status.Conditions[0].Status)
	require.Equal(t, []string{"frank@example.com " + frank, "erin@example.com " + erin}, status.Request.ApprovedBy)
	require.Contains(t, s.repo.Log()[0].Message, "\nApproved-By: erin@example.com "+erin+"\n")
	require.Equal(t, 1, s.rotated())
}

func TestARequestThatWaitsTakesNobodysPlace(t *testing.T) {
	s := newSigned(t)
	s.repo.Commit(map[string]string{policyFile: policy(twoSignatures)}, "Ask for signatures")
	s.by(s.dana, map[string]string{"rotations/good.yaml": request("good")}, "Rotate")
	s.by(s.erin, nil, s.approves("rotations/good.yaml"))
	s.by(s.frank, nil, s.approves("rotations/good.yaml"))
	s.repo.Commit(map[string]string{"rotations/newer.yaml": request("newer")}, "Get in between")
	s.round(s.controller(reconcile.Options{ApprovalSigners: s.signers}, schedule{}.at))
	require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "good").Phase)
	require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "newer").Phase)
}

func TestARequestThatIsTakenBackWhileItWaitsDoesNotRun(t *testing.T) {
	s := newSigned(t)
	s.repo.Commit(map[string]string{policyFile: policy(twoSignatures)}, "Ask for signatures")
	s.by(s.dana, map[string]string{requestFile: request("r")}, "Rotate")
	c := s.controller(reconcile.Options{ApprovalSigners: s.signers}, schedule{}.at)
	begin := func() {
		require.NoError(t, c.Poll(t.Context()))
		require.NoError(t, c.Recover(t.Context()))
		require.NoError(t, c.Survey(t.Context()))
		c.Advance(t.Context())
		c.Wait()
		require.Zero(t, s.rotated())
	}
	begin() // and Git is told nothing yet
	s.repo.Delete("Take it back", requestFile)
	begin()
	require.NoError(t, c.Flush(t.Context()))
	require.Equal(t, reconcile.PhaseSkipped, s.status(s.repo, "r").Phase)
}

func TestAnApprovalIsOfOneContent(t *testing.T) {
	s := newSigned(t)
	s.repo.Commit(map[string]string{policyFile: policy(twoSignatures)}, "Ask for signatures")
	c := s.controller(reconcile.Options{ApprovalSigners: s.signers}, schedule{}.at)
	s.by(s.dana, map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
	approve := s.approves("rotations/r.yaml")
	s.by(s.erin, nil, approve)

	t.Run("what is changed afterwards has no approval", func(t *testing.T) {
		s.by(s.dana, map[string]string{"rotations/r.yaml": request("r") + "# changed\n"}, "Change it")
		s.by(s.frank, nil, approve)
		s.round(c)
		require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "r").Phase)
		require.Contains(t, s.status(s.repo, "r").Conditions[0].Message, "has 0")
	})
	t.Run("what a status in Git says is under way is not", func(t *testing.T) {
		forged := strings.Replace(s.repo.Show("status/demo/r.yaml"), "phase: WaitingForApproval", "phase: Progressing", 1)
		s.repo.Commit(map[string]string{"status/demo/r.yaml": forged, "status/demo/ghost.yaml": request("ghost") + "status: {phase: Progressing, conditions: [{type: RotateAuth, status: 'True'}]}\n"}, "Forge a status")
		for _, controller := range []*reconcile.Controller{c, s.controller(reconcile.Options{ApprovalSigners: s.signers}, schedule{}.at)} {
			s.round(controller)
			require.Zero(t, s.rotated())
		}
		require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "r").Phase)
	})
	t.Run("a signature by somebody who is not allowed is named and does not count", func(t *testing.T) {
		s.by(s.server.NewSSHKey("ed25519", ""), nil, s.approves("rotations/r.yaml"))
		s.round(c)
		require.Contains(t, s.status(s.repo, "r").Conditions[0].Message, "does not count: ")
		require.Zero(t, s.rotated())
	})
}

func TestAPolicyGoesOnBeingInForceUntilItsChangeIsApproved(t *testing.T) {
	s := newSigned(t)
	s.repo.Commit(map[string]string{policyFile: policy(twoSignatures)}, "Ask for signatures")
	options := reconcile.Options{ApprovalSigners: s.signers}
	s.round(s.controller(options, schedule{}.at))
	require.Contains(t, s.repo.Show("status/policies.yaml"), "kind: PoliciesInForce")
	require.Equal(t, "record the policies in force", s.repo.Log()[0].Subject)

	waits := func(t *testing.T, name, problem string) {
		t.Helper()
		s.by(s.dana, map[string]string{"rotations/" + name + ".yaml": request(name)}, "Rotate")
		s.round(s.controller(options, schedule{}.at)) // which knows what Git says, and nothing else
		require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, name).Phase)
		require.Contains(t, strings.Join(strings.Fields(s.repo.Show("status/problems.yaml")), " "), problem)
		require.Contains(t, s.repo.Show("status/problems.yaml"), "reason: PolicyNotApproved")
		require.Zero(t, s.rotated())
	}
	t.Run("when it is removed", func(t *testing.T) {
		s.repo.Delete("Away with it", policyFile)
		waits(t, "removed", "the RotationPolicy production was removed, and the change is not in force: rotations/policies/p.yaml: needs 3 signatures and has 0")
	})
	t.Run("when it asks for less", func(t *testing.T) {
		s.repo.Commit(map[string]string{policyFile: policy("{approval: {mode: Merge}}")}, "Ask for nothing")
		waits(t, "weaker", "the RotationPolicy production was changed, and the change is not in force")
	})
	t.Run("when it is about another database", func(t *testing.T) {
		s.repo.Commit(map[string]string{policyFile: policy("{databases: [{name: another}], approval: {mode: Signatures, count: 2}}")}, "Look elsewhere")
		waits(t, "elsewhere", "was changed, and the change is not in force")
	})
	t.Run("when a request comes along with it", func(t *testing.T) {
		s.repo.Commit(map[string]string{policyFile: policy("{approval: {mode: Merge}}"), "rotations/along.yaml": request("along")}, "Both at once")
		s.round(s.controller(options, schedule{}.at))
		require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "along").Phase)
	})
	t.Run("and not any longer once those have signed whom it asks for", func(t *testing.T) {
		s.by(s.dana, map[string]string{policyFile: policy("{approval: {mode: Merge}, limits: {maxConcurrent: 1}}")}, "Ask for nothing")
		s.by(s.erin, nil, s.approves(policyFile))
		s.by(s.frank, nil, s.approves(policyFile))
		s.round(s.controller(options, schedule{}.at))
		require.Equal(t, 1, s.rotated(), "of all that waited, the newest runs")
		require.NotContains(t, s.repo.Files(), "status/policies.yaml", "what needs nobody's word is not recorded")
		require.NotContains(t, s.repo.Files(), "status/problems.yaml")
	})
}

func TestTheGuardrailsAskForApprovalWhateverThePoliciesSay(t *testing.T) {
	s := newSigned(t)
	rails := guardrails.Guardrails{Approval: approval.Rule{Mode: approval.Signatures, Count: 1}}
	c := s.controller(reconcile.Options{ApprovalSigners: s.signers, Guardrails: func() guardrails.Guardrails { return rails }}, schedule{}.at)
	s.by(s.dana, map[string]string{"rotations/r.yaml": request("r"), policyFile: policy("{approval: {mode: Merge}}")}, "Rotate")
	s.round(c)
	require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "r").Phase)
	require.Contains(t, s.repo.Show("status/problems.yaml"), "the RotationPolicy production was changed, and the change is not in force", "a first policy is a change, too")
	s.by(s.erin, nil, s.approves("rotations/r.yaml"))
	s.round(c)
	require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "r").Phase)

	t.Run("and what they ask for may change while the agent runs", func(t *testing.T) {
		s.by(s.dana, map[string]string{"rotations/next.yaml": request("next")}, "Rotate")
		s.round(c)
		require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "next").Phase)
		rails = guardrails.Guardrails{}
		s.round(c)
		require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "next").Phase)
	})
}

func TestAPolicyCountsFromTheFirstRequestOnThoughItsLabelsAreInTheCluster(t *testing.T) {
	s := newSigned(t)
	s.world.labels = map[string]string{"tier": "gold"}
	s.repo.Commit(map[string]string{policyFile: policy("{databases: [{labels: {tier: gold}}], approval: {mode: Signatures, count: 1}}"), "rotations/r.yaml": request("r")}, "Gold needs signatures")
	c := s.controller(reconcile.Options{ApprovalSigners: s.signers}, schedule{}.at)
	require.NoError(t, c.Poll(t.Context())) // when the databases are not known yet
	require.NoError(t, c.Recover(t.Context()))
	c.Advance(t.Context())
	c.Wait()
	require.Zero(t, s.rotated(), "before they are listed, nothing begins")
	require.NoError(t, c.Survey(t.Context()))
	require.True(t, c.Outdated())
	c.Advance(t.Context())
	c.Wait()
	require.Zero(t, s.rotated(), "nor before it is judged by them")
	s.round(c)
	require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "r").Phase)

	t.Run("and for a database that gets the label while the agent runs", func(t *testing.T) {
		s.world.labels = nil
		s.round(c) // which rotates, for nobody's word is needed any more
		require.Equal(t, 1, s.rotated())
		s.world.labels = map[string]string{"tier": "gold"}
		s.repo.Commit(map[string]string{"rotations/next.yaml": request("next")}, "Rotate")
		s.round(c)
		require.Equal(t, 1, s.rotated())
		require.Equal(t, reconcile.PhaseWaitingForApproval, s.status(s.repo, "next").Phase)
	})
}
