package gitsource

import (
	"bytes"
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
