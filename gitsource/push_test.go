package gitsource_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

// once returns a builder that does not do again what is there already, as the agent's.
func once(path string, tries *int) func(*gitsource.Snapshot) (*gitsource.Change, error) {
	return func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
		*tries++
		if _, in := tip.Get(path); in {
			return nil, nil
		}
		return write(map[string]string{path: "x"})(tip)
	}
}

func TestAPushThatIsDisturbed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a push went elsewhere") }))
	defer elsewhere.Close()
	server := gittest.NewServer(t, gittest.Options{SSH: true})
	for _, c := range []struct {
		story string
		http  gittest.Fault // or
		ssh   gittest.SSHFault
		kind  error // nil: it landed
		says  string
		rest  time.Duration
	}{
		{"whose answer is lost", gittest.LoseAnswer, 0, nil, "", 0},
		{"whose answer is lost on SSH", nil, gittest.LoseSSHAnswer, nil, "", 0},
		{"that the server takes and then stalls", server.StallAnswer, 0, nil, "", 0},
		{"that the server takes and then stalls, on SSH", nil, gittest.StallSSHAnswer, nil, "", 0},
		{"that is cut in the middle", gittest.CutRequest, 0, gitsource.ErrUnreachable, "", 0},
		{"that is cut in the middle on SSH", nil, gittest.CutSSHPush, gitsource.ErrUnreachable, "", 0},
		{"that comes too often", gittest.Status(http.StatusTooManyRequests), 0, gitsource.ErrUnreachable, "HTTP 429", 30 * time.Second},
		{"to a server that is ill", gittest.Status(http.StatusInternalServerError), 0, gitsource.ErrUnreachable, "HTTP 500", 30 * time.Second},
		{"that is sent elsewhere", gittest.RedirectTo(elsewhere.URL), 0, gitsource.ErrUnreachable, "the server redirects a request that carries data", 0},
		{"that may not be", gittest.Status(http.StatusForbidden), 0, gitsource.ErrAuth, "HTTP 403", 0},
	} {
		t.Run("a push "+c.story+" is in Git once, now or with the next write", func(t *testing.T) {
			repo := server.NewRepo(strings.NewReplacer(" ", "-", ",", "").Replace(c.story))
			repo.Commit(map[string]string{"a": "a"}, "first")
			o := options(t, server, repo, c.ssh != 0)
			o.Timeout, o.Patience = 3*time.Second, time.Millisecond
			r := open(t, o)

			var posts atomic.Int32
			server.Break(gittest.OnPush(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				posts.Add(1)
				c.http(w, req, next)
			}))
			server.BreakSSH(c.ssh)
			tries := 0
			_, err := r.Write(t.Context(), []string{statusDir}, once("rotation-status/n", &tries))
			server.Break(nil)
			server.BreakSSH(0)
			if c.kind == nil {
				require.NoError(t, err)
				require.Len(t, repo.Log(), 2)
			} else {
				full := requireError(t, err, c.kind)
				require.Contains(t, full.Error(), c.says)
				require.Equal(t, c.rest, full.RetryAfter)
				require.Len(t, repo.Log(), 1)
				if c.says != "" {
					require.EqualValues(t, 1, posts.Load(), "who was told off does not ask again at once")
				}
			}

			_, err = r.Write(t.Context(), []string{statusDir}, once("rotation-status/n", &tries))
			require.NoError(t, err)
			require.Len(t, repo.Log(), 2)
			require.Equal(t, "x", repo.Show("rotation-status/n"))
			repo.Check()
		})
	}
}

// What the server is sure of does not become a lost race because somebody else has moved the branch at the same time.
func TestARefusalIsNoRaceEvenOnABusyBranch(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	for story, c := range map[string]struct {
		refuse func(repo *gittest.Repo) gittest.Fault
		kind   error
	}{
		"a hook": {func(repo *gittest.Repo) gittest.Fault {
			repo.Refuse("GitLab: You are not allowed to push code to protected branches on this project.\nfailed to update ref")
			return nil
		}, gitsource.ErrRejected},
		"a login":        {func(*gittest.Repo) gittest.Fault { return gittest.Status(http.StatusForbidden) }, gitsource.ErrAuth},
		"too many tries": {func(*gittest.Repo) gittest.Fault { return gittest.Status(http.StatusTooManyRequests) }, gitsource.ErrUnreachable},
	} {
		t.Run("refused by "+story, func(t *testing.T) {
			repo := server.NewRepo(strings.ReplaceAll(story, " ", "-"))
			repo.Commit(map[string]string{"a": "a"}, "first")
			fault := c.refuse(repo)
			posts := 0
			server.Break(gittest.OnPush(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				posts++
				repo.Commit(map[string]string{"a": fmt.Sprint(posts)}, "meanwhile")
				if fault != nil {
					fault(w, req, next)
					return
				}
				next.ServeHTTP(w, req)
			}))
			defer server.Break(nil)
			tries := 0
			_, err := open(t, options(t, server, repo, false)).Write(t.Context(), []string{statusDir}, once("rotation-status/n", &tries))
			requireError(t, err, c.kind)
			require.Equal(t, 1, posts)
			require.Len(t, repo.Log(), 2)
		})
	}
}

func TestAHostKeyThatChangesBetweenFetchAndPush(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{SSH: true})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"a": "a"}, "first")
	r := open(t, options(t, server, repo, true))
	tries := 0
	_, err := r.Write(t.Context(), []string{statusDir}, func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
		server.NewHostKey()
		r.Close() // the connection that is kept would go on with the old one
		return once("rotation-status/n", &tries)(tip)
	})
	requireError(t, err, gitsource.ErrHostKey)
	require.Equal(t, 1, tries)
	require.Len(t, repo.Log(), 1)
}

func TestABranchOfItsOwn(t *testing.T) {
	onBoth(t, "is made in a repository without a commit", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		o.Branch, o.CreateBranch = "status", true
		tries := 0
		snapshot, err := open(t, o).Write(t.Context(), []string{statusDir}, once("rotation-status/n", &tries))
		require.NoError(t, err)
		status := repo.OnBranch("status")
		require.Equal(t, status.Head(), snapshot.Revision)
		require.Equal(t, []string{"rotation-status/n"}, status.Files())
		repo.Check()
	})

	onBoth(t, "is made anew where somebody deletes it, with what is written", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		head := repo.Commit(map[string]string{"rotations/a.yaml": "a"}, "first")
		o.Branch, o.CreateBranch = "status", true
		status := repo.OnBranch("status")
		r := open(t, o)
		tries := 0
		_, err := r.Write(t.Context(), []string{statusDir}, once("rotation-status/1", &tries))
		require.NoError(t, err)

		// Before the write, and in the middle of it.
		status.DeleteBranch()
		_, err = r.Write(t.Context(), []string{statusDir}, once("rotation-status/2", &tries))
		require.NoError(t, err)
		require.Equal(t, []string{"rotation-status/2"}, status.Files())
		deleted := false
		_, err = r.Write(t.Context(), []string{statusDir}, func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
			if !deleted {
				deleted = true
				status.DeleteBranch()
			}
			return once("rotation-status/3", &tries)(tip)
		})
		require.NoError(t, err)
		require.Equal(t, []string{"rotation-status/3"}, status.Files())
		require.Len(t, status.Log(), 1)
		require.Equal(t, head, repo.Head(), "the other branch is as it was")
		repo.Check()
	})

	onBoth(t, "that somebody else makes first is built on", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Commit(map[string]string{"rotations/a.yaml": "a"}, "first")
		o.Branch, o.CreateBranch = "status", true
		status := repo.OnBranch("status")
		tries := 0
		_, err := open(t, o).Write(t.Context(), []string{statusDir}, func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
			if tries == 0 {
				status.Commit(map[string]string{"theirs": "x"}, "made by somebody else")
			}
			return once("rotation-status/n", &tries)(tip)
		})
		require.NoError(t, err)
		require.Equal(t, 2, tries)
		require.Equal(t, []string{"rotation-status/n", "rotations/a.yaml", "theirs"}, status.Files())
	})

	onBoth(t, "that is missing is an error where it may not be made", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Commit(map[string]string{"rotations/a.yaml": "a"}, "first")
		o.Branch = "status"
		tries := 0
		_, err := open(t, o).Write(t.Context(), []string{statusDir}, once("rotation-status/n", &tries))
		requireError(t, err, gitsource.ErrBranchNotFound)
		require.Zero(t, tries)
	})
}
