package gitsource

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Reading is how a repository may be read.
type Reading int

const (
	// ReadSomehow reads what is needed and nothing else, and where that fails through a fault of this package's or of
	// the server's, reads everything with go-git's own means.
	ReadSomehow   Reading = iota
	ReadPartially         // only the first way
	ReadPlainly           // only the second one
)

// reader gets what is at the remote. There are two: partial gets what is needed, and no more than that if the server
// can leave something out; plain gets everything, as simply as can be.
type reader interface {
	// tip returns the hash of the branch.
	tip(ctx context.Context) (plumbing.Hash, error)
	// latest returns the mirror at the tip, with dirs watched. old is what is here already, nil if there is nothing.
	latest(ctx context.Context, old *mirror, dirs []string) (*mirror, error)
	// origins finds where paths came from at rev, which is the head of a mirror or behind it, or what removed them.
	origins(ctx context.Context, m *mirror, rev plumbing.Hash, paths []string, removed bool) (map[string]Origin, error)
	// between returns the commits that are rev or behind it, and not since or behind that, and whether since is behind
	// rev. It returns no commits when it is not.
	between(ctx context.Context, rev, since plumbing.Hash) (list []Commit, is bool, err error)
}

// read lets a reader do something, and another one when that fails for no reason that the other one would share.
func (r *Repository) read(ctx context.Context, do func(reader) error) error {
	if r.opts.Reading == ReadPlainly {
		return do(plain{r})
	}
	err := do(partial{r})
	if r.opts.Reading == ReadPartially || !mayBeOurs(ctx, err) {
		return err
	}
	again := do(plain{r})
	var known *Error
	switch {
	case again == nil:
		r.report(err)
		r.plainReads.Add(1)
	case errors.As(again, &known) && !mayBeOurs(ctx, again) && known.Kind != ErrUnreachable && known.Kind != ErrTooLarge:
		return again
	default:
		r.opts.Log.Debug("the repository cannot be read in a second way, either", "repository", r.String(), "error", r.scrub(again.Error()))
		return err
	}
	return nil
}

// mayBeOurs reports whether an error may come from how this package reads, and not from the network, the credentials,
// the context, or what there is to be read.
func mayBeOurs(ctx context.Context, err error) bool {
	var broken brokenOff
	if err == nil || ctx.Err() != nil || errors.As(err, &broken) {
		return false
	}
	var known *Error
	return !errors.As(err, &known) || known.Kind == ErrRejected
}

// report tells once what went wrong with the cheaper way to read, for somebody to pass on.
func (r *Repository) report(err error) {
	if r.reported.Swap(true) {
		r.opts.Log.Debug("the repository was read in the second way", "repository", r.String(), "error", r.scrub(err.Error()))
		return
	}
	can, _ := r.capabilities.Load().(string)
	r.opts.Log.Warn("the repository cannot be read in parts and is read as a whole from now on, where that is so, which costs more; "+
		"please report this as a defect of gitrota", "repository", r.String(), "error", r.scrub(err.Error()), "server", r.scrub(can))
}

// PlainReads returns how often something was read in the second way (see [ReadSomehow]) because the first one failed.
func (r *Repository) PlainReads() uint64 { return r.plainReads.Load() }

// abilities tells in one line what a server says that it can do.
func (g *greeting) abilities() string {
	if g.v2 == nil {
		return "version 0: " + g.refs.Capabilities.String()
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(g.v2)) {
		all = append(all, strings.TrimSuffix(name+"="+g.v2[name], "="))
	}
	return "version 2: " + strings.Join(all, " ")
}
