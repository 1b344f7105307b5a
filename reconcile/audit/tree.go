package audit

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// entry is what a tree says about one name. The zero entry is that there is no such name.
type entry struct {
	mode string // as it is stored: 40000 is a folder, 100644 a file
	hash Hash
}

const (
	modeFolder = "40000"
	modeFile   = "100644"
)

func (e entry) isFolder() bool { return e.mode == modeFolder }

// row is one entry of a tree as it is stored: mode, a blank, name, a NUL, hash.
type row []byte

// cutRow takes the first entry off a tree.
func cutRow(tree []byte) (first row, rest []byte, err error) {
	blank, nul := bytes.IndexByte(tree, ' '), bytes.IndexByte(tree, 0)
	end := nul + 1 + len(Hash{})
	if blank < 5 || nul < blank || end > len(tree) {
		return nil, nil, malformed("a folder's list is cut off")
	}
	return tree[:end], tree[end:], nil
}

func (r row) name() []byte {
	return r[bytes.IndexByte(r, ' ')+1 : len(r)-len(Hash{})-1]
}

func (r row) entry() entry {
	e := entry{mode: strings.TrimLeft(string(r[:bytes.IndexByte(r, ' ')]), "0")} // some old writers put a zero before 40000
	copy(e.hash[:], r[len(r)-len(Hash{}):])
	return e
}

func (r row) isFolder() bool {
	return bytes.HasPrefix(bytes.TrimLeft(r[:7], "0"), []byte(modeFolder+" "))
}

// compare orders rows as git does: by name, as if there were a slash behind a folder's.
func (r row) compare(other row) int {
	a, b := r.name(), other.name()
	shared := min(len(a), len(b))
	if order := bytes.Compare(a[:shared], b[:shared]); order != 0 {
		return order
	}
	after := func(name []byte, r row) byte {
		switch {
		case len(name) > shared:
			return name[shared]
		case r.isFolder():
			return '/'
		}
		return 0
	}
	return cmp.Or(cmp.Compare(after(a, r), after(b, other)), cmp.Compare(len(a), len(b)))
}

// lookup returns a tree's entry of that name, and the rows before and after it.
func lookup(tree []byte, name string) (found entry, before, after []byte, err error) {
	before = tree
	for rest := tree; len(rest) > 0; {
		first, next, err := cutRow(rest)
		if err != nil {
			return entry{}, nil, nil, err
		}
		if string(first.name()) == name {
			if found != (entry{}) {
				// Not every reader would pick the same of the two.
				return entry{}, nil, nil, malformed("%q is in a folder twice", name)
			}
			found, before, after = first.entry(), tree[:len(tree)-len(rest)], next
		}
		rest = next
	}
	return found, before, after, nil
}

// trees reads trees.
type trees struct{ objects Objects }

// rows returns a folder's tree. Whatever is no folder, or not there, has no entries.
func (t trees) rows(e entry) ([]byte, error) {
	if !e.isFolder() || e.hash.IsZero() {
		return nil, nil
	}
	return t.objects.Object(plumbing.TreeObject, e.hash)
}

func root(tree Hash) entry { return entry{mode: modeFolder, hash: tree} }

// at returns the entry of a path below a root tree.
func (t trees) at(tree Hash, path string) (entry, error) {
	e := root(tree)
	for part := range strings.SplitSeq(path, "/") {
		content, err := t.rows(e)
		if err != nil {
			return entry{}, err
		}
		if e, _, _, err = lookup(content, part); err != nil || e == (entry{}) {
			return entry{}, err
		}
	}
	return e, nil
}

// sameOutside reports whether two root trees differ in nothing but what is at a path. A zero tree is an empty one.
func (t trees) sameOutside(a, b Hash, path string) (bool, error) {
	x, y := root(a), root(b)
	for part := range strings.SplitSeq(path, "/") {
		var others [2][]byte
		for i, side := range []*entry{&x, &y} {
			if !side.isFolder() && *side != (entry{}) {
				return false, nil // a file stood in the way
			}
			content, err := t.rows(*side)
			if err != nil {
				return false, err
			}
			found, before, after, err := lookup(content, part)
			if err != nil {
				return false, err
			}
			*side, others[i] = found, slices.Concat(before, after)
		}
		if !bytes.Equal(others[0], others[1]) {
			return false, nil
		}
	}
	return true, nil
}

// change is a file that two trees do not have in common. A zero entry: it is not there.
type change struct {
	path          string
	before, after entry
}

// diff returns the files that differ between two entries of one path, in order. What is equal is not read.
func (t trees) diff(path string, a, b entry) ([]change, error) {
	if a == b {
		return nil, nil
	}
	var changes []change
	file := change{path: path}
	if !a.isFolder() {
		file.before = a
	}
	if !b.isFolder() {
		file.after = b
	}
	if file.before != file.after {
		changes = append(changes, file)
	}
	left, err := t.rows(a)
	if err != nil {
		return nil, err
	}
	right, err := t.rows(b)
	if err != nil {
		return nil, err
	}
	inner, err := t.diffRows(path, left, right)
	return append(changes, inner...), err
}

// diffRows compares two trees as sorted lists are merged.
func (t trees) diffRows(path string, left, right []byte) ([]change, error) {
	var changes []change
	var last row
	for len(left) > 0 || len(right) > 0 {
		l, leftRest, err := cutRow(left)
		if len(left) > 0 && err != nil {
			return nil, err
		}
		r, rightRest, err := cutRow(right)
		if len(right) > 0 && err != nil {
			return nil, err
		}
		order := 0
		switch {
		case l == nil:
			order = 1
		case r == nil:
			order = -1
		case !bytes.Equal(l, r):
			order = l.compare(r)
		}
		at := l
		if order <= 0 {
			left = leftRest
		}
		if order >= 0 {
			at, right = r, rightRest
		}
		if last != nil && last.compare(at) >= 0 {
			return nil, malformed("the folder %q is not in git's order", path)
		}
		last = at
		if order == 0 && bytes.Equal(l, r) {
			continue
		}
		var before, after entry
		if order <= 0 {
			before = l.entry()
		}
		if order >= 0 {
			after = r.entry()
		}
		inner, err := t.diff(path+"/"+string(at.name()), before, after)
		if err != nil {
			return nil, err
		}
		changes = append(changes, inner...)
	}
	return changes, nil
}
