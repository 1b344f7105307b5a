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
