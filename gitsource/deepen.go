package gitsource

import (
	"context"
	"errors"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitrota/gitrota/gitsource/protocol"
)

// keptDepth is how much history may stay in memory until the branch moves.
const keptDepth = 100

// lookBack calls look with the history of the branch, further and further back until the error is not errTooShallow.
// What lies near the tip is mostly here already.
func (r *Repository) lookBack(ctx context.Context, rev plumbing.Hash, paths []string, look func(*objects) error) error {
	m := r.mirror.Load()
	if m == nil || !m.objects.has(rev) {
		var err error
		if m, err = r.latest(ctx, paths); err != nil {
			return err
		}
	}
	err := look(m.objects)
	history := m.objects
	for _, depth := range []int{2, 10, keptDepth, 1000, protocol.Unlimited} {
		if !errors.Is(err, errTooShallow) && !errors.Is(err, errNoTree) {
			break
		}
		if len(history.shallow(m.head)) == 0 && errors.Is(err, errTooShallow) {
			break
		}
		if history, err = r.deepen(ctx, m, history, depth, look); err == nil && depth <= keptDepth {
			// The next look may go there too. When the branch moves, it is dropped.
			kept := *m
			kept.objects = history
			r.mirror.CompareAndSwap(m, &kept)
		}
	}
	if errors.Is(err, errTooShallow) {
		return &Error{Kind: ErrRevisionNotFound, Detail: rev.String()}
	}
	return err
}

// deepen fetches history up to a depth, on top of what is known of it, and looks at it.
func (r *Repository) deepen(ctx context.Context, m *mirror, known *objects, depth int, look func(*objects) error) (*objects, error) {
	heads := []plumbing.Hash{m.head}
	if !m.before.IsZero() {
		heads = append(heads, m.before)
	}
	what := protocol.Fetch{
		Wants: heads[:1], Haves: heads, Shallows: known.shallow(heads...), Depth: depth, Filter: noBlobs,
		Thin: true, // without that, a server leaves out the commits that are here, but no trees
	}
	history := newObjects(known)
	err := r.history(ctx, what, history)
	if err == nil {
		err = look(history)
	}
	if errors.Is(err, errNoTree) {
		// Then the server is told of nothing that is here, and leaves out nothing.
		what.Haves, what.Shallows, what.Thin = nil, nil, false
		if err = r.history(ctx, what, history); err == nil {
			err = look(history)
		}
	}
	return history, err
}

// history fetches commits, and trees unless they are filtered out.
func (r *Repository) history(ctx context.Context, what protocol.Fetch, into *objects) error {
	return r.upload(ctx, func(u *upload, _ bool) error {
		unpacking := u.unpacking(into)
		unpacking.maxBlob, unpacking.abort = 0, false // files are passed over, whatever their size
		if u.v2() != nil {
			return u.fetch(ctx, what, unpacking)
		}
		tip, err := u.tip(ctx)
		if err != nil {
			return err
		}
		depth := what.Depth
		if depth == protocol.Unlimited {
			depth = 0
		}
		return u.fetchOlder(ctx, tip, depth, what.Filter, unpacking)
	})
}

// lookBackOverCommits is lookBack for what needs neither trees nor files. What it fetches is not kept.
func (r *Repository) lookBackOverCommits(ctx context.Context, rev plumbing.Hash, look func(*objects) error) error {
	err := errTooShallow
	if m := r.mirror.Load(); m != nil {
		err = look(m.objects)
	}
	for _, depth := range []int{100, protocol.Unlimited} {
		if !errors.Is(err, errTooShallow) {
			return err
		}
		history := newObjects(nil)
		err = r.history(ctx, protocol.Fetch{Wants: []plumbing.Hash{rev}, Depth: depth, Filter: noTrees}, history)
		var said *Error
		if errors.As(err, &said) && said.Kind == ErrRejected {
			return &Error{Kind: ErrRevisionNotFound, Detail: rev.String(), Server: said.Server}
		}
		if err == nil {
			err = look(history)
		}
	}
	if errors.Is(err, errTooShallow) {
		return &Error{Kind: ErrRevisionNotFound, Detail: rev.String()}
	}
	return err
}
