package kubetest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/gitsource/gittest/devprogram"
)

func TestAKilledClusterLeavesNoProcessAndComesBack(t *testing.T) {
	dir := t.TempDir()
	first, err := Up(t.Context(), Options{Dir: dir})
	require.NoError(t, err)
	first.Kubectl(t, "create", "namespace", "kept")
	first.CreateMSSQLServer(t, "kept", "db")
	before := first.pod(t, "kept", "db-0")
	_, password := first.credential(t, "kept", "db-auth")

	t.Run("a second one in the same folder is refused", func(t *testing.T) {
		_, err := Up(t.Context(), Options{Dir: dir})
		require.ErrorContains(t, err, "another devcluster runs in "+dir)
	})
	t.Run("killed, it takes all its processes with it", func(t *testing.T) {
		require.Len(t, processesOf(t, dir), 4, "devcluster, etcd, kube-apiserver and kube-controller-manager")
		require.NoError(t, first.cmd.Process.Kill())
		Eventually(t, "no process of the cluster is left", func(context.Context) (bool, error) {
			return len(processesOf(t, dir)) == 0, nil
		})
		require.Error(t, logIn(t, before, password))
	})
	t.Run("started again, it has its objects, its databases and their passwords", func(t *testing.T) {
		second, err := Up(t.Context(), Options{Dir: dir})
		require.NoError(t, err)
		defer func() { require.NoError(t, second.Down()) }()

		require.Equal(t, first.Config.Host, second.Config.Host, "a kubeconfig stays good")
		Eventually(t, "the pod runs again", func(ctx context.Context) (bool, error) {
			pod, err := first.Client.CoreV1().Pods("kept").Get(ctx, "db-0", metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			err = logIn(t, pod, password)
			return err == nil && pod.UID == before.UID && pod.Status.ContainerStatuses[0].RestartCount == 1, err
		})
		second.WaitReady(t, "kept", "db")
	})
	require.Empty(t, processesOf(t, dir), "and nothing is left after its end")
}

func TestAClusterWithoutAFolderRemovesTheOneItHad(t *testing.T) {
	c, err := Up(t.Context(), Options{})
	require.NoError(t, err)
	require.DirExists(t, c.Dir)
	require.NoError(t, c.Down())
	require.NoDirExists(t, c.Dir)
}

func TestEverySourceOfDevclusterMakesItStale(t *testing.T) {
	root, err := devprogram.Root()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-C", filepath.Join(root, "cmd", "devcluster"), "-deps", "-f={{.Dir}}", ".")
	var problems bytes.Buffer
	cmd.Stderr = &problems
	output, err := cmd.Output()
	require.NoError(t, err, problems.String())
	for _, folder := range strings.Fields(string(output)) {
		relative, inside := strings.CutPrefix(folder, root+"/")
		counted := slices.ContainsFunc(sources, func(source string) bool { return strings.HasPrefix(relative+"/", source+"/") })
		require.True(t, counted || !inside, "devcluster is built from %s too: add it to sources", relative)
	}
}

// processesOf are the command lines that name the folder, as those of a cluster and of its children do.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(dir)) { // an error: it has just ended
			found = append(found, string(line))
		}
	}
	return found
}
