package reconcile_test

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/reconcile"
)

// branch is a branch of a Git server, as plain data. It can be away, and its history can be rewritten.
type branch struct {
	commits []commit
	away    bool
	landed  []ended // in the order in which Git first heard of it
	undone  []ended // what Git had heard of when somebody took its word away
}

type commit struct {
	at      time.Time
	files   map[string]string
	brought map[string]time.Time // when each file got its content
}

func (b *branch) tip() commit {
	if len(b.commits) == 0 {
		return commit{files: map[string]string{}, brought: map[string]time.Time{}}
	}
	return b.commits[len(b.commits)-1]
}

// commit changes files; an empty content removes one.
func (b *branch) commit(now time.Time, files map[string]string) {
	tip := b.tip()
	next := commit{at: now, files: maps.Clone(tip.files), brought: maps.Clone(tip.brought)}
	for name, content := range files {
		next.brought[name] = now
		if next.files[name] = content; content == "" {
			delete(next.files, name)
		}
	}
	b.commits = append(b.commits, next)
}

// hash names a commit by its place and its time, so that a rewritten history has other names.
func (b *branch) hash(n int) string { return fmt.Sprintf("%d-%d", n, b.commits[n].at.UnixNano()) }

func (b *branch) snapshot() *gitsource.Snapshot {
	s := &gitsource.Snapshot{Revision: b.hash(len(b.commits) - 1)}
	for _, name := range slices.Sorted(maps.Keys(b.tip().files)) {
		content := b.tip().files[name]
		s.Files = append(s.Files, gitsource.File{Path: name, Blob: fmt.Sprintf("%x", sha1.Sum([]byte(content))), Content: []byte(content)})
	}
	return s
}

// status is what the branch says about a request.
func (b *branch) status(request string) reconcile.Status {
	s, _ := reconcile.ParseStatus([]byte(b.tip().files["status/demo/"+request+".yaml"]))
	return s
}

// remote is the branch as one incarnation of an agent reaches it.
type remote struct {
	*incarnation
	git *branch
}

var errGit = errors.New("the Git server does not answer: simulated")

func ask[T any](r remote, do func() (T, error)) (T, error) {
	return call(r.incarnation, "Git", errGit, func() (T, error) {
		var none T
		if r.git.away {
			return none, errGit
		}
		return do()
	})
}

func (r remote) Head(context.Context) (string, error) {
	return ask(r, func() (string, error) { return r.git.hash(len(r.git.commits) - 1), nil })
}

func (r remote) Snapshot(context.Context, ...string) (*gitsource.Snapshot, error) {
	return ask(r, func() (*gitsource.Snapshot, error) { return r.git.snapshot(), nil })
}

func (r remote) Origins(_ context.Context, _ string, paths ...string) (map[string]gitsource.Origin, error) {
	return ask(r, func() (map[string]gitsource.Origin, error) {
		found := map[string]gitsource.Origin{}
		for _, p := range paths {
			found[p] = gitsource.Origin{Commit: gitsource.Commit{Hash: "c0ffee", Time: r.git.tip().brought[p]}}
		}
		return found, nil
	})
}

func (r remote) Removals(context.Context, string, ...string) (map[string]gitsource.Origin, error) {
	return nil, errors.New("nobody removes policies here")
}

func (r remote) Branches(context.Context, string) (map[string]string, error) {
	return nil, errors.New("nobody proposes anything here")
}

func (r remote) Propose(context.Context, string, []string, func(*gitsource.Snapshot) (*gitsource.Change, error)) error {
	return errors.New("nobody proposes anything here")
}

func (r remote) Retract(context.Context, string, string) error {
	return errors.New("nobody proposes anything here")
}

func (r remote) Between(context.Context, string, string) ([]gitsource.Commit, error) {
	return nil, errors.New("nobody asks for signatures here")
}

func (r remote) Contains(_ context.Context, _, commit string) (bool, error) {
	return ask(r, func() (bool, error) {
		for n := range r.git.commits {
			if r.git.hash(n) == commit {
				return true, nil
			}
		}
		return false, nil
	})
}

func (r remote) Write(_ context.Context, _ []string, build func(*gitsource.Snapshot) (*gitsource.Change, error)) (*gitsource.Snapshot, error) {
	for {
		before, err := r.Snapshot(context.Background())
		if err != nil {
			return nil, err
		}
		change, err := build(before)
		if change == nil || err != nil {
			return before, err
		}
		after, err := ask(r, func() (*gitsource.Snapshot, error) {
			if r.git.snapshot().Revision != before.Revision {
				return nil, errMoved
			}
			r.git.hear(r.world, change)
			files := map[string]string{}
			for name, content := range change.Files {
				files[name] = string(content)
			}
			r.git.commit(r.world.now, files)
			return r.git.snapshot(), nil
		})
		if !errors.Is(err, errMoved) {
			return after, err
		}
	}
}

// errMoved: somebody else has pushed first.
var errMoved = errors.New("the branch is elsewhere: simulated")

// hear is the oracle that watches every commit: nothing goes backwards, and what ends is noted.
func (b *branch) hear(world *simulation, change *gitsource.Change) {
	var heard ended
	for _, trailer := range change.Trailers {
		switch trailer.Key {
		case "Rotation-Request":
			heard.Request = trailer.Value
		case "Rotation-Id":
			heard.ID = trailer.Value
		case "Rotation-Phase":
			heard.Phase = reconcile.Phase(trailer.Value)
			if heard.Phase.Finished() && !slices.Contains(b.landed, heard) {
				b.landed = append(b.landed, heard)
			}
		}
	}
	for name, content := range change.Files {
		before, errBefore := reconcile.ParseStatus([]byte(b.tip().files[name]))
		after, errAfter := reconcile.ParseStatus(content)
		if errBefore != nil || errAfter != nil || !before.Phase.Finished() || before.Request.ID == "" {
			continue
		}
		if difference := rewritten(before, after); difference != "" {
			world.violate("Git was told another end of %s: %s", before.Request.Key(), difference)
		}
	}
}
