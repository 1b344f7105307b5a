package kubetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// binaryEnv names a devcluster that is ready for use. It is taken as it is.
const binaryEnv = "GITROTA_DEVCLUSTER"

// sources are the folders of this repository that devcluster is built from. A test compares them with what the go
// command says.
var sources = []string{"cmd/devcluster", "policies/credential", "reconcile/mssql/mssqltest"}

// devcluster returns the path of a devcluster that is up to date, and builds it where there is none. It holds a lock
// while it looks and builds, so that of test binaries that start together one builds and the others wait.
func devcluster(ctx context.Context) (string, error) {
	if binary := os.Getenv(binaryEnv); binary != "" {
		return binary, nil
	}
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(root, ".build", "devcluster")
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(binary+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it the lock ends
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("waiting for others that build devcluster: %w", err)
	}
	changed, err := lastChange(root)
	if err != nil {
		return "", err
	}
	if built, err := os.Stat(binary); err == nil && !built.ModTime().Before(changed) {
		return binary, nil
	}
	return binary, build(ctx, root, binary, changed)
}

// build replaces the binary as a whole: others may be running the old one. The new one is as old as its newest source,
// so that a file which is edited during the build makes it stale.
func build(ctx context.Context, root, binary string, changed time.Time) error {
	fmt.Fprintln(os.Stderr, "kubetest: building cmd/devcluster. The first time this compiles Kubernetes and takes some minutes; "+
		"set "+binaryEnv+" to use one that is built already.")
	fresh := binary + ".new"
	cmd := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join(root, "cmd", "devcluster"), "-o", fresh, ".")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building cmd/devcluster: %w\n%s", err, output)
	}
	return errors.Join(os.Chtimes(fresh, changed, changed), os.Rename(fresh, binary))
}

// lastChange is when the newest of devcluster's sources was changed.
func lastChange(root string) (time.Time, error) {
	var newest time.Time
	for _, folder := range sources {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			info, err := entry.Info()
			if err == nil && info.ModTime().After(newest) {
				newest = info.ModTime()
			}
			return err
		})
		if err != nil {
			return newest, fmt.Errorf("looking whether devcluster is up to date: %w", err)
		}
	}
	return newest, nil
}

// repositoryRoot looks upwards from the working directory, which is a package's folder in a test.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "cmd", "devcluster", "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("no cmd/devcluster in %s or above it: run this inside gitrota's repository, or set %s", start, binaryEnv)
		}
	}
}
