package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

// rotated is the status file of a request that ended with a phase at a minute past noon.
func rotated(kind, namespace, name, database, phase string, minute int, id string) string {
	version := "ops.kubedb.com/v1alpha1"
	if kind == manifest.KindRollback {
		version = "gitrota.dev/v1alpha1"
	}
	return fmt.Sprintf(`# Written by gitrota: the request and how it went. Do not edit or apply it.
apiVersion: %s
kind: %s
metadata:
  annotations:
    gitrota.dev/rotation-id: %q
  name: %s
  namespace: %s
spec:
  databaseRef:
    name: %s
status:
  conditions:
  - lastTransitionTime: "2026-11-24T12:00:00Z"
    message: it was taken up
    observedGeneration: 1
    reason: RotateAuth
    status: "True"
    type: RotateAuth
  - lastTransitionTime: "2026-11-24T12:%02[8]d:00Z"
    message: it ended
    observedGeneration: 1
    reason: %[7]s
    status: "True"
    type: %[7]s
  observedGeneration: 1
  phase: %[7]s
`, version, kind, id, name, namespace, database, phase, minute)
}

const (
	firstID  = "0ecbb2dac1b00f5312cb35ee0191738c"
	secondID = "00000012000000000000000000000000" // a number to YAML
)

// rotatedClone is a repository with two rotations of shop/orders, and of others.
func rotatedClone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for file, content := range map[string]string{
		"shop/second.yaml":  rotated(manifest.KindRequest, "shop", "second", "orders", "Successful", 20, secondID),
		"shop/first.yaml":   rotated(manifest.KindRequest, "shop", "first", "orders", "Successful", 10, firstID),
		"shop/third.yaml":   rotated(manifest.KindRequest, "shop", "third", "orders", "Denied", 30, firstID),
		"shop/weak.yaml":    rotated(manifest.KindRequest, "shop", "weak", "stock", "Failed", 30, firstID),
		"shop/users.yaml":   rotated(manifest.KindRequest, "shop", "users", "users", "Successful", 30, firstID),
		"crm/users.yaml":    rotated(manifest.KindRequest, "crm", "users", "users", "Successful", 40, secondID),
		"shop/nothing.yaml": "metadata: {name: nothing, namespace: shop}\nstatus: {phase: Denied}\n",
		"problems.yaml":     "kind: ManifestProblems\n",
		"README.md":         "| a table |\n",
	} {
		writeFile(t, filepath.Join(dir, "rotation-status", file), content)
	}
	return dir
}

func TestRollbackWritesAManifestThatUndoesTheLastRotation(t *testing.T) {
	t.Parallel()
	const manifestOfSecond = `# Puts back the password that shop/orders had before shop/second.
apiVersion: gitrota.dev/v1alpha1
kind: RotationRollback
metadata:
  name: orders-rollback-00000012
  namespace: shop
spec:
  databaseRef:
    name: orders
  rotationId: "00000012000000000000000000000000"
`
	const file = "rotations/shop/orders-rollback-00000012.yaml"
	const says = `wrote rotations/shop/orders-rollback-00000012.yaml
It puts back the password that shop/orders had before shop/second, which ended at 2026-11-24 12:20:00Z.
Look at it, then hand it to the agent:

  git add rotations/shop/orders-rollback-00000012.yaml
  git commit -m 'roll back shop/orders to the password before second'
  git push
`
	for name, args := range map[string][]string{
		"by the database's name":            {"orders"},
		"by namespace and name":             {"shop/orders"},
		"by the name and a flag":            {"-n", "shop", "orders"},
		"by the status file of the request": {"rotation-status/shop/second.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := rotatedClone(t)
			require.Equal(t, result{0, says, ""}, gitrota(t, dir, nil, append([]string{"rollback"}, args...)...))
			written, err := os.ReadFile(filepath.Join(dir, file))
			require.NoError(t, err)
			require.Equal(t, manifestOfSecond, string(written))
			require.Equal(t, 0, gitrota(t, dir, nil, "validate", "rotations").code)
		})
	}

	t.Run("from elsewhere, with other folders", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "our [rotations]")
		require.NoError(t, os.Rename(rotatedClone(t), dir))
		got := gitrota(t, t.TempDir(), []string{"GITROTA_PATH=prod/rotations"}, "rollback", "--repo-dir", dir, "orders")
		require.Equal(t, 0, got.code, got.stderr)
		require.Contains(t, got.stdout, "  git -C '"+dir+"' add prod/rotations/shop/orders-rollback-00000012.yaml\n")
		require.FileExists(t, filepath.Join(dir, "prod", file))
	})

	t.Run("a dry run prints it and writes nothing", func(t *testing.T) {
		dir := rotatedClone(t)
		require.Equal(t, result{0, manifestOfSecond, ""}, gitrota(t, dir, nil, "rollback", "--dry-run", "orders"))
		require.NoDirExists(t, filepath.Join(dir, "rotations"))
	})

	t.Run("of a rollback, which is a rotation too", func(t *testing.T) {
		dir := rotatedClone(t)
		writeFile(t, filepath.Join(dir, "rotation-status/shop/orders-rollback-00000012.yaml"),
			rotated(manifest.KindRollback, "shop", "orders-rollback-00000012", "orders", "Successful", 50, firstID))
		got := gitrota(t, dir, nil, "rollback", "orders")
		require.Contains(t, got.stdout, "wrote rotations/shop/orders-rollback-0ecbb2da.yaml\nIt puts back the password that shop/orders had before shop/orders-rollback-00000012, ")
	})
}

func TestRollbackRefusesWhatCannotBeUndone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		files map[string]string // on top of those of the clone
		args  []string
		code  int
		says  string
	}{
		{"a database that nobody rotated", nil, []string{"nobody"}, 1,
			"no status file tells of a rotation of nobody, so there is nothing to undo; there are some of crm/users, shop/orders, shop/stock, shop/users; use git pull if one is missing"},
		{"a database that is in another namespace", nil, []string{"-n", "crm", "orders"}, 1,
			"no status file tells of a rotation of crm/orders, so there is nothing to undo; there are some of crm/users, shop/orders, shop/stock, shop/users; use git pull if one is missing"},
		{"a database of which no rotation succeeded", nil, []string{"stock"}, 1,
			"no rotation of shop/stock has succeeded, so there is nothing to undo; see rotation-status/shop/weak.yaml, which is Failed"},
		{"a name that is in two namespaces", nil, []string{"users"}, 1,
			"several databases are named users: crm/users, shop/users; say which one with -n NAMESPACE"},
		{"a rotation that is not the last one", nil, []string{"rotation-status/shop/first.yaml"}, 1,
			"shop/first was followed by shop/second, and only the last rotation of shop/orders can be undone; name the database to undo that one"},
		{"a request that was denied", nil, []string{"rotation-status/shop/third.yaml"}, 1,
			"shop/third is Denied and not Successful, so it changed no password that could be put back; see its conditions in rotation-status/shop/third.yaml"},
		{"a manifest that is there already", map[string]string{"rotations/shop/orders-rollback-00000012.yaml": "mine"}, []string{"orders"}, 1,
			"rotations/shop/orders-rollback-00000012.yaml is there already; commit and push it, or remove it to have it written again"},
		{"a rollback that ran already", map[string]string{"rotation-status/shop/orders-rollback-00000012.yaml": rotated(manifest.KindRollback, "shop", "orders-rollback-00000012", "orders", "Failed", 50, firstID)},
			[]string{"orders"}, 1,
			"there is a rollback of shop/second already, which is Failed; see rotation-status/shop/orders-rollback-00000012.yaml, and to try once more, push its manifest under another name"},
		{"a status file that cannot be read", map[string]string{"rotation-status/shop/zzz.yaml": "<<<<<<< HEAD\n"}, []string{"orders"}, 1,
			"rotation-status/shop/zzz.yaml is not a status file that gitrota wrote, and may be the one that matters; restore it from Git"},
		{"a status without an id", map[string]string{"rotation-status/shop/zzz.yaml": rotated(manifest.KindRequest, "shop", "zzz", "orders", "Successful", 50, "")}, []string{"orders"}, 1,
			"rotation-status/shop/zzz.yaml has no annotation gitrota.dev/rotation-id, so its rotation cannot be named; restore the file from Git"},
		{"a status that leads out of the folder", map[string]string{"rotation-status/shop/zzz.yaml": rotated(manifest.KindRequest, "../..", "zzz", "evil", "Successful", 50, firstID)}, []string{"evil"}, 1,
			"rotation-status/shop/zzz.yaml does not hold what a rollback needs: metadata.namespace \"../..\" is not a Kubernetes name; restore the file from Git"},
		{"a folder that is no clone", nil, []string{"--repo-dir", "rotation-status", "orders"}, 1,
			"there is no folder rotation-status/rotation-status: run this in a clone of the repository, or say with --repo-dir and --status-path where it is"},
		{"a path out of the repository", nil, []string{"--path", "../elsewhere", "orders"}, 2,
			"--path \"../elsewhere\" is not a folder inside the repository: use a plain relative path such as rotations/production\nRun 'gitrota rollback --help' for usage."},
		{"no database", nil, nil, 2, "accepts 1 arg(s), received 0\nRun 'gitrota rollback --help' for usage."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := rotatedClone(t)
			for file, content := range tc.files {
				writeFile(t, filepath.Join(dir, file), content)
			}
			require.Equal(t, result{tc.code, "", "gitrota: " + tc.says + "\n"}, gitrota(t, dir, nil, append([]string{"rollback"}, tc.args...)...))
			if _, mine := tc.files["rotations/shop/orders-rollback-00000012.yaml"]; !mine {
				require.NoDirExists(t, filepath.Join(dir, "rotations"))
			}
		})
	}
}

func TestRollbackInARepositoryWithoutRotations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "rotation-status/empty/README.md"), "")
	require.Equal(t, result{1, "", "gitrota: no status file tells of a rotation of any database, so there is nothing to undo; use git pull if there should be one\n"},
		gitrota(t, dir, nil, "rollback", "orders"))
}
