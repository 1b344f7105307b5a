package gitsource

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// tracing finds where the content came from that each path has at a commit, or with removed, which no path may be there
// for, what took it away. All paths go back together, from parent to parent, along the first one that has the same, as
// git log does. It goes as far as what is known of the history leads, and goes on from there when more is.
type tracing struct {
	rev     plumbing.Hash
	removed bool
	paths   []string // sorted
	begun   bool
	active  map[plumbing.Hash]*trail
	landed  map[string]plumbing.Hash // of paths that have left the line of first parents
	found   map[string]source
	passed  int // commits
}

// source is a commit that brought something, and the one with which it came to the branch.
type source struct{ brought, landed plumbing.Hash }

// trail is a commit to be looked at, and the paths, sorted, whose content has come from there or from behind it.
type trail struct {
	when  int64 // of the commit
	paths []string
}

// need is what has to be known before a tracing can go on.
type need struct {
	history bool            // the parents of a commit
	trees   []plumbing.Hash // folders
}

func newTracing(rev plumbing.Hash, paths []string, removed bool) *tracing {
	return &tracing{
		rev: rev, removed: removed, paths: slices.Compact(slices.Sorted(slices.Values(paths))),
		active: map[plumbing.Hash]*trail{}, landed: map[string]plumbing.Hash{}, found: map[string]source{},
	}
}

// advance goes on until everything is found, and then returns nil, or until it needs something.
func (t *tracing) advance(known past) (*need, error) {
	if !t.begun {
		if lacks, err := t.begin(known); lacks != nil || err != nil {
			return lacks, err
		}
	}
	for len(t.active) > 0 {
		at := t.newest()
		step, lacks, err := t.step(known, at)
		if lacks != nil || err != nil {
			return lacks, err
		}
		t.take(known, at, step)
	}
	return nil, nil
}

// begin makes sure that the paths are there, or are not.
func (t *tracing) begin(known past) (*need, error) {
	start, ok := known.commit(t.rev)
	if !ok {
		return &need{history: true}, nil
	}
	// What is not there is no different from nothing.
	c := comparison{known: known}
	present := c.differing(start.tree, plumbing.ZeroHash, "", t.paths)
	if c.err != nil || len(c.missing) > 0 {
		return &need{trees: c.missing}, c.err
	}
	slices.Sort(present)
	switch absent := without(t.paths, present); {
	case len(absent) > 0 && !t.removed:
		return nil, &Error{Kind: ErrFileNotFound, Detail: fmt.Sprintf("%q at %s", absent[0], t.rev)}
	case len(present) > 0 && t.removed:
		return nil, fmt.Errorf("%q is there at %s, and was not removed", present[0], t.rev)
	}
	t.begun = true
	if len(t.paths) > 0 {
		t.active[t.rev] = &trail{start.when, t.paths}
	}
	return nil, nil
}

// step is where paths have come from that are at a commit.
type step struct {
	parents []plumbing.Hash // of the commit
	same    [][]string      // for each parent, the paths that have come from it
	left    []string        // those that the commit itself has brought
}

// step looks where the paths of a trail have come from. Nothing is changed by it.
func (t *tracing) step(known past, own plumbing.Hash) (s step, lacks *need, err error) {
	at, ok := known.commit(own)
	s.parents, s.left = at.parents, t.active[own].paths
	if !ok || at.open {
		return s, &need{history: true}, nil
	}
	for _, hash := range at.parents {
		parent, ok := known.commit(hash)
		if !ok {
			return s, &need{history: true}, nil
		}
		from, to := at.tree, parent.tree
		if t.removed {
			from, to = to, from // nothing, as long as the parent has nothing either
		}
		c := comparison{known: known}
		other := c.differing(from, to, "", s.left)
		if c.err != nil || len(c.missing) > 0 {
			return s, &need{trees: c.missing}, c.err
		}
		slices.Sort(other)
		s.same = append(s.same, without(s.left, other))
		if s.left = other; len(other) == 0 {
			break
		}
	}
	return s, nil, nil
}

// take goes from a commit to its parents.
func (t *tracing) take(known past, own plumbing.Hash, s step) {
	delete(t.active, own)
	t.passed++
	for i, same := range s.same {
		for _, path := range same {
			if _, left := t.landed[path]; i > 0 && !left {
				t.landed[path] = own
			}
		}
		if hash := s.parents[i]; len(same) > 0 {
			if t.active[hash] == nil {
				parent, _ := known.commit(hash)
				t.active[hash] = &trail{when: parent.when}
			}
			merged := append(slices.Clone(t.active[hash].paths), same...)
			slices.Sort(merged)
			t.active[hash].paths = slices.Compact(merged)
		}
	}
	for _, path := range s.left {
		origin := source{brought: own, landed: own}
		if merge, ok := t.landed[path]; ok {
			origin.landed = merge
		}
		t.found[path] = origin
	}
}

// newest returns the newest of the commits to be looked at, so that paths that took different ways through a merge meet
// again before they go on.
func (t *tracing) newest() plumbing.Hash {
	var best plumbing.Hash
	for hash, at := range t.active {
		if last := t.active[best]; last == nil || at.when > last.when || at.when == last.when && bytes.Compare(hash[:], best[:]) > 0 {
			best = hash
		}
	}
	return best
}

// ahead returns folders that are not known, and that will be needed if they tell of no change, most of them or a few
// more. Those that are needed next are among them.
func (t *tracing) ahead(known past, most int) []plumbing.Hash {
	guess := newTracing(t.rev, t.paths, t.removed)
	if !t.begun {
		if lacks, _ := guess.begin(known); lacks != nil {
			return lacks.trees
		}
	}
	for hash, at := range t.active {
		guess.active[hash] = &trail{at.when, at.paths}
	}
	wanted := map[plumbing.Hash]bool{}
	for len(guess.active) > 0 && len(wanted) < most {
		at := guess.newest()
		s, lacks, err := guess.step(known, at)
		if err != nil || lacks != nil && lacks.history {
			delete(guess.active, at)
			continue
		}
		if lacks != nil {
			for _, hash := range lacks.trees {
				wanted[hash] = true
			}
			s.same, s.left = append(s.same, s.left), nil
		}
		guess.take(known, at, s)
	}
	return slices.SortedFunc(maps.Keys(wanted), func(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) })
}

// commits returns those that were found, each once.
func (t *tracing) commits() []plumbing.Hash {
	all := map[plumbing.Hash]bool{}
	for _, s := range t.found {
		all[s.brought], all[s.landed] = true, true
	}
	return slices.Collect(maps.Keys(all))
}

// origins tells in words what was found.
func (t *tracing) origins(from store) (map[string]Origin, error) {
	words := map[plumbing.Hash]Commit{}
	for _, hash := range t.commits() {
		raw, ok := from.get(hash)
		if !ok {
			return nil, fmt.Errorf("the commit %s is missing", hash)
		}
		words[hash] = describe(hash, raw.bytes)
	}
	origins := make(map[string]Origin, len(t.found))
	for path, s := range t.found {
		origins[path] = Origin{Commit: words[s.brought], Landed: words[s.landed]}
	}
	return origins, nil
}

// without returns what is in the first of two sorted lists and not in the second.
func without(all, some []string) []string {
	if len(some) == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool {
		_, is := slices.BinarySearch(some, one)
		return is
	})
}
