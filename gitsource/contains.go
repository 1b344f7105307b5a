package gitsource

import (
	"context"
	"errors"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Contains reports whether commit is rev or an ancestor of it. It fetches history in growing steps until it knows.
func (r *Repository) Contains(ctx context.Context, rev, commit string) (bool, error) {
	const op = "looking for a commit in the history"
	if rev == commit {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	for _, depth := range []int{10, 100, 1000, 0} {
		history, err := r.clone(ctx, depth, 0)
		if err != nil {
			return false, r.failed(op, err)
		}
		found, err := history.reaches(plumbing.NewHash(rev), plumbing.NewHash(commit))
		if errors.Is(err, errTooShallow) {
			continue
		}
		if err != nil {
			return false, r.failed(op, err)
		}
		return found, nil
	}
	return false, r.failed(op, &Error{Kind: ErrRevisionNotFound, Detail: rev})
}

// reaches walks from a commit to its ancestors until it meets another.
func (c *clone) reaches(from, to plumbing.Hash) (bool, error) {
	seen := map[plumbing.Hash]bool{from: true}
	cut := false
	for queue := []plumbing.Hash{from}; len(queue) > 0; queue = queue[1:] {
		if queue[0] == to {
			return true, nil
		}
		at, err := object.GetCommit(c.objects, queue[0])
		switch {
		case errors.Is(err, plumbing.ErrObjectNotFound):
			cut = true // behind what was fetched
			continue
		case err != nil:
			return false, err
		}
		for _, parent := range at.ParentHashes {
			if !seen[parent] {
				seen[parent] = true
				queue = append(queue, parent)
			}
		}
	}
	if cut && len(c.shallow) > 0 {
		return false, errTooShallow
	}
	return false, nil
}
