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

// Trailers returns the values of a trailer, as the last paragraph of the commit's message has them; see
// git-interpret-trailers.
func (c Commit) Trailers(key string) []string {
	_, message, _ := bytes.Cut(c.Raw, []byte("\n\n"))
	paragraphs := bytes.Split(bytes.TrimSpace(message), []byte("\n\n"))
	var values []string
	for line := range bytes.Lines(paragraphs[len(paragraphs)-1]) {
		name, value, found := strings.Cut(string(line), ":")
		if found && strings.EqualFold(strings.TrimSpace(name), key) {
			values = append(values, oneLine(strings.TrimSpace(value), 500))
		}
	}
	return values
}

// Origin is where the content of a path came from.
type Origin struct {
	Commit // that brought it: through a merge, the one on the merged branch
	// Landed is the commit with which it came to the branch itself, along the line of first parents: the merge, or the
	// same commit.
	Landed Commit
}

// Origin returns where the content came from that path has at rev, as git log finds it. It fetches history in growing
// steps until it knows, and nothing where the mirror has it: the commit that the last fetch brought, on top of the one
// before it, is the common case.
func (r *Repository) Origin(ctx context.Context, rev, path string) (Origin, error) {
	all, err := r.Origins(ctx, rev, path)
	return all[path], err
}

// Origins is [Repository.Origin] for many paths, for the price of one.
func (r *Repository) Origins(ctx context.Context, rev string, paths ...string) (map[string]Origin, error) {
	return r.trace(ctx, "looking for the commit that brought ", rev, paths, false)
}

// Removals returns what took away paths that are not there at rev, and were there once.
func (r *Repository) Removals(ctx context.Context, rev string, paths ...string) (map[string]Origin, error) {
	return r.trace(ctx, "looking for the commit that removed ", rev, paths, true)
}

func (r *Repository) trace(ctx context.Context, what, rev string, paths []string, removed bool) (map[string]Origin, error) {
	op := what + strings.Join(paths[:min(len(paths), 3)], ", ")
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	at, err := hashOf(rev)
	if err != nil {
		return nil, r.failed(op, err)
	}
	var found map[string]Origin
	err = r.lookBack(ctx, at, paths, func(history *objects) (err error) {
		found, err = origins(history, at, paths, removed)
		return err
	})
	if err != nil {
		return nil, r.failed(op, err)
	}
	return found, nil
}

// maxBetween bounds how many commits [Repository.Between] returns.
const maxBetween = 10_000

// Between returns the commits from rev back to another one, without it, the newest first and 10,000 at most; none where
// the other one is not behind rev. It fetches commits only, and no more of them than it takes.
func (r *Repository) Between(ctx context.Context, rev, since string) ([]Commit, error) {
	const op = "reading the commits since another one"
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	from, err := hashOf(rev)
	if err != nil {
		return nil, r.failed(op, err)
	}
	to, err := hashOf(since)
	if err != nil {
		return nil, r.failed(op, err)
	}
	var list []Commit
	err = r.lookBackOverCommits(ctx, from, func(history *objects) (err error) {
		list, err = between(history, from, to, maxBetween)
		return err
	})
	if err != nil {
		return nil, r.failed(op, err)
	}
	return list, nil
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
