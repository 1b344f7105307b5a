package signature

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// followed is what was read from a file or a folder, and is read again when that changes: mounted Secrets and
// ConfigMaps do. It is safe for concurrent use.
type followed[T any] struct {
	path string
	load func(path string) (T, error)

	mu    sync.Mutex
	read  bool // value holds what was in the files when they had stamp
	value T
	stamp string
}

// get returns the value as it is now. What cannot be read any more is an error, and what was read before does not take
// its place: somebody has replaced it for a reason.
func (f *followed[T]) get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var none T
	now, err := stampOf(f.path)
	if err != nil {
		f.read = false
		return none, err
	}
	if f.read && f.stamp == now {
		return f.value, nil
	}
	f.read = false
	value, err := f.load(f.path)
	if err != nil {
		return none, err
	}
	f.read, f.value, f.stamp = true, value, now
	return value, nil
}

// stampOf tells one state of a file, or of the files in a folder, from another one. It opens none of the files.
func stampOf(path string) (string, error) {
	files, err := filesIn(path)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
	}
	return b.String(), nil
}

// filesIn returns the path itself where it is a file, and the files in it where it is a folder. Names that begin with a
// dot are Kubernetes' own.
func filesIn(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		name := filepath.Join(path, entry.Name())
		if info, err := os.Stat(name); err != nil {
			return nil, err
		} else if info.IsDir() {
			return nil, &fs.PathError{Op: "reading", Path: name, Err: fmt.Errorf("it is a folder in a folder, which is not looked into")}
		}
		files = append(files, name)
	}
	return files, nil
}
