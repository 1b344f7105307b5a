package reconcile_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/signature"
	"github.com/gitrota/gitrota/reconcile"
)

// stage is a real repository and a simulated database, for stories about what is read and written where.
type stage struct {
	*testing.T
	world  *simulation
	server *gittest.Server
	repo   *gittest.Repo
	asked  atomic.Int32 // requests that came over HTTP
}

func newStage(t *testing.T) *stage {
	s := &stage{T: t, world: newSimulation(mode{credential: "generated", replicas: 1}), server: gittest.NewServer(t, gittest.Options{})}
	s.world.unasked = true
	s.repo = s.server.NewRepo("ops")
	s.repo.Commit(map[string]string{"README.md": "Ours."}, "Begin")
	s.server.Break(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		s.asked.Add(1)
		next.ServeHTTP(w, r)
	})
	return s
}

func (s *stage) open(branch string) *gitsource.Repository {
	s.Helper()
	r, err := gitsource.Open(gitsource.Options{
		URL: s.repo.URL(), Branch: branch, CreateBranch: branch != "main", Author: gitsource.Person{Name: "gitrota", Email: "gitrota@example.com"},
	})
	require.NoError(s, err)
	return r
}

// controller makes one, as a new process has it. What happens to its calls is up to at.
func (s *stage) controller(options reconcile.Options, at func(call int) mishap) *reconcile.Controller {
	s.Helper()
	options.Engine = engineOn(&incarnation{world: s.world, at: at, cancel: func() {}}, uint64(s.world.calls), nil)
	options.Repository = s.open("main")
	options.Path, options.StatusPath, options.Log = "rotations", "status", slog.New(slog.DiscardHandler)
	return reconcile.NewController(options)
}

// round is one of the agent's.
func (s *stage) round(c *reconcile.Controller) {
	s.Helper()
	require.NoError(s, c.Poll(s.Context()))
	require.NoError(s, c.Recover(s.Context()))
	require.NoError(s, c.Survey(s.Context()))
	if c.Outdated() {
		require.NoError(s, c.Poll(s.Context()))
	}
	_, err := c.Schedule(s.Context())
	require.NoError(s, err)
	c.Advance(s.Context())
	c.Wait()
	require.NoError(s, c.Flush(s.Context()))
}

func (s *stage) status(repo *gittest.Repo, request string) reconcile.Status {
	s.Helper()
	for _, file := range repo.Files() {
		if file == "status/demo/"+request+".yaml" {
			status, err := reconcile.ParseStatus([]byte(repo.Show(file)))
			require.NoError(s, err)
			return status
		}
	}
	return reconcile.Status{}
}

func TestStatusesGoToABranchOfTheirOwnWhereTheOtherOneIsProtected(t *testing.T) {
	s := newStage(t)
	s.repo.Protect("main takes pull requests only")
	s.repo.Commit(map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
	head := s.repo.Head()
	own := s.repo.OnBranch("gitrota-status")
	c := s.controller(reconcile.Options{Statuses: s.open("gitrota-status"), SkipCI: true}, schedule{}.at)
	s.round(c)
	require.Equal(t, reconcile.PhaseSuccessful, s.status(own, "r").Phase)
	require.Equal(t, head, s.repo.Head(), "nothing came to main")
	log := own.Log()
	require.Len(t, log, 1, "the branch has a history of its own")
	require.Contains(t, log[0].Message, "\n\n[skip ci]\n\nRotation-Request: demo/r\n")
	require.Equal(t, s.status(own, "r").Request.ID, log[0].Trailers["Rotation-Id"])

	before := s.asked.Load()
	s.round(c)
	require.Equal(t, int32(1), s.asked.Load()-before, "a poll of what is known is one request")

	t.Run("a new process finds there what has ended", func(t *testing.T) {
		calls := len(s.world.servers[0].given["sa"])
		s.round(s.controller(reconcile.Options{Statuses: s.open("gitrota-status")}, schedule{}.at))
		require.Len(t, own.Log(), 1)
		require.Len(t, s.world.servers[0].given["sa"], calls)
	})
	t.Run("the next request adds to it", func(t *testing.T) {
		s.repo.Commit(map[string]string{"rotations/next.yaml": request("next")}, "Rotate again")
		s.round(c)
		require.Equal(t, reconcile.PhaseSuccessful, s.status(own, "next").Phase)
		require.Len(t, own.Log(), 2)
	})
	t.Run("a status branch that somebody deletes is made again with all that was in it", func(t *testing.T) {
		s.repo.Commit(map[string]string{"rotations/third.yaml": request("third")}, "Rotate once more")
		own.Remove()
		s.round(c) // writes the third and sees that the others are gone
		s.round(c)
		for _, name := range []string{"r", "next", "third"} {
			require.Equal(t, reconcile.PhaseSuccessful, s.status(own, name).Phase, name)
		}
	})
}

func TestTheAgentsOwnCommitsWakeNobodyUp(t *testing.T) {
	s := newStage(t)
	s.repo.Commit(map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
	c := s.controller(reconcile.Options{}, schedule{}.at)
	s.round(c)
	require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "r").Phase)
	for range 3 {
		before, sent := s.asked.Load(), s.server.Traffic()
		s.round(c)
		require.Equal(t, int32(1), s.asked.Load()-before, "the head is what the push has made it, and nothing is read")
		require.Less(t, s.server.Traffic().Since(sent).Sent, int64(4096))
	}
}

func TestAHistoryThatIsRewrittenUnderARotationStartsNoSecondOne(t *testing.T) {
	for _, c := range []struct {
		story   string
		rewrite func(repo *gittest.Repo, begin, asked string)
	}{
		{"the status commits are gone", func(repo *gittest.Repo, _, asked string) { repo.Reset(asked) }},
		{"the request is gone, too", func(repo *gittest.Repo, begin, _ string) { repo.Reset(begin) }},
	} {
		for _, when := range []string{"while it runs", "after it has ended"} {
			t.Run(c.story+", "+when, func(t *testing.T) {
				s := newStage(t)
				begin := s.repo.Head()
				asked := s.repo.Commit(map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
				var controller *reconcile.Controller
				rewritten := false
				controller = s.controller(reconcile.Options{}, func(call int) mishap {
					if when == "while it runs" && call == 30 && !rewritten {
						rewritten = true
						require.NoError(t, controller.Flush(t.Context()), "that it has begun is in Git")
						require.Equal(t, reconcile.PhaseProgressing, s.status(s.repo, "r").Phase)
						c.rewrite(s.repo, begin, asked)
					}
					return nothing
				})
				s.round(controller)
				if when == "after it has ended" {
					c.rewrite(s.repo, begin, asked)
				}
				password := s.world.value("db-auth", "password")
				s.round(controller)
				s.round(controller)
				require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "r").Phase)
				for _, kind := range whole(mode{credential: "generated", replicas: 1}) {
					require.True(t, s.status(s.repo, "r").Has(kind), kind)
				}
				require.Equal(t, password, s.world.value("db-auth", "password"))
				require.Len(t, s.world.servers[0].given["sa"], 1, "one password was ever set")
			})
		}
	}
}

func TestOnlySignedRequestsRunWhereSignersAreNamed(t *testing.T) {
	s := newStage(t)
	listed, stranger := s.server.NewSSHKey("ed25519", ""), s.server.NewSSHKey("ed25519", "")
	file := filepath.Join(t.TempDir(), "allowed_signers")
	require.NoError(t, os.WriteFile(file, []byte("dba@example.com "+listed.Public+"\n"), 0o600))
	signers, err := signature.LoadSigners(file)
	require.NoError(t, err)
	c := s.controller(reconcile.Options{RequestSigners: signers}, schedule{}.at)
	denied := func(request, reason string) string {
		t.Helper()
		s.round(c)
		status := s.status(s.repo, request)
		require.Equal(t, reconcile.PhaseDenied, status.Phase)
		require.Equal(t, reason, status.Conditions[0].Reason)
		require.Empty(t, status.Request.ID, "it is bound to nothing")
		require.Equal(t, initialPassword, s.world.value("db-auth", "password"))
		return status.Conditions[0].Message
	}

	hash := s.repo.Commit(map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
	why := denied("r", reconcile.ReasonSignatureMissing)
	require.Contains(t, why, hash)
	require.Contains(t, why, "add it under another name")

	s.repo.SignWith(stranger)
	s.repo.Commit(map[string]string{"rotations/r2.yaml": request("r2")}, "Rotate")
	require.Contains(t, denied("r2", reconcile.ReasonSignatureUntrusted), stranger.Name)

	// Somebody who may push, and not sign, says that a request is under way.
	s.repo.SignWith(nil)
	s.repo.Commit(map[string]string{"status/demo/forged.yaml": request("forged") + "status: {phase: Progressing}\n"}, "Forge a status")
	s.repo.Commit(map[string]string{"rotations/policy.yaml": "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: p}\nspec: {databases: [{namespace: demo, name: db}], consumers: {restart: true, maxConcurrent: 1}}\n"}, "A policy")
	s.repo.SignWith(listed)
	s.repo.Commit(map[string]string{"rotations/r3.yaml": request("r3")}, "Rotate")
	require.Contains(t, denied("r3", reconcile.ReasonSignatureMissing), "rotations/policy.yaml was brought by")

	s.repo.Commit(map[string]string{"rotations/policy.yaml": "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: p}\nspec: {databases: [{namespace: demo, name: db}], consumers: {restart: true, maxConcurrent: 2}}\n"}, "Stand for the policy")
	s.round(c)
	status := s.status(s.repo, "r3")
	require.Equal(t, reconcile.PhaseSuccessful, status.Phase)
	require.Equal(t, "dba@example.com "+listed.Name, status.Request.Source.Signer)
	require.Contains(t, s.repo.Show("status/demo/r3.yaml"), "gitrota.dev/source-signer: dba@example.com ssh-ed25519 SHA256:")
	require.Equal(t, status.Request.Source.Signer, s.repo.Log()[0].Trailers["Rotation-Signer"])
	require.NotEqual(t, initialPassword, s.world.value("db-auth", "password"))
	require.Len(t, s.world.servers[0].given["sa"], 1)
}
