package gitsource

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
)

// comparison compares folders, of which some may not be known.
type comparison struct {
	known   past
	missing []plumbing.Hash // folders that have to be known; as long as there are some, the results are worth nothing
	err     error           // of a folder that cannot be read
}

// differing returns, in no order, those of some paths, which are sorted and below two trees, whose entry in a is not so
// in b. What a does not have is no difference. at is the trees' own path. A zero tree is an empty one.
func (c *comparison) differing(a, b plumbing.Hash, at string, paths []string) (other []string) {
	if a == b || c.err != nil {
		return nil
	}
	differing, ok := c.entries(a, b)
	if !ok {
		return nil
	}
	for _, d := range differing {
		name := at + string(d.a.name)
		if _, itself := slices.BinarySearch(paths, name); itself {
			other = append(other, name)
		}
		if below := under(paths, name); len(below) > 0 && d.a.folder() {
			var was plumbing.Hash
			if d.b.folder() {
				was = d.b.hash()
			}
			other = append(other, c.differing(d.a.hash(), was, name+"/", below)...)
		}
	}
	return other
}

// under returns those of the sorted paths that are below a folder. Between it and them there may be others, such as
// "name.yaml" between "name" and "name/x".
func under(paths []string, folder string) []string {
	from, _ := slices.BinarySearch(paths, folder+"/")
	to, _ := slices.BinarySearch(paths, folder+"0") // the character after the slash
	return paths[from:to]
}

type difference struct{ a, b rawEntry } // b is zero when only a has it

// entries returns the entries of a that b does not have just so. Both are in Git's order, in which the name of a folder
// ends with a slash.
func (c *comparison) entries(treeA, treeB plumbing.Hash) (all []difference, ok bool) {
	a, okA := c.tree(treeA)
	b, okB := c.tree(treeB)
	if !okA || !okB {
		return nil, false
	}
	for len(a) > 0 {
		entryA, restA, err := nextEntry(a)
		if err != nil {
			c.err = err
			return nil, false
		}
		if len(b) == 0 {
			all = append(all, difference{a: entryA})
			a = restA
			continue
		}
		entryB, restB, err := nextEntry(b)
		if err != nil {
			c.err = err
			return nil, false
		}
		switch order := compareNames(entryA, entryB); {
		case order > 0:
			b = restB
		case order < 0:
			all = append(all, difference{a: entryA})
			a = restA
		default:
			if !bytes.Equal(entryA.id, entryB.id) || entryA.kind() != entryB.kind() {
				all = append(all, difference{entryA, entryB})
			}
			a, b = restA, restB
		}
	}
	return all, true
}

func (c *comparison) tree(hash plumbing.Hash) ([]byte, bool) {
	if hash.IsZero() {
		return nil, true
	}
	tree, ok := c.known.tree(hash)
	if !ok {
		c.missing = append(c.missing, hash)
	}
	return tree, ok
}

// What Git makes of an entry's mode: of a file's, only whether it can be executed counts.
const (
	modeFolder     = 0o040000
	modeFile       = 0o100644
	modeExecutable = 0o100755
	modeLink       = 0o120000
	modeSubmodule  = 0o160000
)

func (e rawEntry) kind() uint64 {
	mode, _ := strconv.ParseUint(string(e.mode), 8, 32)
	return kindOf(mode)
}

func kindOf(mode uint64) uint64 {
	switch mode & 0o170000 {
	case modeFolder, modeLink:
		return mode & 0o170000
	case modeFile & 0o170000:
		if mode&0o100 != 0 {
			return modeExecutable
		}
		return modeFile
	}
	return modeSubmodule
}

func compareNames(a, b rawEntry) int {
	shorter := min(len(a.name), len(b.name))
	if order := bytes.Compare(a.name[:shorter], b.name[:shorter]); order != 0 {
		return order
	}
	next := func(e rawEntry) int {
		switch {
		case len(e.name) > shorter:
			return int(e.name[shorter])
		case e.folder():
			return '/'
		}
		return 0
	}
	return cmp.Compare(next(a), next(b))
}
