package gitsource

import (
	"errors"
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

// list returns the commits, the newest first, and most of them.
func list(from store, commits map[plumbing.Hash]bool, most int) ([]Commit, error) {
	type dated struct {
		hash plumbing.Hash
		node
	}
	var all []dated
	for hash := range commits {
		n, ok := stored{store: from}.commit(hash)
		if !ok {
			return nil, errors.New("a commit of the history is missing or cannot be read")
		}
		all = append(all, dated{hash, n})
	}
	slices.SortFunc(all, func(a, b dated) int {
		if a.when != b.when {
			return int(max(-1, min(1, b.when-a.when)))
		}
		return slices.Compare(a.hash[:], b.hash[:])
	})
	var words []Commit
	for _, c := range all[:min(len(all), most)] {
		raw, _ := from.get(c.hash)
		words = append(words, describe(c.hash, raw.bytes))
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
