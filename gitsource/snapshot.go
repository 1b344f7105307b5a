package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Snapshot is what some folders held at one commit.
type Snapshot struct {
	Revision string // hash of the commit; "" for a branch that does not exist yet
	Files    []File // sorted by path
}

// File is one file of a snapshot.
type File struct {
	Path    string // from the root of the repository, with slashes; quoted if it cannot be printed
	Blob    string // hash of the content: the same content has the same hash, wherever it lies
	Content []byte // nil when there is a Problem
	Problem string // why the content was not read and what to do; "" when it was
}

// Get returns the content of the file at path and whether it is there and could be read.
func (s *Snapshot) Get(path string) ([]byte, bool) {
	at, ok := slices.BinarySearchFunc(s.Files, path, func(f File, p string) int { return strings.Compare(f.Path, p) })
	if !ok || s.Files[at].Problem != "" {
		return nil, false
	}
	return s.Files[at].Content, true
}

// Snapshot returns the files under dirs at the branch's tip, all files when there are no dirs. A dir that does not
// exist has no files. A file that cannot be read is in the snapshot with its problem.
func (r *Repository) Snapshot(ctx context.Context, dirs ...string) (*Snapshot, error) {
	const op = "reading the tip"
	dirs, err := cleanDirs(dirs)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	copied, err := r.clone(ctx, 1, r.opts.MaxFileSize+1)
	if err != nil {
		return nil, r.failed(op, err)
	}
	snapshot, err := r.read(copied, copied.head, dirs)
	if err != nil {
		return nil, r.failed(op, err)
	}
	return snapshot, nil
}

// read copies the files under dirs out of a commit.
func (r *Repository) read(from *clone, commit plumbing.Hash, dirs []string) (*Snapshot, error) {
	c, err := object.GetCommit(from.objects, commit)
	if err != nil {
		return nil, fmt.Errorf("reading the commit %s: %w", commit, err)
	}
	snapshot := &Snapshot{Revision: commit.String()}
	if err := r.walk(from, c.TreeHash, "", dirs, snapshot); err != nil {
		return nil, err
	}
	slices.SortFunc(snapshot.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return snapshot, nil
}

// walk goes down a tree, but only where it leads to one of dirs.
func (r *Repository) walk(from *clone, tree plumbing.Hash, at string, dirs []string, into *Snapshot) error {
	t, err := object.GetTree(from.objects, tree)
	if err != nil {
		return fmt.Errorf("reading the folder %q: %w", at, err)
	}
	for _, entry := range t.Entries {
		name := path.Join(at, entry.Name)
		inside := within(name, dirs)
		isLink := entry.Mode == filemode.Symlink || entry.Mode == filemode.Submodule
		switch {
		case entry.Mode == filemode.Dir && (inside || leadsTo(name, dirs)):
			if err := r.walk(from, entry.Hash, name, dirs, into); err != nil {
				return err
			}
		case entry.Mode != filemode.Dir && (inside || isLink && leadsTo(name, dirs)):
			file, err := r.readFile(from, entry, name)
			if err != nil {
				return err
			}
			into.Files = append(into.Files, file)
		}
	}
	return nil
}

// lfsPointer begins a file whose content Git LFS keeps elsewhere.
var lfsPointer = []byte("version https://git-lfs.github.com/spec/")

func (r *Repository) readFile(from *clone, entry object.TreeEntry, name string) (File, error) {
	file := File{Path: name, Blob: entry.Hash.String()}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		file.Path = strconv.Quote(name)
		file.Problem = "its name has characters that cannot be shown: rename it"
		return file, nil
	}
	switch entry.Mode {
	case filemode.Symlink:
		file.Problem = "it is a symbolic link, which could lead anywhere: commit the file itself"
		return file, nil
	case filemode.Submodule:
		file.Problem = "it is a submodule, whose files are not in this repository: commit the files themselves"
		return file, nil
	}
	blob, err := object.GetBlob(from.objects, entry.Hash)
	if from.filtered && errors.Is(err, plumbing.ErrObjectNotFound) || err == nil && blob.Size > r.opts.MaxFileSize {
		file.Problem = fmt.Sprintf("it has more than %d bytes: split it", r.opts.MaxFileSize)
		return file, nil
	}
	if err != nil {
		return File{}, fmt.Errorf("reading the file %q: %w", name, err)
	}
	content, err := contentOf(blob)
	if err != nil {
		return File{}, fmt.Errorf("reading the file %q: %w", name, err)
	}
	if bytes.HasPrefix(content, lfsPointer) {
		file.Problem = "it is kept in Git LFS, which is not read: commit the file itself (git lfs untrack)"
		return file, nil
	}
	file.Content = content
	return file, nil
}

func contentOf(blob *object.Blob) ([]byte, error) {
	reader, err := blob.Reader()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return io.ReadAll(reader)
}

// cleanDirs returns the folders in their one spelling. The root is no dirs at all.
func cleanDirs(dirs []string) ([]string, error) {
	var clean []string
	for _, dir := range dirs {
		d := path.Clean(strings.Trim(dir, "/"))
		if d == "." {
			return nil, nil
		}
		if d == ".." || strings.HasPrefix(d, "../") {
			return nil, fmt.Errorf("the folder %q is outside the repository", dir)
		}
		clean = append(clean, d)
	}
	return clean, nil
}

// within reports whether name is one of dirs or below it. Everything is within no dirs.
func within(name string, dirs []string) bool {
	return len(dirs) == 0 || slices.ContainsFunc(dirs, func(dir string) bool {
		return name == dir || strings.HasPrefix(name, dir+"/")
	})
}

// leadsTo reports whether one of dirs is below name.
func leadsTo(name string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(dir, name+"/") })
}
