package gitsource

import (
	"github.com/go-git/go-git/v5/plumbing"
)

// past is what is known of the history.
type past interface {
	// commit returns a commit, and false where it is not known. It has no parents where history begins with it.
	commit(plumbing.Hash) (node, bool)
	// tree returns the content of a folder, and false where it is not known.
	tree(plumbing.Hash) ([]byte, bool)
}

// store gives out objects by their names.
type store interface {
	get(plumbing.Hash) (content, bool)
}

// stored is what objects tell of the history.
type stored struct {
	store
	// roots are commits whose parents nobody has: those at which the server's own history is cut off.
	roots map[plumbing.Hash]bool
}

func (s stored) commit(hash plumbing.Hash) (node, bool) {
	c, ok := s.get(hash)
	if !ok || c.kind != plumbing.CommitObject {
		return node{}, false
	}
	n, err := readNode(c.bytes)
	if s.roots[hash] {
		n.parents = nil
	}
	return n, err == nil
}

func (s stored) tree(hash plumbing.Hash) ([]byte, bool) {
	c, ok := s.get(hash)
	return c.bytes, ok && c.kind == plumbing.TreeObject
}

func rootsOf(hashes []plumbing.Hash) map[plumbing.Hash]bool {
	roots := make(map[plumbing.Hash]bool, len(hashes))
	for _, hash := range hashes {
		roots[hash] = true
	}
	return roots
}
