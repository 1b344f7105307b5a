package gittest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

func TestManyCommitsAreImportedAtOnce(t *testing.T) {
	repo := gittest.NewServer(t, gittest.Options{}).NewRepo("rotations")
	first := repo.Import(
		gittest.Batch{Message: "begin", Files: map[string]string{"a/one.yaml": "1\n", "b/two.yaml": "2\n"}},
		gittest.Batch{Message: "change", Files: map[string]string{"a/one.yaml": "one\n"}},
	)
	second := repo.Import(gittest.Batch{Message: "more\n\nof it", Files: map[string]string{"c.yaml": "3"}})
	repo.Repack()

	log := repo.Log()
	require.Len(t, log, 3)
	require.Equal(t, []string{second[0], first[1], first[0]}, []string{log[0].Hash, log[1].Hash, log[2].Hash})
	require.Equal(t, []string{"a/one.yaml"}, log[1].Files)
	require.Equal(t, []string{"a/one.yaml", "b/two.yaml", "c.yaml"}, repo.Files())
	require.Equal(t, "one", repo.Show("a/one.yaml"))
	repo.Check()

	t.Run("the person's clone goes on from there", func(t *testing.T) {
		repo.Commit(map[string]string{"b/two.yaml": "two\n"}, "by hand")
		require.Len(t, repo.Log(), 4)
	})
	t.Run("the branch can be put anywhere", func(t *testing.T) {
		repo.Point(first[0])
		require.Equal(t, first[0], repo.Head())
	})
}

func TestManyReferencesAreMadeAtOnce(t *testing.T) {
	repo := gittest.NewServer(t, gittest.Options{}).NewRepo("rotations")
	tip := repo.Import(gittest.Batch{Message: "begin", Files: map[string]string{"a": "1"}})[0]
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("refs/heads/team-%d", i))
	}
	repo.AddRefs(names...)
	repo.AddRefs("refs/tags/v1")
	require.Equal(t, tip, repo.Head())
	require.Equal(t, tip, repo.OnBranch("team-1999").Head())
	repo.Check()
}
