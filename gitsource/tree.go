package gitsource

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// treeEdit writes new trees from old ones. What no edit touches keeps its hash, and is neither read nor sent.
type treeEdit struct {
	objects *objects
	added   []plumbing.Hash // the objects that it made, each once; some may have been there before
	noted   map[plumbing.Hash]bool
}

// apply returns the tree that results from writing files, whose paths are relative to it; nil content deletes. A zero
// tree is an empty one, and an empty result is zero except at the root. at is the tree's path, for errors.
func (e *treeEdit) apply(tree plumbing.Hash, at string, files map[string][]byte) (plumbing.Hash, error) {
	var entries []object.TreeEntry
	if !tree.IsZero() {
		var err error
		if entries, err = entriesOf(e.objects, tree); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("reading the folder %q: %w", at, err)
		}
	}
	own, below := split(files)
	for name, content := range own {
		if err := e.setFile(&entries, path.Join(at, name), content); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	for name, inner := range below {
		if err := e.setFolder(&entries, path.Join(at, name), inner); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	if len(entries) == 0 && at != "" {
		return plumbing.ZeroHash, nil
	}
	sort.Sort(object.TreeEntrySorter(entries))
	return e.store(&object.Tree{Entries: entries})
}

// split sorts files into those of this folder and those of the folders in it.
func split(files map[string][]byte) (own map[string][]byte, below map[string]map[string][]byte) {
	own, below = map[string][]byte{}, map[string]map[string][]byte{}
	for name, content := range files {
		folder, rest, nested := strings.Cut(name, "/")
		if !nested {
			own[name] = content
			continue
		}
		if below[folder] == nil {
			below[folder] = map[string][]byte{}
		}
		below[folder][rest] = content
	}
	return own, below
}

func (e *treeEdit) setFile(entries *[]object.TreeEntry, name string, content []byte) error {
	i := find(*entries, path.Base(name))
	if i >= 0 {
		switch kindOf(uint64((*entries)[i].Mode)) {
		case modeFile, modeExecutable:
		default:
			return fmt.Errorf("%q is a %s, which is not gitrota's to replace", name, (*entries)[i].Mode)
		}
	}
	if content == nil {
		if i >= 0 {
			*entries = slices.Delete(*entries, i, i+1)
		}
		return nil
	}
	hash := e.objects.add(plumbing.BlobObject, bytes.Clone(content))
	e.note(hash)
	if i >= 0 {
		(*entries)[i].Hash = hash
		return nil
	}
	*entries = append(*entries, object.TreeEntry{Name: path.Base(name), Mode: filemode.Regular, Hash: hash})
	return nil
}

func (e *treeEdit) setFolder(entries *[]object.TreeEntry, name string, files map[string][]byte) error {
	i := find(*entries, path.Base(name))
	var tree plumbing.Hash
	if i >= 0 {
		if (*entries)[i].Mode != filemode.Dir {
			return fmt.Errorf("%q is not a folder, and nothing can be written into it", name)
		}
		tree = (*entries)[i].Hash
	}
	tree, err := e.apply(tree, name, files)
	switch {
	case err != nil:
		return err
	case tree.IsZero() && i >= 0:
		*entries = slices.Delete(*entries, i, i+1)
	case tree.IsZero():
	case i >= 0:
		(*entries)[i].Hash = tree
	default:
		*entries = append(*entries, object.TreeEntry{Name: path.Base(name), Mode: filemode.Dir, Hash: tree})
	}
	return nil
}

func find(entries []object.TreeEntry, name string) int {
	return slices.IndexFunc(entries, func(e object.TreeEntry) bool { return e.Name == name })
}

// store encodes a tree or a commit.
func (e *treeEdit) store(o interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	encoded := &plumbing.MemoryObject{}
	if err := o.Encode(encoded); err != nil {
		return plumbing.ZeroHash, err
	}
	return e.add(encoded)
}

func (e *treeEdit) add(o plumbing.EncodedObject) (plumbing.Hash, error) {
	hash, err := e.objects.SetEncodedObject(o)
	e.note(hash)
	return hash, err
}

func (e *treeEdit) note(hash plumbing.Hash) {
	if !e.noted[hash] {
		e.noted[hash] = true
		e.added = append(e.added, hash)
	}
}
