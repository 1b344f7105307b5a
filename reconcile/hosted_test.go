package reconcile_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/gitsource/forge/forgetest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
)

// hosted is a repository on a real Gitea and a simulated database, for stories about pull requests. Dana proposes, erin
// and frank review, acme owns the repository and merges, and gitrota works as an account of its own,
// beside another robot.
type hosted struct {
	*testing.T
	world                                   *simulation
	repo                                    *forgetest.Repo
	acme, dana, erin, frank, robot, scanner *forgetest.User
	api                                     string      // through which gitrota asks the forge
	away                                    atomic.Bool // the forge answers 502
}

func newHosted(t *testing.T) *hosted {
	t.Helper()
	f := forgetest.Start(t)
	h := &hosted{T: t, world: newSimulation(mode{credential: "generated", replicas: 1}),
		acme: f.User(t, "acme"), dana: f.User(t, "dana"), erin: f.User(t, "erin"), frank: f.User(t, "frank"), robot: f.User(t, "gitrota-robot"), scanner: f.User(t, "scanner")}
	h.world.unasked = true
	h.repo = f.NewRepo(t, h.acme, forgetest.RepoOptions{Writers: []*forgetest.User{h.dana, h.erin, h.frank, h.robot, h.scanner}})
	to, err := url.Parse(f.URL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	h.api = server.URL
	return h
}

// as is a client of the forge with a user's token.
func (h *hosted) as(user *forgetest.User) *forge.Client {
	h.Helper()
	client, err := forge.Open(forge.Options{
		Kind: forge.Gitea, URL: h.repo.URL, API: h.api, Auth: gitsource.Auth{BearerToken: credential.NewPassword(user.Token)},
	})
	require.NoError(h, err)
	return client
}

func (h *hosted) open() *gitsource.Repository {
	h.Helper()
	r, err := gitsource.Open(gitsource.Options{
		URL: h.repo.URL, Branch: "main", Author: gitsource.Person{Name: "gitrota", Email: "gitrota@example.com"},
		Auth: gitsource.Auth{Username: h.robot.Name, Password: credential.NewPassword(h.robot.Token)},
	})
	require.NoError(h, err)
	h.Cleanup(func() { r.Close() })
	return r
}

// controller makes one, as a new process has it.
func (h *hosted) controller(rails guardrails.Guardrails) *reconcile.Controller {
	h.Helper()
	return reconcile.NewController(reconcile.Options{
		Engine:     engineOn(&incarnation{world: h.world, at: schedule{}.at, cancel: func() {}}, uint64(h.world.calls), nil),
		Repository: h.open(), Forge: h.as(h.robot), Branch: "main", Guardrails: func() guardrails.Guardrails { return rails },
		Path: "rotations", StatusPath: "status", Log: slog.New(slog.NewTextHandler(h.Output(), nil)),
	})
}

// round is one of the agent's, with all that it does in the background.
func (h *hosted) round(c *reconcile.Controller) {
	h.Helper()
	require.NoError(h, c.Poll(h.Context()))
	c.Wait() // for what the forge has to say
	require.NoError(h, c.Recover(h.Context()))
	require.NoError(h, c.Survey(h.Context()))
	if c.Outdated() {
		require.NoError(h, c.Poll(h.Context()))
		c.Wait()
	}
	_, err := c.Schedule(h.Context())
	require.NoError(h, err)
	c.Advance(h.Context())
	c.Wait()
	require.NoError(h, c.Flush(h.Context()))
	c.Propose(h.Context())
	c.Wait()
}

// files returns what main holds below a folder, by path.
func (h *hosted) files(folder string) map[string]string {
	h.Helper()
	snapshot, err := h.open().Snapshot(h.Context(), folder)
	require.NoError(h, err)
	files := map[string]string{}
	for _, f := range snapshot.Files {
		if strings.HasPrefix(f.Path, folder+"/") {
			files[f.Path] = string(f.Content)
		}
	}
	return files
}

func (h *hosted) status(request string) reconcile.Status {
	h.Helper()
	content, there := h.files("status")["status/demo/"+request+".yaml"]
	if !there {
		return reconcile.Status{}
	}
	status, err := reconcile.ParseStatus([]byte(content))
	require.NoError(h, err)
	return status
}

func (h *hosted) rotated() int { return len(h.world.servers[0].given["sa"]) }

// problems is what the status path says about no single request, on one line.
func (h *hosted) problems() string {
	h.Helper()
	return strings.Join(strings.Fields(h.files("status")["status/problems.yaml"]), " ")
}

// push brings a file to main without a pull request, and returns the hash of the commit.
func (h *hosted) push(file, content string) string {
	h.Helper()
	return h.repo.Push(h, h.acme, "main", map[string]string{file: content}, "Change "+file)
}

// propose opens dana's pull request with a file, and returns its number.
func (h *hosted) propose(branch, file, content string) int {
	h.Helper()
	h.repo.Push(h, h.dana, branch, map[string]string{file: content}, "Change "+file)
	return h.repo.Propose(h, h.dana, branch, "Change "+file)
}

// approve lets people approve of the head as it is now.
func (h *hosted) approve(pull int, by ...*forgetest.User) {
	h.Helper()
	for _, user := range by {
		h.repo.Review(h, user, pull, forgetest.Approve)
	}
}

// page is the link of a pull request.
func (h *hosted) page(pull int) string {
	h.Helper()
	found, err := h.as(h.dana).Find(h.Context(), pull)
	require.NoError(h, err)
	return found.Link
}

// head is the commit that a pull request would merge, or has merged, as people write it.
func (h *hosted) head(pull int) string {
	h.Helper()
	found, err := h.as(h.dana).Find(h.Context(), pull)
	require.NoError(h, err)
	return found.Head[:12]
}
