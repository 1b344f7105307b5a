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

// origins finds where the content came from that each path has at rev, or with removed, which no path may be there for,
// what took it away. All paths go back together, from parent to parent, and only what differs between two trees is looked
// at.
func origins(o *objects, rev plumbing.Hash, paths []string, removed bool) (map[string]Origin, error) {
	if !o.has(rev) {
		return nil, errTooShallow
	}
	start, err := o.commit(rev)
	if err != nil {
		return nil, err
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(paths)))
	// What is not there is no different from nothing.
	switch absent, present, err := o.compare(start.TreeHash, plumbing.ZeroHash, "", sorted); {
	case err != nil:
		return nil, err
	case len(absent) > 0 && !removed:
		return nil, &Error{Kind: ErrFileNotFound, Detail: fmt.Sprintf("%q at %s", absent[0], rev)}
	case len(present) > 0 && removed:
		return nil, fmt.Errorf("%q is there at %s, and was not removed", present[0], rev)
	}
	found := map[string]Origin{}
	landed := map[string]Commit{} // of paths that have left the line of first parents
	active := map[plumbing.Hash]*trail{rev: {start, sorted}}
	for len(active) > 0 {
		// The newest first, so that paths that took different ways through a merge meet again before they go on.
		at := newest(active)
		delete(active, at.commit.Hash)
		left := at.paths
		raw, _ := o.get(at.commit.Hash)
		own := describe(at.commit, raw.bytes)
		for i, hash := range at.commit.ParentHashes {
			if !o.has(hash) {
				return nil, errTooShallow
			}
			parent, err := o.commit(hash)
			if err != nil {
				return nil, err
			}
			from, to := at.commit.TreeHash, parent.TreeHash
			if removed {
				from, to = to, from // nothing, as long as the parent has nothing either
			}
			same, other, err := o.compare(from, to, "", left)
			if err != nil {
				return nil, err
			}
			for _, path := range same {
				if _, left := landed[path]; i > 0 && !left {
					landed[path] = own
				}
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
		for _, path := range left {
			origin := Origin{Commit: own, Landed: own}
			if merge, ok := landed[path]; ok {
				origin.Landed = merge
			}
			found[path] = origin
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

// between lists the commits from rev back to another one, without it, the newest first and most of them. What was not
// fetched, because it lies behind the other one, is left out.
func between(o *objects, rev, since plumbing.Hash, most int) ([]Commit, error) {
	if reached, err := reaches(o, rev, since); err != nil || !reached {
		return nil, err
	}
	var list []Commit
	seen := map[plumbing.Hash]bool{rev: true, since: true}
	for next := []plumbing.Hash{rev}; len(next) > 0 && len(list) < most; {
		hash := next[0]
		next = next[1:]
		raw, here := o.get(hash)
		if !here || hash == since {
			continue
		}
		c, err := o.commit(hash)
		if err != nil {
			return nil, err
		}
		list = append(list, describe(c, raw.bytes))
		for _, parent := range c.ParentHashes {
			if !seen[parent] {
				seen[parent] = true
				next = append(next, parent)
			}
		}
	}
	return list, nil
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
