// Package devprogram finds the programs of this repository that stand in for the world outside, cmd/devcluster and
// cmd/devforge, and builds one that is not there. Each is a module of its own, of which the first build takes minutes.
package devprogram

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

// Program is one of them.
type Program struct {
	Name    string   // of its folder below cmd, and of the file below .build
	Of      string   // what its first build compiles, such as "Kubernetes"
	Sources []string // folders of this repository that it is built from
	Flags   []string // of go build
	Env     string   // the environment variable that names one which is ready for use, and is taken as it is
}

// Path returns the path of the program, up to date. It holds a lock while it looks and builds, so that of test binaries
// that start together one builds and the others wait.
func (p Program) Path(ctx context.Context) (string, error) {
	if binary := os.Getenv(p.Env); binary != "" {
		return binary, nil
	}
	root, err := Root()
	if err != nil {
		return "", fmt.Errorf("%w, or set %s", err, p.Env)
	}
	binary := filepath.Join(root, ".build", p.Name)
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(binary+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it the lock ends
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("waiting for others that build %s: %w", p.Name, err)
	}
	changed, err := p.lastChange(root)
	if err != nil {
		return "", err
	}
	if built, err := os.Stat(binary); err == nil && !built.ModTime().Before(changed) {
		return binary, nil
	}
	return binary, p.build(ctx, filepath.Join(root, "cmd", p.Name), binary, changed)
}

// build replaces the binary as a whole: others may be running the old one. The new one is as old as its newest source,
// so that a file which is edited during the build makes it stale.
func (p Program) build(ctx context.Context, source, binary string, changed time.Time) error {
	fmt.Fprintf(os.Stderr, "building cmd/%s. The first time this compiles %s and takes some minutes; set %s to use one that is built already.\n",
		p.Name, p.Of, p.Env)
	fresh := binary + ".new"
	args := append([]string{"build", "-C", source, "-o", fresh}, p.Flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building cmd/%s: %w\n%s", p.Name, err, output)
	}
	return errors.Join(os.Chtimes(fresh, changed, changed), os.Rename(fresh, binary))
}

// lastChange is when the newest of the sources was changed.
func (p Program) lastChange(root string) (time.Time, error) {
	var newest time.Time
	for _, folder := range p.Sources {
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
			return newest, fmt.Errorf("looking whether %s is up to date: %w", p.Name, err)
		}
	}
	return newest, nil
}

// Root is the top level of this repository, looked for upwards from the working directory, which is a package's folder in
// a test.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "cmd", "devcluster", "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("no cmd/devcluster in %s or above it: run this inside gitrota's repository", start)
		}
	}
}
