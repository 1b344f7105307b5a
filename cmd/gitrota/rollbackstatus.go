package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/reconcile"
)

// rotationStatus is a status and where it is in the repository.
type rotationStatus struct {
	reconcile.Status
	path string
}

// succeeded is when the rotation ended well. What is noted later of its manifest does not change it.
func (s *rotationStatus) succeeded() time.Time {
	for _, c := range s.Conditions {
		if c.Type == reconcile.TypeSuccessful {
			return c.LastTransitionTime
		}
	}
	return time.Time{}
}

// began is when it was taken up.
func (s *rotationStatus) began() time.Time {
	if len(s.Conditions) == 0 {
		return time.Time{}
	}
	return s.Conditions[0].LastTransitionTime
}

// statuses are all that are in a clone, by path.
type statuses []*rotationStatus

// readStatuses reads the status files of a clone. One that cannot be read is an error: it may be the last rotation.
func readStatuses(repoDir, statusPath string) (statuses, error) {
	root := filepath.Join(repoDir, filepath.FromSlash(statusPath))
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("there is no folder %s: run this in a clone of the repository, or say with --repo-dir and --status-path where it is", filepath.ToSlash(root))
	}
	files, err := fs.Glob(os.DirFS(root), "*/*.yaml") // in order
	if err != nil {
		return nil, fmt.Errorf("looking for status files: %w", err)
	}
	var all statuses
	for _, file := range files {
		s, err := readStatus(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			return nil, err
		}
		s.path = path.Join(statusPath, file)
		all = append(all, s)
	}
	return all, nil
}

func readStatus(file string) (*rotationStatus, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a status file: %w", err)
	}
	s := &rotationStatus{path: filepath.ToSlash(file)}
	if s.Status, err = reconcile.ParseStatus(content); err != nil || s.Request.Name == "" {
		return nil, fmt.Errorf("%s is not a status file that gitrota wrote, and may be the one that matters; restore it from Git", s.path)
	}
	return s, nil
}

// request returns the status of a request, nil if it has none.
func (all statuses) request(namespace, name string) *rotationStatus {
	for _, s := range all {
		if s.Request.Namespace == namespace && s.Request.Name == name {
			return s
		}
	}
	return nil
}

// find returns the rotation to undo: the last one that succeeded of the database that the target names.
func (o rollbackOptions) find(all statuses, target string) (*rotationStatus, error) {
	namespace, name := o.namespace, target
	var asked *rotationStatus
	switch before, after, both := strings.Cut(target, "/"); {
	case strings.HasSuffix(target, ".yaml"):
		s, err := readStatus(target)
		if err != nil {
			return nil, err
		}
		if s.Phase != reconcile.PhaseSuccessful {
			return nil, fmt.Errorf("%s is %s and not Successful, so it changed no password that could be put back; see its conditions in %s", s.Request.Key(), s.Phase, s.path)
		}
		asked = s
		namespace, name = s.Request.Namespace, s.Request.Database
	case both:
		namespace, name = before, after
	}
	last, err := all.lastOf(namespace, name)
	if err == nil && asked != nil && asked.Request.ID != last.Request.ID {
		return nil, fmt.Errorf("%s was followed by %s, and only the last rotation of %s can be undone; name the database to undo that one",
			asked.Request.Key(), last.Request.Key(), last.Request.DatabaseKey())
	}
	return last, err
}

// lastOf returns the last rotation of a database that succeeded.
func (all statuses) lastOf(namespace, name string) (*rotationStatus, error) {
	var databases, others []string
	var last, ended *rotationStatus
	for _, s := range all {
		switch {
		case s.Request.Database == "":
			continue
		case s.Request.Database != name || namespace != "" && s.Request.Namespace != namespace:
			others = append(others, s.Request.DatabaseKey())
			continue
		}
		databases, ended = append(databases, s.Request.DatabaseKey()), s
		if s.Phase == reconcile.PhaseSuccessful && (last == nil || isLater(s, last)) {
			last = s
		}
	}
	databases, others = distinct(databases), distinct(others)
	switch {
	case len(databases) == 0 && len(others) == 0:
		return nil, fmt.Errorf("no status file tells of a rotation of any database, so there is nothing to undo; use git pull if there should be one")
	case len(databases) == 0:
		return nil, fmt.Errorf("no status file tells of a rotation of %s, so there is nothing to undo; there are some of %s; use git pull if one is missing",
			path.Join(namespace, name), strings.Join(others, ", "))
	case len(databases) > 1:
		return nil, fmt.Errorf("several databases are named %s: %s; say which one with -n NAMESPACE", name, strings.Join(databases, ", "))
	case last == nil:
		return nil, fmt.Errorf("no rotation of %s has succeeded, so there is nothing to undo; see %s, which is %s", databases[0], ended.path, ended.Phase)
	}
	return last, nil
}

// isLater compares by the end and, within one second, by the beginning.
func isLater(a, b *rotationStatus) bool {
	return cmp.Or(a.succeeded().Compare(b.succeeded()), a.began().Compare(b.began())) > 0
}

// distinct sorts names and keeps one of each; of many, the first few.
func distinct(names []string) []string {
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 10 {
		names = append(names[:10:10], fmt.Sprintf("and %d more", len(names)-10))
	}
	return names
}
