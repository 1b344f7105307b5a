// Package mounted follows mounted Secrets. Kubernetes replaces all files of a mounted Secret at once, by pointing the
// link ..data at another folder; a person may write them one by one. A [Secret] notices both when it is asked for its
// value, which costs a stat for each file, and needs no watch.
package mounted

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// Secret is what was read of a folder: a T, and another one once the folder has changed. It is safe for concurrent use.
type Secret[T any] struct {
	dir  string
	read func(dir string) (T, error)
	log  *slog.Logger

	mu      sync.Mutex
	value   T
	seen    []file // the files as they were when value was read
	trouble string // what was last said about a version that cannot be read; "" when all is well
}

// Follow reads a folder for the first time. The function read makes the value of it, and is called again after each
// change; its errors must not quote secrets. It is an error if the first version cannot be read. A nil log is none.
func Follow[T any](dir string, read func(dir string) (T, error), log *slog.Logger) (*Secret[T], error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Secret[T]{dir: dir, read: read, log: log}
	value, seen, err := s.load()
	if err != nil {
		return nil, err
	}
	s.value, s.seen = value, seen
	return s, nil
}

// Value returns the newest version that can be read. A version that cannot be read is logged once and tried again with
// the next call; the one before it goes on being used.
func (s *Secret[T]) Value() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, err := look(s.dir); err == nil && same(s.seen, now) {
		s.trouble = "" // a change may have been taken back
		return s.value
	}
	value, seen, err := s.load()
	if err != nil {
		if s.trouble != err.Error() {
			s.trouble = err.Error()
			s.log.Error("a mounted Secret has changed and cannot be read; what was read before goes on being used", "dir", s.dir, "error", err)
		}
		return s.value
	}
	s.value, s.seen, s.trouble = value, seen, ""
	s.log.Info("a mounted Secret has changed and was read again", "dir", s.dir)
	return s.value
}

// load reads the folder, again where it changed while it was read: a user name of one version and a password of the
// next would be no credential at all.
func (s *Secret[T]) load() (T, []file, error) {
	var none T
	err := fmt.Errorf("%s keeps changing while it is read", s.dir)
	for range 5 {
		before, lookErr := look(s.dir)
		if lookErr != nil {
			err = lookErr
			continue
		}
		value, readErr := s.read(s.dir)
		if after, lookErr := look(s.dir); lookErr == nil && same(before, after) {
			return value, after, readErr
		}
	}
	return none, nil, err
}

// file is what a stat tells of one.
type file struct {
	name string
	info os.FileInfo
}

// look lists the files of a folder, links followed.
func look(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make([]file, 0, len(entries))
	for _, entry := range entries {
		info, err := os.Stat(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, file{entry.Name(), info})
	}
	return files, nil
}

// same reports whether two looks at a folder saw the same files with, as far as a stat can tell, the same content.
func same(a, b []file) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].name != b[i].name || !os.SameFile(a[i].info, b[i].info) ||
			a[i].info.Size() != b[i].info.Size() || !a[i].info.ModTime().Equal(b[i].info.ModTime()) {
			return false
		}
	}
	return true
}
