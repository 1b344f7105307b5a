package gitsource_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

func TestAProposalIsABranchWithOneCommit(t *testing.T) {
	onBoth(t, "made once, left alone, and taken back", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		base := repo.Commit(map[string]string{"rotations/a": "1"}, "first")
		o.Author = gitsource.Person{Name: "gitrota", Email: "gitrota@example.com"}
		r := open(t, o)
		build := func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
			_, there := tip.Get("rotations/a")
			require.True(t, there)
			return &gitsource.Change{Files: map[string][]byte{"rotations/b": []byte("2")}, Subject: "propose b"}, nil
		}
		require.NoError(t, r.Propose(t.Context(), "gitrota/demo/b", []string{"rotations"}, build))
		require.Equal(t, base, repo.Head(), "the watched branch is where it was")
		own := repo.OnBranch("gitrota/demo/b")
		require.Equal(t, "propose b", own.Log()[0].Subject)
		require.Equal(t, base, own.Log()[1].Hash)
		require.Equal(t, "2", own.Show("rotations/b"))

		tip := own.Head()
		repo.Commit(map[string]string{"rotations/a": "3"}, "meanwhile")
		require.NoError(t, r.Propose(t.Context(), "gitrota/demo/b", []string{"rotations"}, build), "what is there is not an error")
		require.Equal(t, tip, own.Head())
		repo.OnBranch("other").Commit(map[string]string{"x": "x"}, "other")
		found, err := r.Branches(t.Context(), "gitrota/")
		require.NoError(t, err)
		require.Equal(t, map[string]string{"gitrota/demo/b": tip}, found)

		require.ErrorContains(t, r.Propose(t.Context(), "main", []string{"rotations"}, build), "no name for a branch with a proposal")
		worked := own.Commit(map[string]string{"rotations/b": "4"}, "Work on it")
		require.NoError(t, r.Retract(t.Context(), "gitrota/demo/b", tip))
		require.Equal(t, worked, own.Head(), "somebody has worked on it")
		require.NoError(t, r.Retract(t.Context(), "gitrota/demo/b", worked))
		require.NoError(t, r.Retract(t.Context(), "gitrota/demo/b", worked), "gone is gone")
		found, err = r.Branches(t.Context(), "gitrota/")
		require.NoError(t, err)
		require.Empty(t, found)
	})

	t.Run("an answer that is lost makes no second one, and a refusal says what the server said", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{})
		repo := server.NewRepo("lost")
		repo.Commit(map[string]string{"rotations/a": "1"}, "first")
		o := options(t, server, repo, false)
		o.Author = gitsource.Person{Name: "gitrota", Email: "gitrota@example.com"}
		r := open(t, o)
		build := func(*gitsource.Snapshot) (*gitsource.Change, error) {
			return &gitsource.Change{Files: map[string][]byte{"rotations/b": []byte("2")}, Subject: "propose b"}, nil
		}
		server.Break(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/git-receive-pack") && r.Method == http.MethodPost {
				next.ServeHTTP(nobody{}, r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
		require.NoError(t, r.Propose(t.Context(), "gitrota/b", []string{"rotations"}, build))
		require.Len(t, repo.OnBranch("gitrota/b").Log(), 2)
		server.Break(nil)
		repo.Refuse("no branches by robots")
		err := r.Propose(t.Context(), "gitrota/c", []string{"rotations"}, build)
		require.ErrorContains(t, err, "no branches by robots")
	})
}

// nobody gets an answer.
type nobody struct{}

func (nobody) Header() http.Header         { return http.Header{} }
func (nobody) Write(p []byte) (int, error) { return len(p), nil }
func (nobody) WriteHeader(int)             {}
