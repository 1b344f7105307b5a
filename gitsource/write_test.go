package gitsource_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

func TestWriting(t *testing.T) {
	onBoth(t, "a change becomes one commit on top of the tip", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		first := repo.Commit(map[string]string{
			"rotations/a.yaml": "a", "rotation-status/old.yaml": "old", "rotation-status/demo/gone/x.yaml": "x", "z": "z",
		}, "first")
		snapshot, err := open(t, o).Write(t.Context(), []string{statusDir}, func(s *gitsource.Snapshot) (*gitsource.Change, error) {
			require.Equal(t, first, s.Revision)
			require.Equal(t, []string{"rotation-status/demo/gone/x.yaml", "rotation-status/old.yaml"}, paths(s))
			change, err := write(map[string]string{"rotation-status/README.md": "# Status\n", "rotation-status/demo/a.yaml": "a: 1\n"})(s)
			change.Files["rotation-status/demo/gone/x.yaml"] = nil
			change.Files["rotation-status/never/was.yaml"] = nil
			return change, err
		})
		require.NoError(t, err)
		require.Equal(t, repo.Head(), snapshot.Revision)
		require.Equal(t, []string{"rotation-status/README.md", "rotation-status/demo/a.yaml", "rotation-status/old.yaml"}, paths(snapshot))

		require.Equal(t, []string{"rotation-status/README.md", "rotation-status/demo/a.yaml", "rotation-status/old.yaml", "rotations/a.yaml", "z"}, repo.Files())
		require.Equal(t, "a: 1", repo.Show("rotation-status/demo/a.yaml"))
		log := repo.Log()
		require.Len(t, log, 2)
		require.Equal(t, first, log[1].Hash)
		require.Equal(t, "gitrota", log[0].Author)
		require.Equal(t, "gitrota@example.com", log[0].Email)
		require.Equal(t, "rotate demo/db: Successful\n\nThe password of demo/db was rotated.\n\nRotation-Id: 1234\n", log[0].Message)
		require.Equal(t, map[string]string{"Rotation-Id": "1234"}, log[0].Trailers)
		repo.Check()
	})

	onBoth(t, "what changes nothing makes no commit", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		head := repo.Commit(map[string]string{"rotation-status/a.yaml": "a"}, "first")
		r := open(t, o)
		for _, build := range []func(*gitsource.Snapshot) (*gitsource.Change, error){
			func(*gitsource.Snapshot) (*gitsource.Change, error) { return nil, nil },
			write(nil),
			write(map[string]string{"rotation-status/a.yaml": "a"}),
		} {
			snapshot, err := r.Write(t.Context(), []string{statusDir}, build)
			require.NoError(t, err)
			require.Equal(t, head, snapshot.Revision)
		}
		require.Equal(t, head, repo.Head())
	})

	onBoth(t, "a branch is made when that is wanted, with no history", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Commit(map[string]string{"rotations/a.yaml": "a"}, "first")
		o.Branch, o.CreateBranch = "status", true
		snapshot, err := open(t, o).Write(t.Context(), []string{statusDir}, func(s *gitsource.Snapshot) (*gitsource.Change, error) {
			require.Equal(t, &gitsource.Snapshot{}, s)
			return write(map[string]string{"rotation-status/a.yaml": "a"})(s)
		})
		require.NoError(t, err)
		status := repo.OnBranch("status")
		require.Equal(t, status.Head(), snapshot.Revision)
		require.Equal(t, []string{"rotation-status/a.yaml"}, status.Files())
		require.Len(t, status.Log(), 1)
		repo.Check()
	})

	onBoth(t, "many commits in a row keep the repository sound", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Commit(map[string]string{"a": "a"}, "first")
		r := open(t, o)
		for i := range 5 {
			_, err := r.Write(t.Context(), []string{statusDir}, write(map[string]string{fmt.Sprintf("rotation-status/%d", i%2): fmt.Sprint(i)}))
			require.NoError(t, err)
		}
		require.Len(t, repo.Log(), 6)
		repo.Check()
	})
}

func TestWritingWhereItMustNot(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"rotations/a.yaml": "a", "rotation-status/file": "f"}, "first")
	head := repo.Link("rotation-status/link", "../rotations", "a link")
	r := open(t, options(t, server, repo, false))

	for story, path := range map[string]string{
		"a request":                    "rotations/a.yaml",
		"a folder with a longer name":  "rotation-status-2/a.yaml",
		"a way out of the folder":      "rotation-status/../rotations/a.yaml",
		"a way out of the repository":  "../rotation-status/a.yaml",
		"an absolute path":             "/rotation-status/a.yaml",
		"a path that is not clean":     "rotation-status//a.yaml",
		"git's own folder":             "rotation-status/.git/config",
		"git's own folder in capitals": "rotation-status/.GIT/config",
		"a line break":                 "rotation-status/a\nb",
		"a path through a link":        "rotation-status/link/a.yaml",
		"a link":                       "rotation-status/link",
		"a path through a file":        "rotation-status/file/a.yaml",
		"the status folder itself":     "rotation-status",
		"nothing":                      "",
	} {
		t.Run(story+" is not written", func(t *testing.T) {
			_, err := r.Write(t.Context(), []string{statusDir}, write(map[string]string{path: "x"}))
			require.Error(t, err)
			require.Equal(t, head, repo.Head())
		})
	}
	t.Run("with no folder to write into, nothing is written", func(t *testing.T) {
		for _, dirs := range [][]string{nil, {""}, {"/"}, {"rotation-status", "."}} {
			_, err := r.Write(t.Context(), dirs, write(map[string]string{"a": "x"}))
			require.ErrorContains(t, err, "name a folder below its root")
		}
		_, err := r.Write(t.Context(), []string{"../other"}, write(map[string]string{"a": "x"}))
		require.ErrorContains(t, err, "outside the repository")
	})
	t.Run("an error of the builder is handed on and writes nothing", func(t *testing.T) {
		boom := fmt.Errorf("boom")
		_, err := r.Write(t.Context(), []string{statusDir}, func(*gitsource.Snapshot) (*gitsource.Change, error) { return nil, boom })
		require.ErrorIs(t, err, boom)
		require.Equal(t, head, repo.Head())
	})
}

func TestMessagesOfOthersAddNoTrailers(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"a": "a"}, "first")
	r := open(t, options(t, server, repo, false))
	_, err := r.Write(t.Context(), []string{statusDir}, func(*gitsource.Snapshot) (*gitsource.Change, error) {
		return &gitsource.Change{
			Files:   map[string][]byte{"rotation-status/a": []byte("a")},
			Subject: "rotate x\n\nApproved-By: mallory",
			Body:    "it said: \x1b[31mno\n\nApproved-By: mallory",
			Trailers: []gitsource.Trailer{
				{Key: "Rotation-Id", Value: "1\nApproved-By: mallory\r\nApproved-By: mallory"},
			},
		}, nil
	})
	require.NoError(t, err)
	got := repo.Log()[0]
	require.Equal(t, map[string]string{"Rotation-Id": "1 Approved-By: mallory Approved-By: mallory"}, got.Trailers)
	require.Equal(t, "rotate x Approved-By: mallory", got.Subject)
	require.NotContains(t, got.Message, "\x1b")

	_, err = r.Write(t.Context(), []string{statusDir}, func(*gitsource.Snapshot) (*gitsource.Change, error) {
		return &gitsource.Change{Files: map[string][]byte{"rotation-status/b": nil}, Subject: "x", Trailers: []gitsource.Trailer{{Key: "A b", Value: "c"}}}, nil
	})
	require.ErrorContains(t, err, `"A b" is not the key of a trailer`)

	_, err = r.Write(t.Context(), []string{statusDir}, func(*gitsource.Snapshot) (*gitsource.Change, error) {
		return &gitsource.Change{Files: map[string][]byte{"rotation-status/b": []byte("b")}, Subject: "x", Body: "it said: no\n\nApproved-By: mallory\nSigned-off-by : dana"}, nil
	})
	require.NoError(t, err)
	got = repo.Log()[0]
	require.Empty(t, got.Trailers, "a commit that has none of its own has none")
	require.Equal(t, "x\n\nit said: no\n\n Approved-By: mallory\n Signed-off-by : dana", strings.TrimSpace(got.Message))
}

func TestLosingARace(t *testing.T) {
	onBoth(t, "a lost race is fetched again and written again", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Commit(map[string]string{"rotation-status/n": "0"}, "first")
		tries := 0
		_, err := open(t, o).Write(t.Context(), []string{statusDir}, func(s *gitsource.Snapshot) (*gitsource.Change, error) {
			if tries++; tries <= 2 {
				repo.Commit(map[string]string{"rotations/new.yaml": fmt.Sprint(tries), "rotation-status/n": fmt.Sprint(tries)}, "meanwhile")
			}
			n, _ := s.Get("rotation-status/n")
			return write(map[string]string{"rotation-status/n": string(n) + "+"})(s)
		})
		require.NoError(t, err)
		require.Equal(t, 3, tries)
		require.Equal(t, "2+", repo.Show("rotation-status/n"), "built on what the others wrote")
		require.Equal(t, "2", repo.Show("rotations/new.yaml"), "what the others wrote is kept")
		require.Len(t, repo.Log(), 4)
		repo.Check()
	})

	onBoth(t, "rewritten history in between is no reason to force", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		first := repo.Commit(map[string]string{"a": "1"}, "first")
		repo.Commit(map[string]string{"a": "2"}, "second")
		tries := 0
		_, err := open(t, o).Write(t.Context(), []string{statusDir}, func(s *gitsource.Snapshot) (*gitsource.Change, error) {
			if tries++; tries == 1 {
				repo.Reset(first)
			}
			return write(map[string]string{"rotation-status/n": "n"})(s)
		})
		require.NoError(t, err)
		require.Equal(t, "1", repo.Show("a"))
		require.Len(t, repo.Log(), 2)
	})

	server := gittest.NewServer(t, gittest.Options{})
	t.Run("a race that is lost inside the server is run again", func(t *testing.T) {
		repo := server.NewRepo("inside")
		repo.Commit(map[string]string{"a": "a"}, "first")
		var once sync.Once
		server.Break(gittest.OnPush(gittest.Before(func() {
			once.Do(func() { repo.Commit(map[string]string{"a": "b"}, "meanwhile") })
		})))
		defer server.Break(nil)
		_, err := open(t, options(t, server, repo, false)).Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/n": "n"}))
		require.NoError(t, err)
		require.Equal(t, "b", repo.Show("a"))
		require.Len(t, repo.Log(), 3)
	})

	t.Run("who always loses gives up", func(t *testing.T) {
		repo := server.NewRepo("always")
		repo.Commit(map[string]string{"a": "a"}, "first")
		tries := 0
		o := options(t, server, repo, false)
		o.Patience = time.Millisecond
		_, err := open(t, o).Write(t.Context(), []string{statusDir}, func(s *gitsource.Snapshot) (*gitsource.Change, error) {
			tries++
			repo.Commit(map[string]string{"a": fmt.Sprint(tries)}, "meanwhile")
			return write(map[string]string{"rotation-status/n": "n"})(s)
		})
		requireError(t, err, gitsource.ErrConflict)
		require.Equal(t, 8, tries)
		require.Len(t, repo.Log(), 9, "and has written nothing")
	})

	t.Run("many writers all get their commit in", func(t *testing.T) {
		repo := server.NewRepo("many")
		repo.Commit(map[string]string{"a": "a"}, "first")
		r := open(t, options(t, server, repo, false))
		var all sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			all.Go(func() {
				_, errs[i] = r.Write(t.Context(), []string{statusDir}, write(map[string]string{fmt.Sprintf("rotation-status/%d", i): "x"}))
			})
		}
		all.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.Len(t, repo.Log(), 9)
	})
}

func TestAPushWhoseAnswerIsLost(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	push := write(map[string]string{"rotation-status/n": "n"})
	for story, test := range map[string]struct {
		fault  gittest.Fault
		landed bool
	}{
		"that landed is not made twice":     {gittest.LoseAnswer, true},
		"that did not land is an error":     {gittest.Cut, false},
		"because the server is ill is said": {gittest.Status(http.StatusBadGateway), false},
	} {
		t.Run("a push "+story, func(t *testing.T) {
			repo := server.NewRepo(strings.ReplaceAll(story, " ", "-"))
			repo.Commit(map[string]string{"a": "a"}, "first")
			r := open(t, options(t, server, repo, false))
			server.Break(gittest.OnPush(test.fault))
			snapshot, err := r.Write(t.Context(), []string{statusDir}, push)
			server.Break(nil)
			if test.landed {
				require.NoError(t, err)
				require.Equal(t, repo.Head(), snapshot.Revision)
				require.Len(t, repo.Log(), 2)
				return
			}
			requireError(t, err, gitsource.ErrUnreachable)
			require.Len(t, repo.Log(), 1)
			_, err = r.Write(t.Context(), []string{statusDir}, push)
			require.NoError(t, err)
			require.Len(t, repo.Log(), 2)
		})
	}

	t.Run("a push that landed below somebody else's is not made twice", func(t *testing.T) {
		repo := server.NewRepo("below")
		repo.Commit(map[string]string{"a": "a"}, "first")
		var once sync.Once
		server.Break(gittest.OnPush(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			defer once.Do(func() { repo.Commit(map[string]string{"a": "b"}, "meanwhile") })
			gittest.LoseAnswer(w, r, next)
		}))
		defer server.Break(nil)
		_, err := open(t, options(t, server, repo, false)).Write(t.Context(), []string{statusDir}, push)
		require.NoError(t, err)
		log := repo.Log()
		require.Len(t, log, 3)
		require.Equal(t, "meanwhile", log[0].Subject)
	})
}

func TestAHookThatRefuses(t *testing.T) {
	onBoth(t, "its words reach the user, once and without secrets", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		repo.Refuse("protected branch: ask the DBAs\nyour token was " + canary + "\n\x1b[31m")
		r := open(t, o)
		tries := 0
		_, err := r.Write(t.Context(), []string{statusDir}, func(s *gitsource.Snapshot) (*gitsource.Change, error) {
			tries++
			return write(map[string]string{"rotation-status/n": "n"})(s)
		})
		if strings.HasPrefix(o.URL, "https") {
			require.Contains(t, requireError(t, err, gitsource.ErrRejected).Server, "your token was <secret>")
		}
		require.ErrorIs(t, err, gitsource.ErrRejected)
		require.ErrorContains(t, err, "protected branch: ask the DBAs")
		require.ErrorContains(t, err, "pre-receive hook declined")
		require.NotContains(t, err.Error(), "\x1b")
		require.Equal(t, 1, tries, "a refusal is not a race")
		require.Equal(t, head, repo.Head())

		repo.Refuse("")
		_, err = r.Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/n": "n"}))
		require.NoError(t, err)
	})
}

// Nobody who waits for their turn is left waiting by somebody whose server hangs.
func TestWaitingForAnotherWriterEndsWithTheContext(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"a": "a"}, "first")
	r := open(t, options(t, server, repo, false))
	inside, leave := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		_, _ = r.Write(t.Context(), []string{statusDir}, func(*gitsource.Snapshot) (*gitsource.Change, error) {
			close(inside)
			<-leave
			return nil, nil
		})
	})
	<-inside
	ctx, cancel := contextWithTimeout(t, 50*time.Millisecond)
	defer cancel()
	_, err := r.Write(ctx, []string{statusDir}, write(nil))
	require.ErrorIs(t, err, ctx.Err())
	close(leave)
	first.Wait()
}
