package gitsource

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// compare sorts paths, which are sorted and below two trees, into those whose entry is the same in both and the files
// of a that are not so in b. at is the trees' own path. A zero tree is an empty one.
func (o *objects) compare(a, b plumbing.Hash, at string, paths []string) (same, other []string, err error) {
	if a == b {
		return paths, nil, nil
	}
	differing, err := o.differing(a, b)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range differing {
		name := at + string(d.a.name)
		below := under(paths, name)
		if len(below) > 0 && d.a.folder() {
			var was plumbing.Hash
			if d.b.folder() {
				was = d.b.hash()
			}
			if _, below, err = o.compare(d.a.hash(), was, name+"/", below); err != nil {
				return nil, nil, err
			}
		}
		other = append(other, below...)
	}
	if len(other) == 0 {
		return paths, nil, nil
	}
	slices.Sort(other)
	same = slices.DeleteFunc(slices.Clone(paths), func(path string) bool {
		_, differs := slices.BinarySearch(other, path)
		return differs
	})
	return same, other, nil
}

// under returns those of the sorted paths that are name or below it. Between the two there may be others, such as
// "name.yaml" between "name" and "name/x".
func under(paths []string, name string) []string {
	i, exact := slices.BinarySearch(paths, name)
	if exact {
		return paths[i : i+1]
	}
	from, _ := slices.BinarySearch(paths, name+"/")
	to, _ := slices.BinarySearch(paths, name+"0") // the character after the slash
	return paths[from:to]
}

type difference struct{ a, b rawEntry } // b is zero when only a has it

// differing returns the entries of a that b does not have just so. Both are in Git's order, in which the name of a
// folder ends with a slash.
func (o *objects) differing(treeA, treeB plumbing.Hash) (all []difference, err error) {
	a, err := o.rawTree(treeA)
	if err != nil {
		return nil, err
	}
	b, err := o.rawTree(treeB)
	if err != nil {
		return nil, err
	}
	for len(a) > 0 {
		entryA, restA, err := nextEntry(a)
		if err != nil {
			return nil, err
		}
		if len(b) == 0 {
			all = append(all, difference{a: entryA})
			a = restA
			continue
		}
		entryB, restB, err := nextEntry(b)
		if err != nil {
			return nil, err
		}
		switch order := compareNames(entryA, entryB); {
		case order > 0:
			b = restB
		case order < 0:
			all = append(all, difference{a: entryA})
			a = restA
		default:
			if !bytes.Equal(entryA.id, entryB.id) {
				all = append(all, difference{entryA, entryB})
			}
			a, b = restA, restB
		}
	}
	return all, nil
}

// rawTree returns a tree's bytes, none for a zero one.
func (o *objects) rawTree(hash plumbing.Hash) ([]byte, error) {
	if hash.IsZero() {
		return nil, nil
	}
	c, ok := o.get(hash)
	if !ok || c.kind != plumbing.TreeObject {
		return nil, errNoTree
	}
	return c.bytes, nil
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
