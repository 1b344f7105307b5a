package gitsource

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// objects holds Git objects in memory, in layers: the top one grows, those below it are never changed again and may be
// read by anybody at the same time.
type objects struct {
	own   map[plumbing.Hash]content
	below *objects
}

// content is an object as Git hashes it. Its bytes are shared with snapshots, and never changed.
type content struct {
	kind  plumbing.ObjectType
	bytes []byte
}

// newObjects returns an empty layer on top of below, which may be nil.
func newObjects(below *objects) *objects {
	return &objects{own: map[plumbing.Hash]content{}, below: below}
}

// emptyTree is the one object that every repository has, whether it is stored there or not.
var emptyTree = plumbing.ComputeHash(plumbing.TreeObject, nil)

func (o *objects) get(hash plumbing.Hash) (content, bool) {
	if hash == emptyTree {
		return content{plumbing.TreeObject, []byte{}}, true
	}
	for ; o != nil; o = o.below {
		if c, ok := o.own[hash]; ok {
			return c, true
		}
	}
	return content{}, false
}

func (o *objects) has(hash plumbing.Hash) bool {
	_, ok := o.get(hash)
	return ok
}

// add takes an object over. One that is there already stays as it is, so that equal contents are the same bytes.
func (o *objects) add(kind plumbing.ObjectType, bytes []byte) plumbing.Hash {
	hash := plumbing.ComputeHash(kind, bytes)
	if !o.has(hash) {
		o.own[hash] = content{kind, bytes}
	}
	return hash
}

// copy takes objects over from another layer, as far as they are there.
func (o *objects) copy(from store, hashes ...plumbing.Hash) {
	for _, hash := range hashes {
		if c, ok := from.get(hash); ok {
			o.own[hash] = c
		}
	}
}

func (o *objects) commit(hash plumbing.Hash) (node, error) { return commitOf(o, hash) }

func commitOf(from store, hash plumbing.Hash) (node, error) {
	c, ok := stored{store: from}.commit(hash)
	if !ok {
		return node{}, fmt.Errorf("the commit %s is missing or cannot be read", hash)
	}
	return c, nil
}

// entriesOf returns the entries of a tree.
func entriesOf(from store, hash plumbing.Hash) ([]object.TreeEntry, error) {
	c, ok := from.get(hash)
	if !ok || c.kind != plumbing.TreeObject {
		return nil, plumbing.ErrObjectNotFound
	}
	entries := make([]object.TreeEntry, 0, len(c.bytes)/32)
	for rest := c.bytes; len(rest) > 0; {
		raw, more, err := nextEntry(rest)
		if err != nil {
			return nil, fmt.Errorf("reading the tree %s: %w", hash, err)
		}
		mode, err := filemode.New(string(raw.mode))
		if err != nil {
			return nil, fmt.Errorf("reading the tree %s: %w", hash, err)
		}
		entries = append(entries, object.TreeEntry{Name: string(raw.name), Mode: mode, Hash: raw.hash()})
		rest = more
	}
	return entries, nil
}

// rawEntry is an entry of a tree where it lies.
type rawEntry struct{ mode, name, id, all []byte }

func (e rawEntry) hash() (h plumbing.Hash) {
	copy(h[:], e.id)
	return h
}

func (e rawEntry) folder() bool { return e.kind() == modeFolder }

// nextEntry reads the first entry of a tree and returns what follows it.
func nextEntry(tree []byte) (entry rawEntry, rest []byte, err error) {
	mode, rest, found := bytes.Cut(tree, []byte(" "))
	name, rest, ended := bytes.Cut(rest, []byte{0})
	if !found || !ended || len(name) == 0 || len(rest) < len(plumbing.ZeroHash) {
		return rawEntry{}, nil, errors.New("an entry is cut off")
	}
	id, rest := rest[:len(plumbing.ZeroHash)], rest[len(plumbing.ZeroHash):]
	return rawEntry{mode, name, id, tree[:len(tree)-len(rest)]}, rest, nil
}

// What a walk may meet: a few small trees that hold one another many times over could otherwise stand for any number
// of files.
const (
	maxEntries = 1 << 20
	maxPath    = 4096 // bytes
)

// walk goes down a tree, but only where it leads to one of dirs, and calls visit with what it meets: everything in the
// dirs, and the folders and links on the way to them. visit tells whether to go down a folder.
func walk(from store, tree plumbing.Hash, dirs []string, visit func(name string, entry object.TreeEntry) bool) error {
	left := maxEntries
	return walkBelow(from, tree, "", dirs, &left, visit)
}

func walkBelow(from store, tree plumbing.Hash, at string, dirs []string, left *int, visit func(string, object.TreeEntry) bool) error {
	entries, err := entriesOf(from, tree)
	if err != nil {
		return fmt.Errorf("reading the folder %q: %w", at, err)
	}
	if *left -= len(entries); *left < 0 || len(at) > maxPath {
		return &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("it has more than %d files, or paths of more than %d bytes: "+
			"keep the rotations in a smaller one", maxEntries, maxPath)}
	}
	for _, entry := range entries {
		name := entry.Name
		if at != "" {
			name = at + "/" + name
		}
		entry.Mode = filemode.FileMode(kindOf(uint64(entry.Mode)))
		folder := entry.Mode == filemode.Dir
		link := entry.Mode == filemode.Symlink || entry.Mode == filemode.Submodule
		if !within(name, dirs) && (!folder && !link || !leadsTo(name, dirs)) {
			continue
		}
		if visit(name, entry) && folder {
			if err := walkBelow(from, entry.Hash, name, dirs, left, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// The methods below make it a storage of go-git's, which encodes and decodes objects there.

// NewEncodedObject returns an object to be filled and stored.
func (o *objects) NewEncodedObject() plumbing.EncodedObject { return &plumbing.MemoryObject{} }

// SetEncodedObject stores an object in the top layer.
func (o *objects) SetEncodedObject(from plumbing.EncodedObject) (plumbing.Hash, error) {
	filled, ok := from.(*plumbing.MemoryObject)
	if !ok {
		return plumbing.ZeroHash, fmt.Errorf("storing an object that was made elsewhere: %T", from)
	}
	reader, err := filled.Reader()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer reader.Close()
	var all bytes.Buffer
	if _, err := all.ReadFrom(reader); err != nil {
		return plumbing.ZeroHash, err
	}
	return o.add(filled.Type(), bytes.Clone(all.Bytes())), nil
}

// EncodedObject returns a copy of an object.
func (o *objects) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	c, ok := o.get(hash)
	if !ok || kind != plumbing.AnyObject && kind != c.kind {
		return nil, plumbing.ErrObjectNotFound
	}
	copied := &plumbing.MemoryObject{}
	copied.SetType(c.kind)
	_, err := copied.Write(c.bytes)
	return copied, err
}

// HasEncodedObject returns plumbing.ErrObjectNotFound for an object that is not there.
func (o *objects) HasEncodedObject(hash plumbing.Hash) error {
	if !o.has(hash) {
		return plumbing.ErrObjectNotFound
	}
	return nil
}

// EncodedObjectSize returns an object's size.
func (o *objects) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	c, ok := o.get(hash)
	if !ok {
		return 0, plumbing.ErrObjectNotFound
	}
	return int64(len(c.bytes)), nil
}

// IterEncodedObjects is not needed: objects are reached from commits.
func (o *objects) IterEncodedObjects(plumbing.ObjectType) (storer.EncodedObjectIter, error) {
	return nil, errors.ErrUnsupported
}

// AddAlternate is not needed: layers are what there is.
func (o *objects) AddAlternate(string) error { return errors.ErrUnsupported }
