package audit

import (
	"errors"

	"github.com/go-git/go-git/v5/plumbing"
)

// Objects are Git's objects by their names. The content of an object is checked against its name.
type Objects interface {
	Object(kind plumbing.ObjectType, hash Hash) ([]byte, error)
}

// history is every commit behind some tips. Commits are numbered, parents before children.
type history struct {
	trees
	numbers map[Hash]int
	nodes   []node
}

// node is a commit, as far as it is kept.
type node struct {
	hash       Hash
	tree       Hash
	parents    []int
	generation int // the longest way to a commit without parents
}

// load reads the history behind the tips. Whatever of it is missing is an error: it might be what matters.
func load(objects Objects, tips ...Hash) (*history, error) {
	h := &history{trees: trees{objects}, numbers: map[Hash]int{}}
	type visit struct {
		hash Hash
		tree Hash
		left []Hash // the parents, those first that were not visited yet
		all  []Hash
	}
	var stack []visit
	begun := map[Hash]bool{}
	enter := func(hash Hash) error {
		if begun[hash] {
			return nil
		}
		begun[hash] = true
		c, err := h.commit(hash)
		if err != nil {
			return err
		}
		stack = append(stack, visit{hash: hash, tree: c.tree, left: c.parents, all: c.parents})
		return nil
	}
	for _, tip := range tips {
		if err := enter(tip); err != nil {
			return nil, err
		}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.left) > 0 {
				parent := top.left[0]
				top.left = top.left[1:]
				if err := enter(parent); err != nil {
					return nil, err
				}
				continue
			}
			h.add(top.hash, top.tree, top.all)
			stack = stack[:len(stack)-1]
		}
	}
	return h, nil
}

func (h *history) add(hash, tree Hash, parents []Hash) {
	n := node{hash: hash, tree: tree}
	for _, parent := range parents {
		number := h.numbers[parent]
		n.parents = append(n.parents, number)
		n.generation = max(n.generation, h.nodes[number].generation+1)
	}
	h.numbers[hash] = len(h.nodes)
	h.nodes = append(h.nodes, n)
}

// commit reads one commit.
func (h *history) commit(hash Hash) (commit, error) {
	raw, err := h.objects.Object(plumbing.CommitObject, hash)
	if err != nil {
		return commit{}, err
	}
	c, err := parseCommit(raw)
	if err != nil {
		return commit{}, &Break{Reason: Malformed, Commit: hash.String(), Message: err.Error()}
	}
	return c, nil
}

// contains reports whether ancestor is at or behind the commit. -1 is behind every commit.
func (h *history) contains(at, ancestor int) bool {
	if ancestor < 0 {
		return true
	}
	if at < 0 {
		return false
	}
	lowest := h.nodes[ancestor].generation
	seen := map[int]bool{}
	for todo := []int{at}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if n == ancestor {
			return true
		}
		if h.nodes[n].generation <= lowest || seen[n] {
			continue
		}
		seen[n] = true
		todo = append(todo, h.nodes[n].parents...)
	}
	return false
}

// behind marks all commits that are at or behind a commit.
func (h *history) behind(at int) []bool {
	marked := make([]bool, len(h.nodes))
	marked[at] = true
	for n := at; n >= 0; n-- { // parents have lower numbers
		if marked[n] {
			for _, parent := range h.nodes[n].parents {
				marked[parent] = true
			}
		}
	}
	return marked
}

// errNoFile says that a commit has no file at a path.
var errNoFile = errors.New("there is no such file")

// fileAt returns the content of a file below a root tree.
func (h *history) fileAt(tree Hash, path string) ([]byte, error) {
	e, err := h.at(tree, path)
	if err != nil {
		return nil, err
	}
	return h.blob(e)
}

func (h *history) blob(e entry) ([]byte, error) {
	if e.mode != modeFile && e.mode != "100755" && e.mode != "100664" {
		return nil, errNoFile
	}
	return h.objects.Object(plumbing.BlobObject, e.hash)
}
