package gitsource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitrota/gitrota/gitsource/protocol"
)

// partial reads what is needed, by whatever means the server has to leave something out.
type partial struct{ r *Repository }

func (p partial) tip(ctx context.Context) (tip plumbing.Hash, err error) {
	err = p.r.upload(ctx, func(u *upload, _ bool) (err error) {
		tip, err = u.tip(ctx)
		return err
	})
	return tip, err
}

// maxHistory is how many bytes of commits and folders there may be in one pack of history.
const maxHistory = 48 << 20

// errWhole says that the server does not leave out what it would have to.
var errWhole = errors.New("the server has no history without folders, or folders by their names")

func (p partial) origins(ctx context.Context, m *mirror, rev plumbing.Hash, paths []string, removed bool) (found map[string]Origin, err error) {
	if rev != m.head && rev != m.before {
		if _, is, err := p.between(ctx, m.head, rev); err != nil || !is {
			return nil, cmp.Or[error](err, &Error{Kind: ErrRevisionNotFound, Detail: rev.String()})
		}
	}
	err = p.r.upload(ctx, func(u *upload, _ bool) error {
		if !u.leavesOut() {
			return errWhole
		}
		g, t := newGathered(u, rev, m.objects), newTracing(rev, paths, removed)
		err := g.follow(ctx, t)
		if err == nil {
			err = g.tell(ctx, t.commits())
		}
		var refused *Error
		if errors.As(err, &refused) && refused.Kind == ErrRejected || !u.leavesOut() {
			return errWhole
		}
		if err == nil {
			found, err = t.origins(g.words)
		}
		return err
	})
	if errors.Is(err, errWhole) {
		return p.deepOrigins(ctx, m, rev, paths, removed)
	}
	return found, err
}

var depths = []int{2, 10, 100, 1000, protocol.Unlimited}

// deepOrigins finds origins at a server that sends every folder of every commit.
func (p partial) deepOrigins(ctx context.Context, m *mirror, rev plumbing.Hash, paths []string, removed bool) (map[string]Origin, error) {
	for _, depth := range depths {
		known, err := p.history(ctx, protocol.Fetch{Wants: []plumbing.Hash{m.head}, Depth: depth, Filter: noBlobs})
		if errors.Is(err, ErrTooLarge) {
			return nil, &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("what brought %s lies so far back that all folders of all commits since "+
				"then are too much to read, and the server leaves none of them out: let it speak version 2 of Git's protocol and serve "+
				"partial clones (uploadpack.allowFilter=true), or commit the files anew", strings.Join(paths[:min(len(paths), 3)], ", "))}
		}
		if err != nil {
			return nil, err
		}
		t := newTracing(rev, paths, removed)
		lacks, err := t.advance(known)
		switch {
		case err != nil:
			return nil, err
		case lacks == nil:
			return t.origins(known)
		}
		if _, is := known.commit(rev); depth == protocol.Unlimited && !is {
			return nil, &Error{Kind: ErrRevisionNotFound, Detail: rev.String()}
		}
	}
	return nil, errors.New("the server did not send the whole history")
}

// between asks for what is behind one commit and not behind the other. A server that does not have the other one would
// send all of the history, so it is asked in a way that lets it say so.
func (p partial) between(ctx context.Context, rev, since plumbing.Hash) ([]Commit, bool, error) {
	what := protocol.Fetch{Wants: []plumbing.Hash{rev}, Haves: []plumbing.Hash{since}, Filter: noTrees, Open: true}
	known, err := p.history(ctx, what)
	var without *protocol.NoPack
	if errors.As(err, &without) {
		if !slices.Contains(without.Common, since) {
			return nil, false, nil
		}
		what.Open = false
		known, err = p.history(ctx, what)
	}
	var refused *Error
	switch {
	case errors.As(err, &refused) && refused.Kind == ErrRejected && strings.Contains(refused.Server, rev.String()):
		return nil, false, &Error{Kind: ErrRevisionNotFound, Detail: rev.String(), Server: refused.Server}
	case err != nil:
		return nil, false, err
	}
	return known.between(rev, since) // a server that sends nothing says that rev is behind since
}

// history fetches commits, and folders unless they are filtered out. A server with an older version of the protocol is
// asked for the branch, whatever is wanted.
func (p partial) history(ctx context.Context, what protocol.Fetch) (stored, error) {
	var known stored
	var noPack *protocol.NoPack
	err := p.r.upload(ctx, func(u *upload, _ bool) error {
		into := &packReader{into: newObjects(nil), maxBytes: maxHistory}
		known = stored{store: into.into}
		if u.v2() != nil {
			err := u.fetch(ctx, what, into)
			if without := (*protocol.NoPack)(nil); errors.As(err, &without) {
				noPack = without // which is an answer, and no reason to ask anew
				return nil
			}
			if what.Depth == 0 || what.Depth == protocol.Unlimited || err != nil {
				known.roots = rootsOf(u.shallow)
				return err
			}
			known.roots, known.open, err = cutOff(known, what.Wants, u.shallow, what.Depth)
			return err
		}
		tip, err := u.tip(ctx)
		if err != nil {
			return err
		}
		if what.Depth == protocol.Unlimited {
			what.Depth = 0
		}
		known.roots = rootsOf(u.talk.greeting().refs.Shallows)
		if err := u.fetchOlder(ctx, tip, what.Depth, func() string { return u.filter(what.Filter) }, into); err != nil {
			return err
		}
		if _, is := known.commit(what.Wants[0]); !is && what.Depth == 0 {
			return &Error{Kind: ErrRevisionNotFound, Detail: what.Wants[0].String()}
		}
		return nil
	})
	if err == nil && noPack != nil {
		err = noPack
	}
	return known, err
}
