package gitsource_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

// noise returns text that does not compress.
func noise(seed byte, size int) string {
	text := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(text)
	return string(text)
}

// requests returns n files as they may be in a repository, a hundred in a folder.
func requests(n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("rotations/team-%02d/app-%05d.yaml", i/100, i)] = fmt.Sprintf(
			"kind: MSSQLServerOpsRequest\nmetadata:\n  name: app-%d\nspec:\n  type: RotateAuth\n  databaseRef:\n    name: db-%d\n", i, i*7919)
	}
	return files
}

// older makes a server one that speaks the older versions of the protocol, unless it is not to.
func speaking(server *gittest.Server, older bool) string {
	if older {
		server.SpeakOlder()
		return "an older version of the protocol"
	}
	return "version 2 of the protocol"
}

func TestPolling(t *testing.T) {
	t.Run("a poll is one small request, whatever the number of references", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{Username: "gitrota", Password: canary})
		repo := server.NewRepo("ops")
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		var names []string
		for i := range 5000 {
			names = append(names, fmt.Sprintf("refs/pull/%d/head", i))
		}
		repo.OnBranch("main-2").Commit(map[string]string{"b": "b"}, "a branch with a longer name")
		repo.AddRefs(names...)
		r := open(t, options(t, server, repo, false))
		_, err := r.Head(t.Context())
		require.NoError(t, err)

		requests, before := server.Requests(), server.Traffic()
		got, err := r.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, head, got)
		cost := server.Traffic().Since(before)
		require.Equal(t, 1, server.Requests()-requests)
		require.Zero(t, cost.Connections)
		require.Less(t, cost.Received+cost.Sent, int64(1024))
	})

	t.Run("over SSH, one connection serves many polls, and a new one is made when it is gone", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{SSH: true})
		repo := server.NewRepo("ops")
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		r := open(t, options(t, server, repo, true))
		for range 5 {
			_, err := r.Head(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, 1, server.Traffic().Connections)
		server.CutSSH()
		got, err := r.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, head, got)
		require.Equal(t, 2, server.Traffic().Connections)

		r.Close()
		_, err = r.Head(t.Context())
		require.NoError(t, err, "a repository that was closed opens again")
		require.Equal(t, 3, server.Traffic().Connections)
	})

	t.Run("a server that has changed meanwhile is met anew", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{})
		repo := server.NewRepo("new")
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		r := open(t, options(t, server, repo, false))
		_, err := r.Head(t.Context())
		require.NoError(t, err)
		for story, fault := range map[string]gittest.Fault{
			"it speaks version 2 no more": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Header.Del("Git-Protocol")
				next.ServeHTTP(w, r)
			},
			"it asks to be called otherwise": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPost && !strings.HasPrefix(r.URL.Path, "/new.git/") {
					http.Redirect(w, r, "/new.git/git-upload-pack", http.StatusMovedPermanently)
					return
				}
				next.ServeHTTP(w, r)
			},
		} {
			server.Break(fault)
			got, err := r.Head(t.Context())
			require.NoError(t, err, story)
			require.Equal(t, head, got, story)
		}
	})
}

func TestChangesCostWhatChanged(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	files := requests(10_000)
	files["videos/big"] = noise(1, 500_000)
	repo.Import(gittest.Batch{Message: "first", Files: files})
	cost := func(do func()) (bytes int64, requests int) {
		before, count := server.Traffic(), server.Requests()
		do()
		sum := server.Traffic().Since(before)
		return sum.Received + sum.Sent, server.Requests() - count
	}
	snapshot := func(r *gitsource.Repository, dirs ...string) *gitsource.Snapshot {
		s, err := r.Snapshot(t.Context(), dirs...)
		require.NoError(t, err)
		return s
	}

	r := open(t, options(t, server, repo, false))
	all, _ := cost(func() { require.Len(t, snapshot(r, "rotations").Files, 10_000) })
	few, _ := cost(func() {
		require.Len(t, snapshot(open(t, options(t, server, repo, false)), "rotations/team-07").Files, 100)
	})
	require.Less(t, few*10, all, "a hundred files cost what a hundred files cost")

	t.Run("a file that changed is all that is fetched", func(t *testing.T) {
		old := snapshot(r, "rotations")
		head := repo.Import(gittest.Batch{Message: "a change", Files: map[string]string{
			"rotations/team-05/app-00501.yaml": "kind: changed", "videos/big": noise(2, 500_000),
		}})[0]
		var s *gitsource.Snapshot
		bytes, requests := cost(func() { s = snapshot(r, "rotations") })
		require.Equal(t, head, s.Revision)
		content, _ := s.Get("rotations/team-05/app-00501.yaml")
		require.Equal(t, "kind: changed", string(content))
		require.Less(t, bytes, int64(8<<10))
		require.Equal(t, 3, requests, "the tip, what is new, and the file")
		before, _ := old.Get("rotations/team-06/app-00601.yaml")
		after, _ := s.Get("rotations/team-06/app-00601.yaml")
		require.Same(t, &before[0], &after[0], "a file that did not change is in memory once")

		_, requests = cost(func() {
			found, err := r.Origins(t.Context(), head, "rotations/team-05/app-00501.yaml")
			require.NoError(t, err)
			require.Equal(t, head, found["rotations/team-05/app-00501.yaml"].Hash)
		})
		require.Zero(t, requests, "who brought it is known by then")
		_, requests = cost(func() { snapshot(r, "rotations") })
		require.Equal(t, 1, requests)
	})

	t.Run("a commit of one's own is pushed in one request and not fetched", func(t *testing.T) {
		put := func(content string) {
			_, err := r.Write(t.Context(), []string{"rotations/team-00"}, write(map[string]string{"rotations/team-00/x": content}))
			require.NoError(t, err)
		}
		put("1")
		_, requests := cost(func() { put("2") })
		require.Equal(t, 1, requests)
		_, requests = cost(func() {
			s := snapshot(r, "rotations")
			require.Equal(t, repo.Head(), s.Revision)
			content, _ := s.Get("rotations/team-00/x")
			require.Equal(t, "2", string(content))
		})
		require.Equal(t, 1, requests, "to see that the tip is known")
		_, requests = cost(func() {
			s, err := r.Write(t.Context(), []string{"rotations/team-00"}, write(map[string]string{"rotations/team-00/x": "2"}))
			require.NoError(t, err)
			require.Equal(t, repo.Head(), s.Revision)
		})
		require.Equal(t, 1, requests, "nothing to write is only said after a look")
		repo.Check()
	})

	t.Run("other folders than before are fetched as well", func(t *testing.T) {
		one := open(t, options(t, server, repo, false))
		require.Len(t, snapshot(one, "rotations/team-01").Files, 100)
		require.Len(t, snapshot(one, "rotations/team-02").Files, 100)
		_, requests := cost(func() { require.Len(t, snapshot(one, "rotations/team-01", "rotations/team-02").Files, 200) })
		require.Equal(t, 1, requests)
		require.Len(t, snapshot(one).Files, 10_002)
	})

	t.Run("a hundred thousand files are read", func(t *testing.T) {
		repo := server.NewRepo("many")
		files := map[string]string{}
		for i := range 100_000 {
			files[fmt.Sprintf("rotations/%03d/%06d", i/200, i)] = fmt.Sprint(i % 1000)
		}
		repo.Import(gittest.Batch{Message: "first", Files: files})
		r := open(t, options(t, server, repo, false))
		require.Len(t, snapshot(r).Files, 100_000)
		repo.Import(gittest.Batch{Message: "second", Files: map[string]string{"rotations/000/000000": "new"}})
		bytes, _ := cost(func() { require.Equal(t, "new", string(snapshot(r).Files[0].Content)) })
		require.Less(t, bytes, int64(16<<10))
	})
}

// A server may be able to do much or little: what is read is the same.
func TestServersOfEveryKind(t *testing.T) {
	for story, configure := range map[string]func(*gittest.Server, *gittest.Repo){
		"that does all":           func(*gittest.Server, *gittest.Repo) {},
		"that leaves nothing out": func(_ *gittest.Server, repo *gittest.Repo) { repo.Configure("uploadpack.allowFilter", "false") },
		"that leaves out files only": func(_ *gittest.Server, repo *gittest.Repo) {
			repo.Configure("uploadpackfilter.allow", "false")
			repo.Configure("uploadpackfilter.blob:none.allow", "true")
		},
		"of an older version": func(server *gittest.Server, _ *gittest.Repo) { server.SpeakOlder() },
		"of an older version that leaves nothing out": func(server *gittest.Server, repo *gittest.Repo) {
			server.SpeakOlder()
			repo.Configure("uploadpack.allowFilter", "false")
		},
	} {
		onBoth(t, "a server "+story+" is read and written", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
			server := repo.Server()
			configure(server, repo)
			o.MaxFileSize = 1000
			first := repo.Commit(map[string]string{
				"rotations/a.yaml": "a", "rotations/deep/down/b.yaml": "b", "rotations/big": noise(1, 5000), "other/c": noise(2, 9000),
				"rotations/z.yaml": "z",
			}, "first")
			r := open(t, o)
			check := func(a string, big bool) {
				t.Helper()
				s, err := r.Snapshot(t.Context(), "rotations")
				require.NoError(t, err)
				require.Equal(t, repo.Head(), s.Revision)
				content, _ := s.Get("rotations/a.yaml")
				require.Equal(t, a, string(content))
				content, _ = s.Get("rotations/deep/down/b.yaml")
				require.Equal(t, "b", string(content))
				require.Equal(t, "rotations/big", s.Files[1].Path)
				require.Equal(t, big, strings.Contains(s.Files[1].Problem, "more than 1000 bytes"), s.Files[1].Problem)
			}
			check("a", true)
			second := repo.Commit(map[string]string{"rotations/a.yaml": "a2", "rotations/big": noise(3, 6000), "other/c": noise(4, 9000)}, "second")
			check("a2", true)
			repo.Commit(map[string]string{"rotations/big": "small now", "rotations/new": "n"}, "third")
			check("a2", false)
			_, err := r.Write(t.Context(), []string{"rotations"}, write(map[string]string{"rotations/a.yaml": "a3"}))
			require.NoError(t, err)
			check("a3", false)
			found, err := r.Origins(t.Context(), repo.Head(), "rotations/deep/down/b.yaml", "rotations/big")
			require.NoError(t, err)
			require.Equal(t, first, found["rotations/deep/down/b.yaml"].Hash)
			require.Equal(t, "third", found["rotations/big"].Subject)
			for commit, wanted := range map[string]bool{first: true, second: true, repo.Head(): true, strings.Repeat("1", 40): false} {
				is, err := r.Contains(t.Context(), repo.Head(), commit)
				require.NoError(t, err)
				require.Equal(t, wanted, is, commit)
			}
			// Back to where it was, by force, with nothing left of what came after.
			repo.Reset(first)
			check("a", true)
			repo.Check()
		})
	}
}

func TestABranchThatIsNotWhatItWas(t *testing.T) {
	for _, older := range []bool{false, true} {
		server := gittest.NewServer(t, gittest.Options{})
		version := speaking(server, older)
		newRepo := func(name string) (*gittest.Repo, *gitsource.Repository) {
			repo := server.NewRepo(name)
			repo.Commit(map[string]string{"rotations/a": "1", "rotations/b": "same"}, "first")
			repo.Commit(map[string]string{"rotations/a": "2"}, "second")
			r := open(t, options(t, server, repo, false))
			_, err := r.Snapshot(t.Context(), "rotations")
			require.NoError(t, err)
			return repo, r
		}
		read := func(r *gitsource.Repository, name string) string {
			s, err := r.Snapshot(t.Context(), "rotations")
			require.NoError(t, err)
			content, _ := s.Get(name)
			return string(content)
		}

		t.Run("a branch that was forced to another history is read, with "+version, func(t *testing.T) {
			repo, r := newRepo("forced")
			old := repo.Head()
			head := repo.Orphan(map[string]string{"rotations/a": "other", "rotations/b": "same"}, "unrelated")
			require.Equal(t, "other", read(r, "rotations/a"))
			require.Equal(t, "same", read(r, "rotations/b"))
			found, err := r.Origins(t.Context(), head, "rotations/b")
			require.NoError(t, err)
			require.Equal(t, head, found["rotations/b"].Hash)
			_, err = r.Contains(t.Context(), head, old)
			require.NoError(t, err)
			_, err = r.Write(t.Context(), []string{"rotations"}, write(map[string]string{"rotations/a": "2"}))
			require.NoError(t, err)
			require.Equal(t, "2", read(r, "rotations/a"))
			repo.Check()
		})

		t.Run("a branch that was deleted is missing, and read again when it is made again, with "+version, func(t *testing.T) {
			repo, r := newRepo("deleted")
			repo.DeleteBranch()
			_, err := r.Snapshot(t.Context(), "rotations")
			require.Contains(t, requireError(t, err, gitsource.ErrBranchNotFound).Detail, "empty")
			_, err = r.Write(t.Context(), []string{"rotations"}, write(map[string]string{"rotations/n": "n"}))
			requireError(t, err, gitsource.ErrBranchNotFound)
			repo.Orphan(map[string]string{"rotations/a": "again"}, "made again")
			require.Equal(t, "again", read(r, "rotations/a"))
		})
	}
}

func TestRawCommits(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	first := repo.Commit(map[string]string{"a": "a"}, "first\n\nwith a body")
	found, err := open(t, options(t, server, repo, false)).Origin(t.Context(), first, "a")
	require.NoError(t, err)
	require.Equal(t, repo.Raw(first), string(found.Raw))
}

func TestOddRepositories(t *testing.T) {
	for _, older := range []bool{false, true} {
		server := gittest.NewServer(t, gittest.Options{})
		version := speaking(server, older)
		t.Run("a repository with SHA-256 is said not to be read, with "+version, func(t *testing.T) {
			repo := server.NewSHA256Repo("sha256")
			r := open(t, options(t, server, repo, false))
			_, err := r.Head(t.Context())
			require.Contains(t, requireError(t, err, gitsource.ErrUnreachable).Detail, "SHA-256 object names")
			_, err = r.Snapshot(t.Context())
			require.Contains(t, requireError(t, err, gitsource.ErrUnreachable).Detail, "SHA-256 object names")
		})
		t.Run("a submodule in the path or on the way to it is said to be one, with "+version, func(t *testing.T) {
			repo := server.NewRepo("sub")
			commit := repo.Commit(map[string]string{"rotations/a": "a"}, "first")
			repo.Graft("rotations/module", commit, "a submodule")
			repo.Graft("elsewhere", commit, "another")
			s, err := open(t, options(t, server, repo, false)).Snapshot(t.Context(), "rotations", "elsewhere/deep")
			require.NoError(t, err)
			require.Equal(t, []string{"elsewhere", "rotations/a", "rotations/module"}, paths(s))
			require.Contains(t, s.Files[0].Problem, "submodule")
			require.Contains(t, s.Files[2].Problem, "submodule")
		})
	}
	t.Run("of many files that are too large none keeps the others from being read", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{})
		repo := server.NewRepo("large")
		repo.Commit(map[string]string{"rotations/0": "0"}, "first")
		o := options(t, server, repo, false)
		o.MaxFileSize = 1000
		r := open(t, o)
		_, err := r.Snapshot(t.Context(), "rotations")
		require.NoError(t, err)
		files := map[string]string{}
		for i := range byte(20) {
			files[fmt.Sprintf("rotations/small-%d", i)] = noise(i, 500)
			if i%5 == 0 {
				files[fmt.Sprintf("rotations/large-%d", i)] = noise(i, 2_000_000)
			}
		}
		repo.Commit(files, "large and small")
		before := server.Traffic()
		s, err := r.Snapshot(t.Context(), "rotations")
		require.NoError(t, err)
		for _, f := range s.Files {
			require.Equal(t, strings.Contains(f.Path, "large"), f.Problem != "", f.Path)
		}
		require.Less(t, server.Traffic().Since(before).Sent, int64(4_000_000), "of 8,000,000 bytes, only beginnings")
		repo.Commit(map[string]string{"rotations/0": "1"}, "another change")
		before = server.Traffic()
		_, err = r.Snapshot(t.Context(), "rotations")
		require.NoError(t, err)
		require.Less(t, server.Traffic().Since(before).Sent, int64(8<<10), "what is too large is not asked for again")
	})
}

// A server that stops in the middle is left when the time is up, and what was kept serves on.
func TestAServerThatStopsInTheMiddle(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"rotations/a": "1", "rotations/noise": noise(1, 50_000)}, "first")
	for story, bytes := range map[string]int{"a list of references": 10, "a pack": 300} {
		t.Run("in "+story, func(t *testing.T) {
			r := open(t, options(t, server, repo, false))
			_, err := r.Head(t.Context())
			require.NoError(t, err)
			server.Break(gittest.OnFetch(gittest.Within(bytes, server.Stall)))
			ctx, cancel := contextWithTimeout(t, 300*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err = r.Snapshot(ctx)
			requireError(t, err, gitsource.ErrUnreachable)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, time.Since(began), soon)

			server.Break(gittest.OnFetch(gittest.Within(bytes, gittest.Cut)))
			_, err = r.Snapshot(t.Context())
			requireError(t, err, gitsource.ErrUnreachable)

			server.Break(nil)
			s, err := r.Snapshot(t.Context())
			require.NoError(t, err)
			require.Len(t, s.Files, 2)
		})
	}
	t.Run("once, is asked again at once", func(t *testing.T) {
		r := open(t, options(t, server, repo, false))
		_, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		repo.Commit(map[string]string{"rotations/a": noise(2, 9000)}, "second")
		cuts := 0
		server.Break(gittest.OnFetch(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if cuts++; cuts == 2 {
				gittest.Within(200, gittest.Cut)(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		}))
		defer server.Break(nil)
		s, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		require.Equal(t, repo.Head(), s.Revision)
		require.Greater(t, cuts, 2)
	})
}
