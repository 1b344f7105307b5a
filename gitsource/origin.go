package gitsource

import (
	"bytes"
	"context"
	"fmt"
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
	Raw       []byte    // the object's content exactly as the server sent it: what a signature is about
}

// Origin returns the commit that brought the content which path has at rev, as git log finds it: through a merge, the
// commit on the merged branch. It fetches history in growing steps until it knows, and nothing where the mirror has it:
// the commit that the last fetch brought, on top of the one before it, is the common case.
func (r *Repository) Origin(ctx context.Context, rev, path string) (Commit, error) {
	all, err := r.Origins(ctx, rev, path)
	return all[path], err
}

// Origins is [Repository.Origin] for many paths, for the price of one.
func (r *Repository) Origins(ctx context.Context, rev string, paths ...string) (map[string]Commit, error) {
	op := "looking for the commit that brought " + strings.Join(paths[:min(len(paths), 3)], ", ")
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	at, err := hashOf(rev)
	if err != nil {
		return nil, r.failed(op, err)
	}
	var found map[string]Commit
	err = r.lookBack(ctx, at, paths, func(history *objects) (err error) {
		found, err = origins(history, at, paths)
		return err
	})
	if err != nil {
		return nil, r.failed(op, err)
	}
	return found, nil
}

// Contains reports whether a commit is rev or an ancestor of it. Both are full hashes. It fetches commits only, and no
// more of them than it takes.
func (r *Repository) Contains(ctx context.Context, rev, commit string) (bool, error) {
	const op = "looking for a commit in the history"
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	from, err := hashOf(rev)
	if err != nil {
		return false, r.failed(op, err)
	}
	wanted, err := hashOf(commit)
	if err != nil {
		return false, r.failed(op, err)
	}
	if from == wanted {
		return true, nil
	}
	var found bool
	err = r.lookBackOverCommits(ctx, from, func(history *objects) (err error) {
		found, err = reaches(history, from, wanted)
		return err
	})
	if err != nil {
		return false, r.failed(op, err)
	}
	return found, nil
}

func hashOf(rev string) (plumbing.Hash, error) {
	if !plumbing.IsHash(rev) || len(rev) != 40 {
		return plumbing.ZeroHash, &Error{Kind: ErrRevisionNotFound, Detail: fmt.Sprintf("%q is not the full hash of a commit", rev)}
	}
	return plumbing.NewHash(rev), nil
}

func describe(c *object.Commit, raw []byte) Commit {
	subject, _, _ := strings.Cut(c.Message, "\n")
	return Commit{
		Hash:      c.Hash.String(),
		Author:    Person{oneLine(c.Author.Name, 200), oneLine(c.Author.Email, 200)},
		Committer: Person{oneLine(c.Committer.Name, 200), oneLine(c.Committer.Email, 200)},
		Time:      c.Committer.When,
		Subject:   oneLine(subject, 200),
		Raw:       bytes.Clone(raw),
	}
}
