package differential

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/forge/forgetest"
	"github.com/gitrota/gitrota/gitsource/gittest/repoplan"
)

// reader is an agent's view of a repository, and what git says of it.
type reader struct {
	trial  trial
	built  *repoplan.Built
	oracle *clone
	opts   gitsource.Options
	git    *gitsource.Repository
	wrote  []string        // the paths of files that the agent has written
	forge  *forgetest.Repo // where what is built is pushed to; nil: it is served from where it is built
}

// difference is the error where the two do not agree.
type difference struct {
	step      int
	about     string
	got, want any
}

func (d *difference) Error() string {
	return fmt.Sprintf("step %d: %s:\n  got:  %v\n  want: %v", d.step, d.about, d.got, d.want)
}

func differs(about string, got, want any) error {
	return &difference{about: about, got: got, want: want}
}

// do takes one step. The error is a *difference when that is what it found.
func (r *reader) do(ctx context.Context, s step) error {
	switch s.do {
	case push:
		return r.push()
	case restart:
		r.git.Close()
		var err error
		r.git, err = gitsource.Open(r.opts)
		return err
	}
	tip, err := r.oracle.head()
	if err != nil {
		return err
	}
	if s.do == write {
		return r.write(ctx, s, tip)
	}
	if s.do == together {
		return r.together(ctx, s, tip)
	}
	return r.ask(ctx, s, tip)
}

// push puts the next stage onto the server, if there is one that no race has put there before.
func (r *reader) push() error {
	if r.built.Stages == len(r.trial.plan.Stages) {
		return nil
	}
	if err := r.fetchFromForge(); err != nil {
		return err
	}
	if err := r.built.Push(); err != nil {
		return err
	}
	if err := r.pushToForge(); err != nil {
		return err
	}
	return r.oracle.refresh()
}

// together asks for several things at the same time, as an agent does.
func (r *reader) together(ctx context.Context, s step, tip string) error {
	var all errgroup.Group
	for _, do := range []call{snapshot, origins, contains} {
		one := s
		one.do = do
		if do == snapshot {
			one.paths = r.trial.watched
		}
		all.Go(func() error { return r.ask(ctx, one, tip) })
	}
	return all.Wait()
}

// ask compares the answer to a question with git's.
func (r *reader) ask(ctx context.Context, s step, tip string) error {
	if tip == "" {
		return r.requireNoBranch(ctx, s)
	}
	switch s.do {
	case head:
		got, err := r.git.Head(ctx)
		if err != nil || got != tip {
			return differs("Head", result(got, err), tip)
		}
		return nil
	case snapshot:
		got, err := r.git.Snapshot(ctx, s.paths...)
		if err != nil {
			return differs("Snapshot", err, tip)
		}
		return r.sameFiles(got, tip, s.paths)
	}
	rev, other := r.hash(s.rev, tip), r.hash(s.other, tip)
	if rev == "" || other == "" || !r.oracle.has(rev) || !r.oracle.has(other) {
		return nil // the server has forgotten it, or the trial was made smaller
	}
	reachable, err := r.oracle.contains(tip, rev)
	if err != nil {
		return err
	}
	if !reachable && !r.oracle.whole(rev) {
		return nil // the server has forgotten half of it
	}
	// What is not in the branch's history may be said to be so. It must not be answered wrongly.
	gone := func(err error) bool { return !reachable && errors.Is(err, gitsource.ErrRevisionNotFound) }
	switch s.do {
	case contains:
		want, err := r.oracle.contains(rev, other)
		if err != nil {
			return err
		}
		got, err := r.git.Contains(ctx, rev, other)
		if err == nil && got && !want && r.shallow() {
			return nil // the last commit that the server has names what it has forgotten
		}
		if !gone(err) && (err != nil || got != want) {
			return differs("Contains", result(got, err), want)
		}
	case between:
		want, err := r.oracle.between(rev, other)
		if err != nil {
			return err
		}
		got, err := r.git.Between(ctx, rev, other)
		if gone(err) {
			return nil
		}
		if err != nil {
			return differs("Between", err, want)
		}
		return r.sameCommits(got, want)
	case origins, removals:
		return r.trace(ctx, s, rev, gone)
	}
	return nil
}

// requireNoBranch makes sure that a branch that is not there is said not to be.
func (r *reader) requireNoBranch(ctx context.Context, s step) error {
	var err error
	switch s.do {
	case head:
		_, err = r.git.Head(ctx)
	case snapshot:
		_, err = r.git.Snapshot(ctx, s.paths...)
	default:
		return nil // about history, which may still be here
	}
	if !errors.Is(err, gitsource.ErrBranchNotFound) {
		return differs(string(s.do)+" without a branch", err, gitsource.ErrBranchNotFound)
	}
	return nil
}

func (r *reader) hash(id int, tip string) string {
	if id == repoplan.Tip {
		return tip
	}
	return r.built.Hashes[id]
}

func result(got any, err error) any {
	if err != nil {
		return err
	}
	return got
}
