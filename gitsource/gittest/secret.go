package gittest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MountSecret lays the keys of a Secret out in dir as the kubelet does, and replaces those that are there already, all
// at once: the keys are links into the folder that ..data points to, and the folder before it is deleted.
func MountSecret(t TB, dir string, values map[string]string) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatalf("mounting a Secret: %v", err)
		}
	}
	must(os.MkdirAll(dir, 0o700))
	version, err := os.MkdirTemp(dir, "..v")
	must(err)
	for key, value := range values {
		must(os.WriteFile(filepath.Join(version, key), []byte(value), 0o600))
	}
	before, _ := os.Readlink(filepath.Join(dir, "..data"))
	must(os.Symlink(filepath.Base(version), filepath.Join(dir, "..next")))
	must(os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")))
	for key := range values {
		if err := os.Symlink(filepath.Join("..data", key), filepath.Join(dir, key)); !errors.Is(err, fs.ErrExist) {
			must(err)
		}
	}
	links, err := os.ReadDir(dir)
	must(err)
	for _, link := range links {
		if _, still := values[link.Name()]; !still && link.Type() == fs.ModeSymlink && link.Name() != "..data" {
			must(os.Remove(filepath.Join(dir, link.Name())))
		}
	}
	if before != "" {
		must(os.RemoveAll(filepath.Join(dir, before)))
	}
}

// WriteFile writes a file as a person would.
func WriteFile(t TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatalf("writing a file: %v", err)
	}
}
