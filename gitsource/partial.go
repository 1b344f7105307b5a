package gitsource

import (
	"context"
	"errors"
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

// maxHistory is how many bytes of commits and folders are looked at at once to find something in the history.
const maxHistory = 48 << 20

var depths = []int{2, 10, 100, 1000, protocol.Unlimited}

func (p partial) origins(ctx context.Context, m *mirror, rev plumbing.Hash, paths []string, removed bool) (map[string]Origin, error) {
	for _, depth := range depths {
		known, err := p.history(ctx, protocol.Fetch{Wants: []plumbing.Hash{m.head}, Depth: depth, Filter: noBlobs})
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

func (p partial) between(ctx context.Context, rev, since plumbing.Hash) ([]Commit, bool, error) {
	known, err := p.history(ctx, protocol.Fetch{Wants: []plumbing.Hash{rev}, Haves: []plumbing.Hash{since}, Filter: noTrees})
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
	err := p.r.upload(ctx, func(u *upload, _ bool) error {
		into := &packReader{into: newObjects(nil), maxBytes: maxHistory}
		known = stored{store: into.into}
		if u.v2() != nil {
			err := u.fetch(ctx, what, into)
			if what.Depth == 0 || what.Depth == protocol.Unlimited {
				known.roots = rootsOf(u.shallow)
			}
			return err
		}
		tip, err := u.tip(ctx)
		if err != nil {
			return err
		}
		if what.Depth == protocol.Unlimited {
			what.Depth = 0
		}
		if what.Depth == 0 {
			known.roots = rootsOf(u.talk.greeting().refs.Shallows)
		}
		if err := u.fetchOlder(ctx, tip, what.Depth, what.Filter, into); err != nil {
			return err
		}
		if _, is := known.commit(what.Wants[0]); !is && known.roots != nil {
			return &Error{Kind: ErrRevisionNotFound, Detail: what.Wants[0].String()}
		}
		return nil
	})
	return known, err
}
