package gitsource

import (
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// mirror is what is kept of the branch: the commit at its tip, the trees that lead to the watched folders or lie in
// them, and the contents of the files there; of the tip before it, the commit and the trees. It is never changed, only
// replaced, so that whoever holds one can go on reading.
type mirror struct {
	head    plumbing.Hash // zero: the branch does not exist yet
	before  plumbing.Hash // the head that came before; zero if there was none, or it is not known
	dirs    []string      // the watched folders; none: everything
	objects *objects
	large   map[plumbing.Hash]bool // the blobs there that are too large to be read, and are not fetched
}

// covers reports whether everything in dirs is watched.
func (m *mirror) covers(dirs []string) bool {
	if len(m.dirs) == 0 || len(dirs) == 0 {
		return len(m.dirs) == 0
	}
	return !slices.ContainsFunc(dirs, func(dir string) bool { return !within(dir, m.dirs) })
}

// watching returns the folders that are watched when dirs are to be watched as well.
func (m *mirror) watching(dirs []string) []string {
	if m == nil || len(dirs) == 0 {
		return dirs
	}
	if m.covers(dirs) {
		return m.dirs
	}
	all := slices.Clone(dirs)
	for _, dir := range m.dirs {
		if !within(dir, dirs) {
			all = append(all, dir)
		}
	}
	return all
}

// lacking is what a mirror needs and does not have.
type lacking struct {
	path  []plumbing.Hash // trees on the way to a watched folder
	whole []plumbing.Hash // trees in one, with whatever is in them
	blobs []plumbing.Hash
}

func (l *lacking) blobsOnly() bool { return len(l.path)+len(l.whole) == 0 }

// lacks returns what is missing at the head.
func (m *mirror) lacks() (*lacking, error) {
	commit, err := m.objects.commit(m.head)
	if err != nil {
		return nil, err
	}
	found := &lacking{}
	seen := map[plumbing.Hash]bool{}
	missing := func(to *[]plumbing.Hash, hash plumbing.Hash) bool {
		if m.objects.has(hash) {
			return false
		}
		if !seen[hash] {
			seen[hash] = true
			*to = append(*to, hash)
		}
		return true
	}
	if missing(m.rootList(found), commit.tree) {
		return found, nil
	}
	err = walk(m.objects, commit.tree, m.dirs, func(name string, entry object.TreeEntry) bool {
		switch {
		case entry.Mode == filemode.Dir && within(name, m.dirs):
			return !missing(&found.whole, entry.Hash)
		case entry.Mode == filemode.Dir:
			return !missing(&found.path, entry.Hash)
		case entry.Mode.IsFile() && entry.Mode != filemode.Symlink && !m.large[entry.Hash]:
			missing(&found.blobs, entry.Hash)
		}
		return false
	})
	return found, err
}

func (m *mirror) rootList(found *lacking) *[]plumbing.Hash {
	if len(m.dirs) == 0 {
		return &found.whole
	}
	return &found.path
}

// compact drops everything that a mirror does not need.
func (r *Repository) compact(m *mirror) (*mirror, error) {
	small := &mirror{head: m.head, before: m.before, dirs: m.dirs, objects: newObjects(nil), large: map[plumbing.Hash]bool{}}
	keep := func(commit plumbing.Hash, file func(plumbing.Hash)) error {
		c, err := m.objects.commit(commit)
		if err != nil {
			return err
		}
		small.objects.copy(m.objects, commit, c.tree)
		return walk(m.objects, c.tree, m.dirs, func(_ string, entry object.TreeEntry) bool {
			if entry.Mode == filemode.Dir {
				small.objects.copy(m.objects, entry.Hash)
				return m.objects.has(entry.Hash)
			}
			if entry.Mode.IsFile() {
				file(entry.Hash)
			}
			return false
		})
	}
	err := keep(m.head, func(hash plumbing.Hash) {
		blob, ok := m.objects.get(hash)
		if m.large[hash] || ok && int64(len(blob.bytes)) > r.opts.MaxFileSize {
			small.large[hash] = true
			return
		}
		small.objects.copy(m.objects, hash)
	})
	if err != nil {
		return nil, err
	}
	// The tip before it is there for the sake of who brought a change. It is not worth an error.
	if keep(m.before, func(plumbing.Hash) {}) != nil {
		small.before = plumbing.ZeroHash
	}
	return small, nil
}
