package gitsource

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

var (
	// errTooShallow says that the answer lies behind what was fetched.
	errTooShallow = errors.New("more history is needed")
	// errNoTree says that a tree is missing which the server thought to be here: only what is watched is kept.
	errNoTree = errors.New("a tree is missing in the history")
)

// origins finds the commit that brought the content which each path has at rev. All paths go back together, from
// parent to parent, and only what differs between two trees is looked at.
func origins(o *objects, rev plumbing.Hash, paths []string) (map[string]Commit, error) {
	if !o.has(rev) {
		return nil, errTooShallow
	}
	start, err := o.commit(rev)
	if err != nil {
		return nil, err
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(paths)))
	// What is not there is no different from nothing.
	if absent, _, err := o.compare(start.TreeHash, plumbing.ZeroHash, "", sorted); err != nil {
		return nil, err
	} else if len(absent) > 0 {
		return nil, &Error{Kind: ErrFileNotFound, Detail: fmt.Sprintf("%q at %s", absent[0], rev)}
	}
	found := map[string]Commit{}
	active := map[plumbing.Hash]*trail{rev: {start, sorted}}
	for len(active) > 0 {
		// The newest first, so that paths that took different ways through a merge meet again before they go on.
		at := newest(active)
		delete(active, at.commit.Hash)
		left := at.paths
		for _, hash := range at.commit.ParentHashes {
			if !o.has(hash) {
				return nil, errTooShallow
			}
			parent, err := o.commit(hash)
			if err != nil {
				return nil, err
			}
			same, other, err := o.compare(at.commit.TreeHash, parent.TreeHash, "", left)
			if err != nil {
				return nil, err
			}
			if len(same) > 0 {
				if active[hash] == nil {
					active[hash] = &trail{commit: parent}
				}
				merged := append(slices.Clone(active[hash].paths), same...)
				slices.Sort(merged)
				active[hash].paths = slices.Compact(merged)
			}
			if left = other; len(left) == 0 {
				break
			}
		}
		raw, _ := o.get(at.commit.Hash)
		for _, path := range left {
			found[path] = describe(at.commit, raw.bytes)
		}
	}
	return found, nil
}

// trail is a commit to be looked at, and the paths, sorted, whose content has come from there or from behind it.
type trail struct {
	commit *object.Commit
	paths  []string
}

func newest(active map[plumbing.Hash]*trail) *trail {
	var best *trail
	for _, t := range active {
		if best == nil || t.commit.Committer.When.After(best.commit.Committer.When) {
			best = t
		}
	}
	return best
}

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

// reaches reports whether a commit is another one or behind it.
func reaches(o *objects, from, wanted plumbing.Hash) (bool, error) {
	if !o.has(from) {
		return false, errTooShallow
	}
	shallow := false
	seen := map[plumbing.Hash]bool{from: true}
	for next := []plumbing.Hash{from}; len(next) > 0; {
		hash := next[len(next)-1]
		next = next[:len(next)-1]
		if hash == wanted {
			return true, nil
		}
		c, ok := o.get(hash)
		if !ok {
			shallow = true
			continue
		}
		for _, parent := range parents(c.bytes) {
			if !seen[parent] {
				seen[parent] = true
				next = append(next, parent)
			}
		}
	}
	if shallow {
		return false, errTooShallow
	}
	return false, nil
}

// parents reads the parents of a commit.
func parents(commit []byte) []plumbing.Hash {
	var all []plumbing.Hash
	for line := range bytes.Lines(commit) {
		word, hash, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		switch string(word) {
		case "tree":
		case "parent":
			all = append(all, plumbing.NewHash(string(hash)))
		default:
			return all
		}
	}
	return all
}

// shallow returns the commits behind some that are here whose parents are not.
func (o *objects) shallow(heads ...plumbing.Hash) []plumbing.Hash {
	var cut []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for next := slices.Clone(heads); len(next) > 0; {
		hash := next[len(next)-1]
		next = next[:len(next)-1]
		c, ok := o.get(hash)
		if !ok || seen[hash] {
			continue
		}
		seen[hash] = true
		older := parents(c.bytes)
		if slices.ContainsFunc(older, func(p plumbing.Hash) bool { return !o.has(p) }) {
			cut = append(cut, hash)
		}
		next = append(next, older...)
	}
	return cut
}
