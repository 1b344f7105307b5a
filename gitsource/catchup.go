package gitsource

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitrota/gitrota/gitsource/protocol"
)

// latest returns the mirror at the branch's tip, with dirs watched. What it does not have yet is fetched.
func (r *Repository) latest(ctx context.Context, dirs []string) (*mirror, error) {
	select {
	case r.fetching <- struct{}{}:
		defer func() { <-r.fetching }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	old := r.mirror.Load()
	var now *mirror
	err := r.read(ctx, func(by reader) (err error) {
		now, err = by.latest(ctx, old, dirs)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.mirror.Store(now)
	return now, nil
}

func (p partial) latest(ctx context.Context, old *mirror, dirs []string) (now *mirror, err error) {
	err = p.r.upload(ctx, func(u *upload, again bool) error {
		tip, err := u.tip(ctx)
		if err != nil {
			return err
		}
		if old != nil && old.head == tip && old.covers(dirs) {
			now = old
			return nil
		}
		if old != nil && !again {
			if now, err = u.catchUp(ctx, old, tip, old.watching(dirs)); err == nil || !inconsistent(ctx, err) {
				return err
			}
			// Whatever went wrong with what was kept, it does not go wrong without.
			p.r.opts.Log.Debug("fetching the branch anew", "repository", p.r.String(), "error", p.r.scrub(err.Error()))
			if err := u.again(ctx); err != nil {
				return err
			}
			if tip, err = u.tip(ctx); err != nil {
				return err
			}
		}
		now, err = u.catchUp(ctx, nil, tip, old.watching(dirs))
		return err
	})
	return now, err
}

// inconsistent reports whether an error may come from what was kept: it is not the context's, nor one with a cause
// that is known.
func inconsistent(ctx context.Context, err error) bool {
	var known *Error
	return ctx.Err() == nil && (!errors.As(err, &known) || known.Kind == ErrRejected)
}

// catchUp fetches what is missing between old, which may be nil, and the tip.
func (u *upload) catchUp(ctx context.Context, old *mirror, tip plumbing.Hash, dirs []string) (*mirror, error) {
	if old == nil {
		old = &mirror{}
	}
	next := &mirror{head: tip, before: old.head, dirs: dirs, objects: newObjects(old.objects), large: map[plumbing.Hash]bool{}}
	for hash := range old.large {
		next.large[hash] = true
	}
	if tip == old.head {
		next.before = old.before
	}
	var err error
	if u.v2() == nil {
		err = u.whole(ctx, next)
	} else {
		err = u.changes(ctx, old, next)
	}
	var known *Error
	if errors.As(err, &known) && known.Kind == ErrRejected && old.head.IsZero() && !u.filters() && !u.patient {
		// A server that leaves nothing out, and sends nothing by name either.
		u.patient = true
		if err := u.again(ctx); err != nil {
			return nil, err
		}
		return u.catchUp(ctx, nil, tip, dirs)
	}
	if err != nil {
		return nil, err
	}
	return u.r.compact(next)
}

// whole fetches everything at the tip, in an older version of the protocol.
func (u *upload) whole(ctx context.Context, next *mirror) error {
	u.patient = true
	into := u.unpacking(next)
	filter := func() string {
		if wanted := u.upToSize(); u.filter(wanted) == wanted {
			return wanted
		}
		return "" // no files at all would be too few
	}
	if err := u.fetchOlder(ctx, next.head, 1, filter, into); err != nil {
		return err
	}
	lacks, err := next.lacks()
	switch {
	case err != nil:
		return err
	case !lacks.blobsOnly() || len(lacks.blobs) > 0 && filter() == "":
		return errors.New("the server did not send all that belongs to the branch")
	}
	next.tooLarge(lacks.blobs)
	return nil
}

// changes fetches what the tip has and old does not.
func (u *upload) changes(ctx context.Context, old, next *mirror) error {
	if !next.objects.has(next.head) {
		what := protocol.Fetch{Wants: []plumbing.Hash{next.head}, Depth: 1}
		switch {
		case !old.head.IsZero():
			what.Haves, what.Shallows = []plumbing.Hash{old.head}, []plumbing.Hash{old.head}
			what.Thin, what.Filter = true, noBlobs
		case len(next.dirs) == 0:
			what.Filter = u.upToSize()
		default:
			what.Filter = noTrees
		}
		if err := u.into(ctx, what, next); err != nil {
			return err
		}
		if what.Filter == u.upToSize() && u.filter(what.Filter) == what.Filter {
			lacks, err := next.lacks()
			if err != nil {
				return err
			}
			next.tooLarge(lacks.blobs)
		}
	}
	return u.complete(ctx, next)
}

// complete fetches what is missing at the head, by name: the trees on the way to the watched folders level by level,
// then those folders with what is in them, and single files.
func (u *upload) complete(ctx context.Context, next *mirror) error {
	before := -1
	for {
		lacks, err := next.lacks()
		if err != nil {
			return err
		}
		left := len(lacks.path) + len(lacks.whole) + len(lacks.blobs)
		have := len(next.objects.own) + len(next.large)
		if left == 0 {
			return nil
		}
		if have == before && u.patient {
			return fmt.Errorf("the server did not send %d objects that belong to the branch", left)
		}
		// Nothing came before the first file that is too large: the pack has to be read behind it.
		u.patient = u.patient || have == before
		before = have
		switch {
		case len(lacks.path) > 0:
			err = u.into(ctx, protocol.Fetch{Wants: lacks.path, Filter: noTrees}, next)
		case len(lacks.whole) > 0:
			err = u.folders(ctx, lacks, next)
		default:
			err = u.blobs(ctx, lacks.blobs, next)
		}
		if err != nil {
			return err
		}
	}
}

// into fetches, and passes over the end of a pack behind a blob that is too large: complete asks for the rest. Where not
// even the commit came before that, there is nothing to go by, and the pack is read again, to its end.
func (u *upload) into(ctx context.Context, what protocol.Fetch, next *mirror) error {
	err := u.fetch(ctx, what, u.unpacking(next))
	if !errors.Is(err, errOversize) {
		return err
	}
	if err := u.again(ctx); err != nil || next.objects.has(next.head) {
		return err
	}
	u.patient = true
	return u.fetch(ctx, what, u.unpacking(next))
}

// folders fetches folders with everything in them that is not too large.
func (u *upload) folders(ctx context.Context, lacks *lacking, next *mirror) error {
	filter := u.upToSize()
	if err := u.into(ctx, protocol.Fetch{Wants: lacks.whole, Filter: filter}, next); err != nil {
		return err
	}
	if u.filter(filter) != filter {
		return nil
	}
	after, err := next.lacks()
	if err != nil {
		return err
	}
	next.tooLarge(slices.DeleteFunc(after.blobs, func(hash plumbing.Hash) bool { return slices.Contains(lacks.blobs, hash) }))
	return nil
}

// blobs fetches files by name. Nothing tells beforehand which of them are too large: where one shows, the others are
// asked for in two halves, until it is alone.
func (u *upload) blobs(ctx context.Context, wanted []plumbing.Hash, next *mirror) error {
	err := u.fetch(ctx, protocol.Fetch{Wants: wanted}, u.unpacking(next))
	if !errors.Is(err, errOversize) {
		return err
	}
	if err := u.again(ctx); err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(wanted), next.objects.has)
	if len(left) == 1 {
		next.tooLarge(left)
		return nil
	}
	for half := range slices.Chunk(left, (len(left)+1)/2) {
		if err := u.blobs(ctx, half, next); err != nil {
			return err
		}
	}
	return nil
}

func (m *mirror) tooLarge(blobs []plumbing.Hash) {
	for _, hash := range blobs {
		m.large[hash] = true
	}
}

// unpacking returns a reader of packs that stops at blobs that are too large.
func (u *upload) unpacking(into *mirror) *packReader {
	return &packReader{
		into: into.objects, large: into.large, maxBlob: u.r.opts.MaxFileSize, abort: !u.patient,
		maxBytes: inflation * u.r.opts.MaxPackSize,
	}
}
