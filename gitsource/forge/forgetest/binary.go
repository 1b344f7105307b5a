package forgetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// binaryEnv names a devforge that is ready for use. It is taken as it is.
const binaryEnv = "GITROTA_DEVFORGE"

// devforge returns the path of a devforge that is up to date, and builds it where there is none. It holds a lock while
// it looks and builds, so that of test binaries that start together one builds and the others wait.
func devforge(ctx context.Context) (string, error) {
	if binary := os.Getenv(binaryEnv); binary != "" {
		return binary, nil
	}
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(root, ".build", "devforge")
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(binary+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it the lock ends
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("waiting for others that build devforge: %w", err)
	}
	source := filepath.Join(root, "cmd", "devforge")
	changed, err := lastChange(source)
	if err != nil {
		return "", err
	}
	if built, err := os.Stat(binary); err == nil && !built.ModTime().Before(changed) {
		return binary, nil
	}
	return binary, build(ctx, source, binary, changed)
}

// build replaces the binary as a whole: others may be running the old one. The new one is as old as its newest source,
// so that a file which is edited during the build makes it stale.
func build(ctx context.Context, source, binary string, changed time.Time) error {
	fmt.Fprintln(os.Stderr, "forgetest: building cmd/devforge. The first time this compiles Gitea and takes some minutes; "+
		"set "+binaryEnv+" to use one that is built already.")
	fresh := binary + ".new"
	cmd := exec.CommandContext(ctx, "go", "build", "-C", source, "-tags=sqlite,sqlite_unlock_notify", "-o", fresh, ".")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building cmd/devforge: %w\n%s", err, output)
	}
	return errors.Join(os.Chtimes(fresh, changed, changed), os.Rename(fresh, binary))
}

// lastChange is when the newest of devforge's sources was changed, which are all in its own folder.
func lastChange(source string) (time.Time, error) {
	var newest time.Time
	entries, err := os.ReadDir(source)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return newest, err
		}
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest, err
}

// repositoryRoot looks upwards from the working directory, which is a package's folder in a test.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "cmd", "devforge", "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("no cmd/devforge in %s or above it: run this inside gitrota's repository, or set %s", start, binaryEnv)
		}
	}
}
