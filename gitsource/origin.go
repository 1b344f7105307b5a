package gitsource

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
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
	found, err := r.lookBack(ctx, at, paths, removed)
	if err != nil {
		return nil, r.failed(op, err)
	}
	return found, nil
}

// lookBack finds the origins in the mirror, if it can, or fetches what it takes.
func (r *Repository) lookBack(ctx context.Context, rev plumbing.Hash, paths []string, removed bool) (found map[string]Origin, err error) {
	m := r.mirror.Load()
	if m == nil || !m.objects.has(rev) {
		if m, err = r.latest(ctx, paths); err != nil {
			return nil, err
		}
	}
	here := newTracing(rev, paths, removed)
	if lacks, err := here.advance(stored{store: m.objects}); err != nil {
		return nil, err
	} else if lacks == nil {
		return here.origins(m.objects)
	}
	err = r.read(ctx, func(by reader) (err error) {
		found, err = by.origins(ctx, m, rev, paths, removed)
		return err
	})
	return found, err
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
	list, _, err := r.since(ctx, from, to)
	if err != nil {
		return nil, r.failed(op, err)
	}
	return list, nil
}

// since returns the commits from rev back to another one, and whether that is behind it.
func (r *Repository) since(ctx context.Context, rev, other plumbing.Hash) (list []Commit, is bool, err error) {
	err = r.read(ctx, func(by reader) (err error) {
		list, is, err = by.between(ctx, rev, other)
		return err
	})
	return list, is, err
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
	if m := r.mirror.Load(); m != nil {
		if all, _ := behind(stored{store: m.objects}, from); all[wanted] {
			return true, nil
		}
	}
	_, is, err := r.since(ctx, from, wanted)
	if err != nil {
		return false, r.failed(op, err)
	}
	return is, nil
}

func hashOf(rev string) (plumbing.Hash, error) {
	if !plumbing.IsHash(rev) || len(rev) != 40 {
		return plumbing.ZeroHash, &Error{Kind: ErrRevisionNotFound, Detail: fmt.Sprintf("%q is not the full hash of a commit", rev)}
	}
	return plumbing.NewHash(rev), nil
}
