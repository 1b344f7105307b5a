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

	"sigs.k8s.io/yaml"
)

const annotationRotationID = "gitrota.dev/rotation-id"

// rotationStatus is what a rollback has to know of a status file.
type rotationStatus struct {
	Metadata struct {
		Name, Namespace string
		Annotations     map[string]string
	}
	Spec struct {
		DatabaseRef struct{ Name string }
	}
	Status struct {
		Phase      string
		Conditions []struct {
			Type               string
			LastTransitionTime time.Time
		}
	}

	path string // in the repository
}

func (s *rotationStatus) id() string  { return s.Metadata.Annotations[annotationRotationID] }
func (s *rotationStatus) key() string { return s.Metadata.Namespace + "/" + s.Metadata.Name }
func (s *rotationStatus) databaseKey() string {
	return s.Metadata.Namespace + "/" + s.Spec.DatabaseRef.Name
}

// succeeded is when the rotation ended well. What is noted later of its manifest does not change it.
func (s *rotationStatus) succeeded() time.Time {
	for _, c := range s.Status.Conditions {
		if c.Type == "Successful" {
			return c.LastTransitionTime
		}
	}
	return time.Time{}
}

// began is when it was taken up.
func (s *rotationStatus) began() time.Time {
	if len(s.Status.Conditions) == 0 {
		return time.Time{}
	}
	return s.Status.Conditions[0].LastTransitionTime
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
	if err := yaml.Unmarshal(content, s); err != nil || s.Metadata.Name == "" || s.Status.Phase == "" {
		return nil, fmt.Errorf("%s is not a status file that gitrota wrote, and may be the one that matters; restore it from Git", s.path)
	}
	return s, nil
}

// request returns the status of a request, nil if it has none.
func (all statuses) request(namespace, name string) *rotationStatus {
	for _, s := range all {
		if s.Metadata.Namespace == namespace && s.Metadata.Name == name {
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
		if s.Status.Phase != "Successful" {
			return nil, fmt.Errorf("%s is %s and not Successful, so it changed no password that could be put back; see its conditions in %s", s.key(), s.Status.Phase, s.path)
		}
		asked = s
		namespace, name = s.Metadata.Namespace, s.Spec.DatabaseRef.Name
	case both:
		namespace, name = before, after
	}
	last, err := all.lastOf(namespace, name)
	if err == nil && asked != nil && asked.id() != last.id() {
		return nil, fmt.Errorf("%s was followed by %s, and only the last rotation of %s can be undone; name the database to undo that one",
			asked.key(), last.key(), last.databaseKey())
	}
	return last, err
}

// lastOf returns the last rotation of a database that succeeded.
func (all statuses) lastOf(namespace, name string) (*rotationStatus, error) {
	var databases, others []string
	var last, ended *rotationStatus
	for _, s := range all {
		switch {
		case s.Spec.DatabaseRef.Name == "":
			continue
		case s.Spec.DatabaseRef.Name != name || namespace != "" && s.Metadata.Namespace != namespace:
			others = append(others, s.databaseKey())
			continue
		}
		databases, ended = append(databases, s.databaseKey()), s
		if s.Status.Phase == "Successful" && (last == nil || isLater(s, last)) {
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
		return nil, fmt.Errorf("no rotation of %s has succeeded, so there is nothing to undo; see %s, which is %s", databases[0], ended.path, ended.Status.Phase)
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
