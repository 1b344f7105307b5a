package gitsource_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

// What is not watched is not kept, but the server thinks that it is: what it sends may lean on that.
func TestWhatLiesBesideTheWatchedFolders(t *testing.T) {
	onBoth(t, "does not keep history from being read", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		files := map[string]string{"rotations/demo/a.yaml": "a: 1\n", "README.md": noise(9, 3000)}
		for i := range byte(5) {
			files[fmt.Sprintf("docs/page-%d.md", i)] = noise(i, 6000)
		}
		for i := range 60 {
			files[fmt.Sprintf("src/package-%02d/main.go", i)] = fmt.Sprintf("package p%d\n", i)
		}
		brought := repo.Commit(files, "bring a")
		repo.Commit(map[string]string{"docs/page-1.md": noise(1, 6000) + "more\n", "src/package-07/main.go": "package seven\n"}, "a later one")
		for _, packed := range []bool{false, true} {
			if packed {
				repo.Repack()
			}
			r := open(t, o)
			s, err := r.Snapshot(t.Context(), "rotations")
			require.NoError(t, err)
			require.Equal(t, []string{"rotations/demo/a.yaml"}, paths(s))
			found, err := r.Origin(t.Context(), s.Revision, "rotations/demo/a.yaml")
			require.NoError(t, err)
			require.Equal(t, brought, found.Hash)
		}
	})
}

// Every commit has a tree of everything. Only what leads to the watched folders is worth fetching.
func TestHistoryCostsWhatLeadsToTheFiles(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	files := map[string]string{"rotations/team/a": "a", "rotations/team/b": "b", "rotations/c": "c"}
	for i := range 3000 {
		files[fmt.Sprintf("src/%02d/%02d/file-%d.go", i%50, i/100, i)] = fmt.Sprint(i)
	}
	const commits = 1500
	batches := []gittest.Batch{{Message: "first", Files: files}}
	for i := range commits {
		changed := map[string]string{fmt.Sprintf("src/%02d/%02d/file-%d.go", i%50, i%3000/100, i%3000): fmt.Sprint("changed ", i)}
		if i == commits/3 {
			changed["rotations/team/b"] = "another b"
		}
		batches = append(batches, gittest.Batch{Message: fmt.Sprint("change ", i), Files: changed})
	}
	hashes := repo.Import(batches...)
	repo.Repack()
	o := options(t, server, repo, false)
	o.Reading = gitsource.ReadPartially
	r := open(t, o)
	s, err := r.Snapshot(t.Context(), "rotations")
	require.NoError(t, err)
	before, asked := server.Traffic(), server.Requests()
	found, err := r.Origins(t.Context(), s.Revision, paths(s)...)
	require.NoError(t, err)
	require.Equal(t, hashes[0], found["rotations/c"].Hash)
	require.Equal(t, hashes[0], found["rotations/team/a"].Hash)
	require.Equal(t, hashes[1+commits/3], found["rotations/team/b"].Hash)
	require.Less(t, server.Traffic().Since(before).Sent, int64(400_000), "most of that is commits")
	require.LessOrEqual(t, server.Requests()-asked, 16)
}

// Where a large file comes first, stopping at it brings nothing.
func TestALargeFileThatComesFirst(t *testing.T) {
	onBoth(t, "does not keep the others from being read", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Configure("uploadpack.allowFilter", "false")
		repo.Commit(map[string]string{"rotations/a-b": noise(1, 11_000)}, "large")
		repo.Commit(map[string]string{"rotations/a0": noise(2, 70)}, "small")
		repo.Commit(map[string]string{"rotations/a.yaml": noise(3, 70), "rotations/demo/prod/a": noise(1, 11_000)}, "both")
		repo.RepackWith("--depth=2", "--window=3")
		o.MaxFileSize, o.Reading = 4000, gitsource.ReadPartially
		s, err := open(t, o).Snapshot(t.Context(), "rotations")
		require.NoError(t, err)
		require.Equal(t, []string{"rotations/a-b", "rotations/a.yaml", "rotations/a0", "rotations/demo/prod/a"}, paths(s))
		require.Contains(t, s.Files[0].Problem, "more than 4000 bytes")
		require.NotNil(t, s.Files[1].Content)
	})
}

// git sends no folder that is asked for and lies in another one that is asked for, too.
func TestFoldersInFolders(t *testing.T) {
	onBoth(t, "are looked at as others are", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		repo.Commit(map[string]string{"other/deep/a": "a"}, "first")
		repo.Commit(map[string]string{"values.yaml": "v"}, "second")
		o.Reading = gitsource.ReadPartially
		r := open(t, o)
		_, err := r.Snapshot(t.Context(), "rotations")
		require.NoError(t, err)
		changed := repo.Commit(map[string]string{"other/deep/b": "b", "other/deep/a": "c"}, "third")
		_, err = r.Snapshot(t.Context(), "rotations")
		require.NoError(t, err)
		found, err := r.Origin(t.Context(), changed, "other/deep/a")
		require.NoError(t, err)
		require.Equal(t, changed, found.Hash)
		removed := repo.Delete("fourth", "other/deep/a")
		_, err = r.Snapshot(t.Context(), "rotations")
		require.NoError(t, err)
		gone, err := r.Removals(t.Context(), removed, "other/deep/a")
		require.NoError(t, err)
		require.Equal(t, removed, gone["other/deep/a"].Hash)
	})
}

func TestHistoryThatIsTooMuch(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	repo.Configure("uploadpack.allowFilter", "false")
	files := map[string]string{"rotations/a": "a"}
	for i := range 300 {
		files[fmt.Sprintf("src/%02d/%d", i%100, i)] = fmt.Sprint(i)
	}
	batches := []gittest.Batch{{Message: "first", Files: files}}
	for i := range 300 {
		batches = append(batches, gittest.Batch{Message: "change", Files: map[string]string{fmt.Sprintf("src/%02d/%d", i%100, i): "changed"}})
	}
	repo.Import(batches...)
	o := options(t, server, repo, false)
	o.MaxPackSize = 60_000
	for _, older := range []bool{false, true} {
		t.Run("is not read, with "+speaking(server, older), func(t *testing.T) {
			r := open(t, o)
			s, err := r.Snapshot(t.Context(), "rotations")
			require.NoError(t, err)
			_, err = r.Origins(t.Context(), s.Revision, "rotations/a")
			said := requireError(t, err, gitsource.ErrTooLarge)
			require.Contains(t, said.Detail, "what brought rotations/a lies so far back")
			require.Contains(t, said.Detail, "uploadpack.allowFilter=true")
			require.Zero(t, r.PlainReads(), "which would read even more")
		})
	}
}

func TestACommitThatTheServerDoesNotHave(t *testing.T) {
	onBoth(t, "is behind none, which costs nothing to find out", func(t *testing.T, repo *gittest.Repo, o gitsource.Options) {
		batches := make([]gittest.Batch, 2000)
		for i := range batches {
			batches[i] = gittest.Batch{Message: noise(byte(i), 100), Files: map[string]string{"rotations/a": fmt.Sprint(i)}}
		}
		hashes := repo.Import(batches...)
		repo.Repack()
		o.Reading = gitsource.ReadPartially
		r := open(t, o)
		_, err := r.Snapshot(t.Context(), "rotations")
		require.NoError(t, err)
		before := repo.Server().Traffic()
		is, err := r.Contains(t.Context(), hashes[1999], "1234567890123456789012345678901234567890")
		require.NoError(t, err)
		require.False(t, is)
		is, err = r.Contains(t.Context(), hashes[1999], hashes[1990])
		require.NoError(t, err)
		require.True(t, is)
		is, err = r.Contains(t.Context(), hashes[1990], hashes[1999])
		require.NoError(t, err)
		require.False(t, is)
		sum := repo.Server().Traffic().Since(before)
		require.Less(t, sum.Sent+sum.Received, int64(20_000))
		elsewhere := repo.Orphan(map[string]string{"rotations/a": "other"}, "unrelated")
		is, err = r.Contains(t.Context(), elsewhere, hashes[1999])
		require.NoError(t, err)
		require.False(t, is)
	})
}
