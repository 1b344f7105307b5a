package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A few episodes, so that what make torture plays is known to work. The agent is built as it is shipped.
func TestSomeEpisodes(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "gitrota")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", agent, "../gitrota").CombinedOutput()
	require.NoError(t, err, string(out))
	total, err := torture(t.Context(), agent, t.TempDir(), 1, 3, 3)
	require.NoError(t, err)
	require.Equal(t, 3, total.episodes)
	require.Zero(t, total.violations, "its report is above")
	require.NotZero(t, total.rotations)
}
