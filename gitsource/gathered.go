package gitsource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitrota/gitrota/gitsource/protocol"
)

// What looking back may take, so that neither a long history nor a large folder fills the memory.
const (
	maxCommits = 300_000 // of which a node each is kept
	maxLooked  = 8 << 20 // bytes of folders that are asked for at once, as far as can be told beforehand
	maxWants   = 4000    // objects that are asked for at once, which is 200 KB of request
	maxTold    = 1 << 20 // bytes of commits that are kept whole, to be told of
)

// gathered is what is known of the history behind a commit: first the commits alone, without folders, then folders by
// their names, but only where something that is looked for can have changed, and level by level.
type gathered struct {
	u     *upload
	rev   plumbing.Hash
	nodes map[plumbing.Hash]node
	open  map[plumbing.Hash]bool // commits whose parents were not asked for, or are nowhere
	depth int                    // of the last fetch of commits
	words *objects               // the first commits, as they are
	said  int                    // bytes of them

	below   *objects // what is here in any case
	trees   *objects // folders, on top of that
	bytes   int      // of the folders
	seen    int      // folders in all, and their bytes
	weight  int
	batch   int // how many are asked for next
	cleared int // how far the tracing was when folders were dropped last
}

func newGathered(u *upload, rev plumbing.Hash, here *objects) *gathered {
	return &gathered{
		u: u, rev: rev, nodes: map[plumbing.Hash]node{}, open: map[plumbing.Hash]bool{}, words: newObjects(here),
		below: here, trees: newObjects(here), batch: 32,
	}
}

func (g *gathered) commit(hash plumbing.Hash) (node, bool) {
	n, ok := g.nodes[hash]
	n.open = g.open[hash]
	return n, ok
}

func (g *gathered) tree(hash plumbing.Hash) ([]byte, bool) { return stored{store: g.trees}.tree(hash) }

// follow goes back with a tracing until it is at its end.
func (g *gathered) follow(ctx context.Context, t *tracing) error {
	for {
		lacks, err := t.advance(g)
		switch {
		case err != nil || lacks == nil:
			return err
		case lacks.history:
			err = g.deepen(ctx)
		default:
			err = g.look(ctx, t, lacks.trees)
		}
		if err != nil {
			return err
		}
	}
}

// deepen fetches more commits.
func (g *gathered) deepen(ctx context.Context) error {
	wants, depth := []plumbing.Hash{g.rev}, 10
	if len(g.nodes) > 0 {
		if wants, depth = g.ends(), min(10*g.depth, maxWants); len(wants) == 0 {
			return errors.New("the server did not send the whole history")
		}
	}
	if len(g.nodes) > maxCommits {
		return &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("what is looked for lies more than %d commits back: "+
			"commit the file anew", maxCommits)}
	}
	for {
		into := &packReader{into: newObjects(nil), maxBytes: maxHistory}
		err := g.u.fetch(ctx, protocol.Fetch{Wants: wants, Depth: depth, Filter: noTrees}, into)
		if errors.Is(err, ErrTooLarge) && depth > 2 {
			depth /= 2
			if err = g.u.again(ctx); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		g.depth = depth
		return g.take(into.into, wants)
	}
}

// ends returns the commits at which history goes on.
func (g *gathered) ends() []plumbing.Hash {
	return slices.SortedFunc(maps.Keys(g.open), func(a, b plumbing.Hash) int { return slices.Compare(a[:], b[:]) })
}

// take takes over commits that were fetched.
func (g *gathered) take(fetched *objects, wants []plumbing.Hash) error {
	size := 0
	fresh := rootsOf(wants)
	for hash, c := range fetched.own {
		if c.kind != plumbing.CommitObject {
			continue // a server that does not leave out folders; it is seen elsewhere
		}
		n, err := readNode(c.bytes)
		if err != nil {
			return fmt.Errorf("reading the commit %s: %w", hash, err)
		}
		if _, known := g.nodes[hash]; !known {
			g.nodes[hash], fresh[hash] = n, true
		}
		size += len(c.bytes)
	}
	if g.said += size; g.said <= maxTold {
		g.words.copy(fetched, slices.Collect(maps.Keys(fetched.own))...)
	}
	roots, open, err := cutOff(g, wants, g.u.shallow, g.depth)
	if err != nil {
		return err
	}
	clear(g.open)
	for hash, is := range open {
		if is && fresh[hash] { // what an older one's parents are is known from before
			g.open[hash] = true
		}
	}
	for hash := range roots {
		n := g.nodes[hash]
		n.parents = nil
		g.nodes[hash] = n
	}
	return nil
}

// look fetches folders that a tracing lacks, and those that it will probably lack next. Folders that it has passed are
// dropped when there are many.
func (g *gathered) look(ctx context.Context, t *tracing, lacks []plumbing.Hash) error {
	if g.bytes > maxLooked && t.passed > g.cleared {
		g.trees, g.bytes, g.cleared = newObjects(g.below), 0, t.passed
	}
	wants := t.ahead(g, max(g.batch, len(lacks)))
	before := len(g.trees.own)
	into := &packReader{into: g.trees, maxBytes: maxHistory}
	if err := g.u.fetch(ctx, protocol.Fetch{Wants: wants, Filter: noTrees}, into); err != nil {
		return err
	}
	// Of a folder and another one in it that are both asked for, git leaves out the second one. It is asked for again.
	arrived := len(g.trees.own) - before
	if arrived == 0 {
		return fmt.Errorf("the server did not send the folder %s", lacks[0])
	}
	for _, hash := range wants {
		tree, _ := g.tree(hash)
		g.bytes, g.weight = g.bytes+len(tree), g.weight+len(tree)
	}
	g.seen += arrived
	g.batch = max(1, min(4*g.batch, maxLooked/max(1, g.weight/g.seen), maxWants))
	return nil
}

// tell fetches the commits that are to be told of, where they are not here.
func (g *gathered) tell(ctx context.Context, commits []plumbing.Hash) error {
	missing := slices.DeleteFunc(commits, g.words.has)
	for some := range slices.Chunk(missing, maxWants) {
		into := &packReader{into: g.words, maxBytes: maxHistory}
		if err := g.u.fetch(ctx, protocol.Fetch{Wants: some, Depth: 1, Filter: noTrees}, into); err != nil {
			return err
		}
	}
	return nil
}
