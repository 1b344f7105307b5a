package gitsource_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

func TestReading(t *testing.T) {
	onBoth(t, "the head and the files of the tip are read", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Commit(map[string]string{"rotations/demo/a.yaml": "old"}, "first")
		head := repo.Commit(map[string]string{
			"rotations/demo/a.yaml": "a: 1\n", "rotations/b.yaml": "", "rotations-old/c.yaml": "c", "README.md": "r",
			"rotations/ünï cödé.yaml": "ok",
		}, "second")
		r := open(t, o)

		got, err := r.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, head, got)

		snapshot, err := r.Snapshot(t.Context(), "/rotations/", "not-there")
		require.NoError(t, err)
		require.Equal(t, head, snapshot.Revision)
		require.Equal(t, []string{"rotations/b.yaml", "rotations/demo/a.yaml", "rotations/ünï cödé.yaml"}, paths(snapshot))
		content, ok := snapshot.Get("rotations/demo/a.yaml")
		require.True(t, ok)
		require.Equal(t, "a: 1\n", string(content))

		all, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		require.Len(t, all.Files, 5)
	})

	onBoth(t, "an empty repository has no branch", func(t *testing.T, _ *gittest.Repo, o gitsource.Options) {
		r := open(t, o)
		_, err := r.Head(t.Context())
		require.Contains(t, requireError(t, err, gitsource.ErrBranchNotFound).Detail, "empty")
		_, err = r.Snapshot(t.Context())
		requireError(t, err, gitsource.ErrBranchNotFound)
		_, err = r.Write(t.Context(), []string{statusDir}, write(nil))
		requireError(t, err, gitsource.ErrBranchNotFound)
	})

	onBoth(t, "a branch that is missing is named", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Commit(map[string]string{"a": "a"}, "first")
		o.Branch = "mian"
		_, err := open(t, o).Head(t.Context())
		require.Contains(t, requireError(t, err, gitsource.ErrBranchNotFound).Detail, `no branch "mian"`)
	})

	onBoth(t, "a repository that is missing is said to be", func(t *testing.T, _ *gittest.Repo, o gitsource.Options) {
		o.URL = strings.Replace(o.URL, "ops", "opps", 1)
		_, err := open(t, o).Head(t.Context())
		requireError(t, err, gitsource.ErrRepositoryNotFound)
	})

	onBoth(t, "rewritten history is simply what is there now", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		first := repo.Commit(map[string]string{"a": "1"}, "first")
		repo.Commit(map[string]string{"a": "2"}, "second")
		r := open(t, o)
		_, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		repo.Reset(first)
		snapshot, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, snapshot.Revision)
	})
}

func TestFilesThatCannotBeRead(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{
		"rotations/big.yaml":        strings.Repeat("x", 2000),
		"rotations/lfs.yaml":        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
		"rotations/ok.yaml":         "fine",
		"rotations/\x1b[31m\n.yaml": "red",
	}, "first")
	repo.Link("rotations/link.yaml", "../../etc/passwd", "a link")
	repo.Link("linked", "rotations", "a linked folder")
	o := options(t, server, repo, false)
	o.MaxFileSize = 1000

	snapshot, err := open(t, o).Snapshot(t.Context(), "rotations", "linked/demo")
	require.NoError(t, err)
	problems := map[string]string{}
	for _, f := range snapshot.Files {
		problems[f.Path] = f.Problem
		require.Equal(t, f.Problem != "", f.Content == nil, f.Path)
	}
	require.Len(t, problems, 6)
	require.Contains(t, problems[`"rotations/\x1b[31m\n.yaml"`], "rename it")
	require.Empty(t, problems["rotations/ok.yaml"])
	require.Contains(t, problems["rotations/big.yaml"], "more than 1000 bytes")
	require.Contains(t, problems["rotations/lfs.yaml"], "Git LFS")
	require.Contains(t, problems["rotations/link.yaml"], "symbolic link")
	require.Contains(t, problems["linked"], "symbolic link")
	_, ok := snapshot.Get("rotations/big.yaml")
	require.False(t, ok)
}

func TestLargeRepositories(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	video := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(video)
	repo.Commit(map[string]string{"video": string(video), "rotations/a.yaml": "a"}, "first")
	o := options(t, server, repo, false)
	o.MaxFileSize, o.MaxPackSize = 1000, 100_000

	t.Run("large files are not even sent", func(t *testing.T) {
		r := open(t, o)
		snapshot, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"rotations/a.yaml", "video"}, paths(snapshot))
		require.Contains(t, snapshot.Files[1].Problem, "more than 1000 bytes")
		_, err = r.Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/n": "n"}))
		require.NoError(t, err)
		require.Len(t, repo.Show("video"), len(video))
		repo.Check()
	})
	t.Run("a server that would send them anyway is stopped where they begin", func(t *testing.T) {
		repo.Configure("uploadpack.allowFilter", "false")
		snapshot, err := open(t, o).Snapshot(t.Context())
		require.NoError(t, err)
		require.Contains(t, snapshot.Files[2].Problem, "more than 1000 bytes")
		require.Equal(t, "a", string(snapshot.Files[1].Content))
	})
	t.Run("what is too much altogether is stopped before it fills the memory", func(t *testing.T) {
		many := map[string]string{}
		for i := range 150 {
			many[fmt.Sprintf("rotations/%d", i)] = string(video[i*900 : (i+1)*900])
		}
		repo.Commit(many, "many files")
		_, err := open(t, o).Snapshot(t.Context())
		require.Contains(t, requireError(t, err, gitsource.ErrTooLarge).Detail, "more than 100000 bytes")
	})
}

func TestOrigin(t *testing.T) {
	onBoth(t, "the commit that brought a file is found", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Commit(map[string]string{"a.yaml": "other"}, "an older content")
		brought := repo.Commit(map[string]string{"a.yaml": "this"}, "bring a\n\nwith a body")
		for _, content := range []string{"1", "2", "3"} {
			repo.Commit(map[string]string{"b.yaml": content}, "unrelated")
		}
		got, err := open(t, o).Origin(t.Context(), repo.Head(), "a.yaml")
		require.NoError(t, err)
		require.Equal(t, brought, got.Hash)
		require.Equal(t, gitsource.Person{Name: "Dana DBA", Email: "dana@example.com"}, got.Author)
		require.Equal(t, "bring a", got.Subject)
		require.False(t, got.Time.IsZero())
	})

	server := gittest.NewServer(t, gittest.Options{})
	newRepo := func(name string) (*gittest.Repo, *gitsource.Repository) {
		repo := server.NewRepo(name)
		return repo, open(t, options(t, server, repo, false))
	}

	t.Run("history is fetched as deep as it takes", func(t *testing.T) {
		repo, r := newRepo("deep")
		brought := repo.Commit(map[string]string{"a.yaml": "this"}, "bring a")
		for i := range 25 {
			repo.Commit(map[string]string{"b.yaml": strings.Repeat("b", i)}, "unrelated")
		}
		_, err := r.Snapshot(t.Context(), "a.yaml")
		require.NoError(t, err)
		before := server.Requests()
		got, err := r.Origin(t.Context(), repo.Head(), "a.yaml")
		require.NoError(t, err)
		require.Equal(t, brought, got.Hash)
		require.Equal(t, 4, server.Requests()-before, "10 and 100 commits back, and after each of them the folders that they changed")
	})

	t.Run("a file that was deleted and came back was brought by who brought it back", func(t *testing.T) {
		repo, r := newRepo("deleted")
		repo.Commit(map[string]string{"a.yaml": "this", "b": "b"}, "bring a")
		repo.Delete("remove a", "a.yaml")
		again := repo.Commit(map[string]string{"a.yaml": "this"}, "bring a again")
		got, err := r.Origin(t.Context(), repo.Head(), "a.yaml")
		require.NoError(t, err)
		require.Equal(t, again, got.Hash)
	})

	t.Run("what was brought back by a revert was brought by the revert", func(t *testing.T) {
		repo, r := newRepo("revert")
		repo.Commit(map[string]string{"a.yaml": "this"}, "bring a")
		change := repo.Commit(map[string]string{"a.yaml": "that"}, "change a")
		revert := repo.Revert(change)
		got, err := r.Origin(t.Context(), repo.Head(), "a.yaml")
		require.NoError(t, err)
		require.Equal(t, revert, got.Hash)
	})

	t.Run("through a merge, the commit of the pull request is found", func(t *testing.T) {
		repo, r := newRepo("merge")
		repo.Commit(map[string]string{"x": "x"}, "first")
		proposed := repo.OnBranch("proposal").Commit(map[string]string{"a.yaml": "this"}, "propose a")
		repo.Commit(map[string]string{"y": "y"}, "meanwhile")
		repo.Merge("proposal", "Merge pull request #1")
		got, err := r.Origin(t.Context(), repo.Head(), "a.yaml")
		require.NoError(t, err)
		require.Equal(t, proposed, got.Hash)
		require.Equal(t, repo.Head(), got.Landed.Hash, "and the merge, by which it came to the branch")
	})

	t.Run("what came to the branch by itself landed with its own commit, whatever was merged since", func(t *testing.T) {
		repo, r := newRepo("landed")
		brought := repo.Commit(map[string]string{"a.yaml": "this"}, "bring a")
		repo.OnBranch("proposal").Commit(map[string]string{"b.yaml": "this"}, "propose b")
		repo.Commit(map[string]string{"y": "y"}, "meanwhile")
		repo.Merge("proposal", "Merge pull request #1")
		got, err := r.Origin(t.Context(), repo.Head(), "a.yaml")
		require.NoError(t, err)
		require.Equal(t, []string{brought, brought}, []string{got.Hash, got.Landed.Hash})
	})

	t.Run("who removed a file is found, also through a merge", func(t *testing.T) {
		repo, r := newRepo("removed")
		repo.Commit(map[string]string{"d/a.yaml": "this", "b": "b"}, "bring a")
		proposal := repo.OnBranch("proposal")
		removed := proposal.Delete("remove a", "d/a.yaml")
		repo.Commit(map[string]string{"y": "y"}, "meanwhile")
		repo.Merge("proposal", "Merge pull request #1")
		merge := repo.Head()
		repo.Commit(map[string]string{"y": "z"}, "afterwards")
		got, err := r.Removals(t.Context(), repo.Head(), "d/a.yaml")
		require.NoError(t, err)
		require.Equal(t, []string{removed, merge}, []string{got["d/a.yaml"].Hash, got["d/a.yaml"].Landed.Hash})
		_, err = r.Removals(t.Context(), repo.Head(), "b")
		require.ErrorContains(t, err, `"b" is there`)
	})

	t.Run("the commits since another one are listed, with what they say", func(t *testing.T) {
		repo, r := newRepo("between")
		repo.Commit(map[string]string{"a": "0"}, "before")
		since := repo.Commit(map[string]string{"a": "1"}, "bring a")
		proposed := repo.OnBranch("proposal").Commit(map[string]string{"b": "1"}, "approve\n\nApproves: a@1\nApproves: b@2")
		meanwhile := repo.Commit(map[string]string{"c": "1"}, "meanwhile")
		repo.Merge("proposal", "Merge pull request #1")
		list, err := r.Between(t.Context(), repo.Head(), since)
		require.NoError(t, err)
		var hashes []string
		for _, c := range list {
			hashes = append(hashes, c.Hash)
		}
		require.ElementsMatch(t, []string{repo.Head(), meanwhile, proposed}, hashes)
		for _, c := range list {
			if c.Hash == proposed {
				require.Equal(t, []string{"a@1", "b@2"}, c.Trailers("Approves"))
			} else {
				require.Empty(t, c.Trailers("Approves"))
			}
		}
		repo.Reset(since)
		list, err = r.Between(t.Context(), since, proposed)
		require.NoError(t, err)
		require.Empty(t, list, "what is not behind it has nothing in between")
	})

	t.Run("an older revision is looked up as it was, also when the branch has moved on", func(t *testing.T) {
		repo, r := newRepo("moved")
		brought := repo.Commit(map[string]string{"a.yaml": "this"}, "bring a")
		repo.Commit(map[string]string{"a.yaml": "that"}, "change a")
		got, err := r.Origin(t.Context(), brought, "a.yaml")
		require.NoError(t, err)
		require.Equal(t, brought, got.Hash)
	})

	t.Run("many files cost as much as one", func(t *testing.T) {
		repo, r := newRepo("many")
		a := repo.Commit(map[string]string{"d/a.yaml": "a"}, "bring a")
		b := repo.Commit(map[string]string{"d/b.yaml": "b"}, "bring b")
		_, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		before := server.Requests()
		got, err := r.Origins(t.Context(), b, "d/a.yaml", "d/b.yaml")
		require.NoError(t, err)
		require.Equal(t, a, got["d/a.yaml"].Hash)
		require.Equal(t, b, got["d/b.yaml"].Hash)
		require.Equal(t, 3, server.Requests()-before, "commits, and what differs at the top, and in the folder")
	})

	t.Run("a server without partial clones serves as well", func(t *testing.T) {
		repo, r := newRepo("whole")
		repo.Configure("uploadpack.allowFilter", "false")
		brought := repo.Commit(map[string]string{"a.yaml": "this"}, "bring a")
		got, err := r.Origin(t.Context(), brought, "a.yaml")
		require.NoError(t, err)
		require.Equal(t, brought, got.Hash)
	})

	t.Run("a commit that was rewritten away is said to be gone", func(t *testing.T) {
		repo, r := newRepo("gone")
		first := repo.Commit(map[string]string{"a.yaml": "1"}, "first")
		second := repo.Commit(map[string]string{"a.yaml": "2"}, "second")
		repo.Reset(first)
		_, err := r.Origin(t.Context(), second, "a.yaml")
		requireError(t, err, gitsource.ErrRevisionNotFound)
	})

	t.Run("a file that is not there has no origin", func(t *testing.T) {
		repo, r := newRepo("none")
		head := repo.Commit(map[string]string{"a.yaml": "1"}, "first")
		_, err := r.Origin(t.Context(), head, "b.yaml")
		require.Contains(t, requireError(t, err, gitsource.ErrFileNotFound).Detail, "b.yaml")
	})
}

func paths(s *gitsource.Snapshot) []string {
	var all []string
	for _, f := range s.Files {
		all = append(all, f.Path)
	}
	return all
}
