package gitsource

import (
	"bytes"
	"context"
	"fmt"
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
	Content []byte // nil when there is a Problem; the same bytes in every snapshot that has them: not to be changed
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
//
// Every folder that was ever asked for is kept up to date from then on, so it is best to ask for the same ones always.
func (r *Repository) Snapshot(ctx context.Context, dirs ...string) (*Snapshot, error) {
	const op = "reading the tip"
	dirs, err := cleanDirs(dirs)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	tip, err := r.latest(ctx, dirs)
	if err != nil {
		return nil, r.failed(op, err)
	}
	snapshot, err := r.files(tip, tip.head, dirs)
	if err != nil {
		return nil, r.failed(op, err)
	}
	return snapshot, nil
}

// files collects the files under dirs at a commit.
func (r *Repository) files(from *mirror, commit plumbing.Hash, dirs []string) (*Snapshot, error) {
	c, err := from.objects.commit(commit)
	if err != nil {
		return nil, err
	}
	snapshot := &Snapshot{Revision: commit.String()}
	err = walk(from.objects, c.tree, dirs, func(name string, entry object.TreeEntry) bool {
		if entry.Mode == filemode.Dir {
			return true
		}
		snapshot.Files = append(snapshot.Files, r.readFile(from, entry, name))
		return false
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(snapshot.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return snapshot, nil
}

// lfsPointer begins a file whose content Git LFS keeps elsewhere.
var lfsPointer = []byte("version https://git-lfs.github.com/spec/")

func (r *Repository) readFile(from *mirror, entry object.TreeEntry, name string) File {
	file := File{Path: name, Blob: entry.Hash.String()}
	blob, ok := from.objects.get(entry.Hash)
	switch {
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		file.Path = strconv.Quote(name)
		file.Problem = "its name has characters that cannot be shown: rename it"
	case entry.Mode == filemode.Symlink:
		file.Problem = "it is a symbolic link, which could lead anywhere: commit the file itself"
	case entry.Mode == filemode.Submodule:
		file.Problem = "it is a submodule, whose files are not in this repository: commit the files themselves"
	case !ok || int64(len(blob.bytes)) > r.opts.MaxFileSize:
		file.Problem = fmt.Sprintf("it has more than %d bytes: split it", r.opts.MaxFileSize)
	case bytes.HasPrefix(blob.bytes, lfsPointer):
		file.Problem = "it is kept in Git LFS, which is not read: commit the file itself (git lfs untrack)"
	default:
		file.Content = blob.bytes
	}
	return file
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
