package gitsource

import (
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// past is what is known of the history.
type past interface {
	// commit returns a commit, and false where it is not known. It has no parents where history begins with it, and is
	// open where more has to be fetched to know that.
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
	// open are commits that may be such roots, or were as far back as was asked for.
	open map[plumbing.Hash]bool
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
	n.open = s.open[hash]
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

// cutOff tells apart the commits that a server calls shallow after a fetch of some depth: roots, which its own history
// begins with, and open ones, which lie at that depth, so that there may be more behind them. Their parents tell nothing:
// those may have been sent because something else leads to them.
func cutOff(known past, wants, shallow []plumbing.Hash, depth int) (roots, open map[plumbing.Hash]bool, err error) {
	cut, seen := rootsOf(shallow), map[plumbing.Hash]bool{}
	roots, open = map[plumbing.Hash]bool{}, map[plumbing.Hash]bool{}
	for level := 1; len(wants) > 0 && level <= depth; level++ {
		var next []plumbing.Hash
		for _, hash := range wants {
			if seen[hash] {
				continue
			}
			seen[hash] = true
			n, ok := known.commit(hash)
			switch {
			case !ok:
				return nil, nil, fmt.Errorf("the server did not send the commit %s", hash)
			case cut[hash] && level < depth:
				roots[hash] = true
			case cut[hash]:
				open[hash] = len(n.parents) > 0
			default:
				next = append(next, n.parents...)
			}
		}
		wants = next
	}
	return roots, open, nil
}
