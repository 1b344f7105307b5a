package gitsource

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// behind returns everything that is known to be behind a commit, and itself. whole reports whether that is all there is.
func behind(known past, from plumbing.Hash) (all map[plumbing.Hash]bool, whole bool) {
	all, whole = map[plumbing.Hash]bool{}, true
	for next := []plumbing.Hash{from}; len(next) > 0; {
		hash := next[len(next)-1]
		next = next[:len(next)-1]
		if all[hash] {
			continue
		}
		n, ok := known.commit(hash)
		if !ok {
			whole = false
			continue
		}
		all[hash] = true
		next = append(next, n.parents...)
	}
	return all, whole
}

// list returns the commits, children before their parents and otherwise the newest first, and most of them.
func list(from store, commits map[plumbing.Hash]bool, most int) ([]Commit, error) {
	nodes, children := map[plumbing.Hash]node{}, map[plumbing.Hash]int{}
	for hash := range commits {
		n, ok := stored{store: from}.commit(hash)
		if !ok {
			return nil, errors.New("a commit of the history is missing or cannot be read")
		}
		nodes[hash] = n
		for _, parent := range n.parents {
			children[parent]++
		}
	}
	newestFirst := func(a, b plumbing.Hash) int {
		return cmp.Or(cmp.Compare(nodes[b].when, nodes[a].when), slices.Compare(a[:], b[:]))
	}
	var words []Commit
	next := slices.SortedFunc(maps.Keys(nodes), newestFirst)
	next = slices.DeleteFunc(next, func(hash plumbing.Hash) bool { return children[hash] > 0 })
	for len(next) > 0 && len(words) < most {
		hash := next[0]
		next = next[1:]
		raw, _ := from.get(hash)
		words = append(words, describe(hash, raw.bytes))
		for _, parent := range nodes[hash].parents {
			if children[parent]--; children[parent] == 0 && commits[parent] {
				at, _ := slices.BinarySearchFunc(next, parent, newestFirst)
				next = slices.Insert(next, at, parent)
			}
		}
	}
	return words, nil
}

// between lists the commits that are rev or behind it and not since or behind that, if since is behind rev. What is not
// known has to be behind since.
func (s stored) between(rev, since plumbing.Hash) ([]Commit, bool, error) {
	all, _ := behind(s, rev)
	is := all[since]
	for hash := range all {
		n, _ := s.commit(hash)
		is = is || slices.Contains(n.parents, since)
	}
	if !is || rev == since {
		return nil, is, nil
	}
	older, _ := behind(s, since)
	for hash := range older {
		delete(all, hash)
	}
	commits, err := list(s, all, maxBetween)
	return commits, true, err
}
