package gitsource_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

// speaking makes a server one that speaks the older versions of the protocol, unless it is not to.
func speaking(server *gittest.Server, older bool) string {
	if older {
		server.SpeakOlder()
		return "an older version of the protocol"
	}
	return "version 2 of the protocol"
}

// wholly is the story in which nothing is read in parts.
const wholly = "that is asked for everything"

// A server may be able to do much or little: what is read is the same.
func TestServersOfEveryKind(t *testing.T) {
	for story, configure := range map[string]func(*gittest.Server, *gittest.Repo){
		"that does all":           func(*gittest.Server, *gittest.Repo) {},
		wholly:                    func(*gittest.Server, *gittest.Repo) {},
		"that leaves nothing out": func(_ *gittest.Server, repo *gittest.Repo) { repo.Configure("uploadpack.allowFilter", "false") },
		"that leaves out files only": func(_ *gittest.Server, repo *gittest.Repo) {
			repo.Configure("uploadpackfilter.allow", "false")
			repo.Configure("uploadpackfilter.blob:none.allow", "true")
		},
		"that leaves nothing out, nor sends anything by name": func(server *gittest.Server, repo *gittest.Repo) {
			repo.Configure("uploadpack.allowFilter", "false")
			server.Break(gittest.OnFetch(repo.OnlyTheTip))
		},
		"of an older version that leaves out files only": func(server *gittest.Server, repo *gittest.Repo) {
			server.SpeakOlder()
			repo.Configure("uploadpackfilter.allow", "false")
			repo.Configure("uploadpackfilter.blob:none.allow", "true")
		},
		"that leaves out all or nothing": func(_ *gittest.Server, repo *gittest.Repo) {
			repo.Configure("uploadpackfilter.allow", "false")
			repo.Configure("uploadpackfilter.tree.allow", "true")
		},
		"that says that it leaves out what it does not": func(_ *gittest.Server, repo *gittest.Repo) {
			repo.Configure("uploadpackfilter.allow", "false")
		},
		"of an older version that says that it leaves out what it does not": func(server *gittest.Server, repo *gittest.Repo) {
			server.SpeakOlder()
			repo.Configure("uploadpackfilter.allow", "false")
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
			o.MaxFileSize, o.Reading = 1000, gitsource.ReadPartially
			if story == wholly {
				o.Reading = gitsource.ReadPlainly
			}
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
