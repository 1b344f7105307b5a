package gitsource

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

const branches = "refs/heads/"

// Branches lists the repository's branches whose names begin with a prefix, by name, with the hashes of their tips. With
// version 2 of the protocol it costs what there is to list.
func (r *Repository) Branches(ctx context.Context, prefix string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	found := map[string]string{}
	note := func(name string, hash plumbing.Hash) bool {
		if branch, ok := strings.CutPrefix(name, branches); ok && strings.HasPrefix(branch, prefix) {
			found[branch] = hash.String()
		}
		return true
	}
	err := r.upload(ctx, func(u *upload, _ bool) error {
		clear(found)
		if u.v2() != nil {
			return u.refs(ctx, branches+prefix, note)
		}
		for name, hash := range u.talk.greeting().refs.References {
			note(name, hash)
		}
		return nil
	})
	if err != nil {
		return nil, r.failed("listing branches", err)
	}
	return found, nil
}

// Propose makes another branch, with one commit on top of the watched branch's tip as it is now, for people to merge. As
// in [Repository.Write], build is given the files under dirs there, and paths outside of them are refused; it returns nil
// where there is nothing to propose. A branch that is there already is left as it is, so that calling Propose again after
// an answer was lost makes no second one.
func (r *Repository) Propose(ctx context.Context, branch string, dirs []string, build func(*Snapshot) (*Change, error)) error {
	ref := plumbing.NewBranchReferenceName(branch)
	if err := ref.Validate(); err != nil || ref == r.ref {
		return fmt.Errorf("%q is no name for a branch with a proposal", branch)
	}
	dirs, err := cleanDirs(dirs)
	if err != nil {
		return err
	}
	there, err := r.Branches(ctx, branch)
	if err != nil || there[branch] != "" {
		return err
	}
	seen, err := r.base(ctx, dirs, true)
	if err != nil {
		return r.failed("reading the tip", err)
	}
	base := *seen
	base.objects = newObjects(seen.objects)
	before, err := r.files(&base, base.head, dirs)
	if err != nil {
		return r.failed("reading the tip", err)
	}
	tip, objects, err := r.commitOf(&base, dirs, before, build)
	if err != nil || tip == base.head {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	pushed := r.push(limited, ref, plumbing.ZeroHash, tip, base.objects, objects)
	if pushed == nil {
		return nil
	}
	// Somebody may have been quicker, and an answer may have been lost.
	if there, err := r.Branches(ctx, branch); err == nil && there[branch] != "" {
		return nil
	}
	return r.failed("pushing the branch "+branch, pushed)
}

// Retract deletes a branch that Propose has made. One with another tip than is given is left alone: somebody has worked
// on it. It is no error if it is gone.
func (r *Repository) Retract(ctx context.Context, branch, tip string) error {
	hash, err := hashOf(tip)
	if err != nil {
		return err
	}
	ref := plumbing.NewBranchReferenceName(branch)
	if ref == r.ref {
		return errors.New("the watched branch is not deleted")
	}
	limited, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	deleted := r.push(limited, ref, hash, plumbing.ZeroHash, nil, nil)
	if deleted == nil {
		return nil
	}
	if there, err := r.Branches(ctx, branch); err == nil && there[branch] != tip {
		return nil
	}
	return r.failed("deleting the branch "+branch, deleted)
}
