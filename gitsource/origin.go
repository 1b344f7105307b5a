package gitsource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Commit is who changed something, when, and in which words.
type Commit struct {
	Hash      string
	Author    Person
	Committer Person
	Time      time.Time // when it was committed
	Subject   string    // first line of the message
}

// Origin returns the commit that brought the content which path has at rev, as git log finds it: through a merge, the
// commit on the merged branch. It fetches history in growing steps until it knows.
func (r *Repository) Origin(ctx context.Context, rev, path string) (Commit, error) {
	all, err := r.Origins(ctx, rev, path)
	return all[path], err
}

// Origins is [Repository.Origin] for many paths, for the price of one.
func (r *Repository) Origins(ctx context.Context, rev string, paths ...string) (map[string]Commit, error) {
	op := "looking for the commit that brought " + strings.Join(paths[:min(len(paths), 3)], ", ")
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	for _, depth := range []int{10, 100, 1000, 0} {
		history, err := r.clone(ctx, depth, 0)
		if err != nil {
			return nil, r.failed(op, err)
		}
		found, err := history.origins(rev, paths)
		if errors.Is(err, errTooShallow) && len(history.shallow) > 0 {
			continue
		}
		if err != nil {
			return nil, r.failed(op, err)
		}
		return found, nil
	}
	return nil, r.failed(op, &Error{Kind: ErrRevisionNotFound, Detail: rev})
}

// errTooShallow says that the answer lies behind what was fetched.
var errTooShallow = errors.New("more history is needed")

func (c *clone) origins(rev string, paths []string) (map[string]Commit, error) {
	start, err := object.GetCommit(c.objects, plumbing.NewHash(rev))
	if err != nil {
		if len(c.shallow) > 0 {
			return nil, errTooShallow
		}
		return nil, &Error{Kind: ErrRevisionNotFound, Detail: rev}
	}
	found := map[string]Commit{}
	for _, path := range paths {
		content, err := blobAt(start, path)
		if err != nil {
			return nil, err
		}
		if content.IsZero() {
			return nil, &Error{Kind: ErrFileNotFound, Detail: fmt.Sprintf("%q at %s", path, rev)}
		}
		if found[path], err = c.origin(start, path, content); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// origin follows the content back, from parent to parent, until a commit whose parents do not have it.
func (c *clone) origin(at *object.Commit, path string, content plumbing.Hash) (Commit, error) {
	for {
		if slices.Contains(c.shallow, at.Hash) {
			return Commit{}, errTooShallow
		}
		var older *object.Commit
		for _, hash := range at.ParentHashes {
			parent, err := object.GetCommit(c.objects, hash)
			if err != nil {
				return Commit{}, fmt.Errorf("reading the commit %s: %w", hash, err)
			}
			had, err := blobAt(parent, path)
			if err != nil {
				return Commit{}, err
			}
			if had == content {
				older = parent
				break
			}
		}
		if older == nil {
			return describe(at), nil
		}
		at = older
	}
}

// blobAt returns the hash of the file at path in a commit, zero when there is none. It reads trees only.
func blobAt(c *object.Commit, path string) (plumbing.Hash, error) {
	tree, err := c.Tree()
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("reading the tree of %s: %w", c.Hash, err)
	}
	entry, err := tree.FindEntry(path)
	switch {
	case errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound):
		return plumbing.ZeroHash, nil
	case err != nil:
		return plumbing.ZeroHash, fmt.Errorf("looking for %q in %s: %w", path, c.Hash, err)
	}
	return entry.Hash, nil
}

func describe(c *object.Commit) Commit {
	subject, _, _ := strings.Cut(c.Message, "\n")
	return Commit{
		Hash:      c.Hash.String(),
		Author:    Person{oneLine(c.Author.Name, 200), oneLine(c.Author.Email, 200)},
		Committer: Person{oneLine(c.Committer.Name, 200), oneLine(c.Committer.Email, 200)},
		Time:      c.Committer.When,
		Subject:   oneLine(subject, 200),
	}
}
