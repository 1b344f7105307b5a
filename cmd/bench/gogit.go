package main

import (
	"context"
	"errors"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
)

// goGit uses the repository as agents do that are made with go-git: a bare clone of depth 1 on disk.
type goGit struct {
	url, dir string
	clone    *git.Repository
}

func (g *goGit) poll(ctx context.Context) error {
	remote := git.NewRemote(memory.NewStorage(), &config.RemoteConfig{Name: "origin", URLs: []string{g.url}})
	refs, err := remote.ListContext(ctx, &git.ListOptions{})
	if err == nil && len(refs) == 0 {
		err = errors.New("there are no references")
	}
	return err
}

func (g *goGit) read(ctx context.Context, _ []string) (string, int, error) {
	clone, err := git.PlainCloneContext(ctx, g.dir, true, &git.CloneOptions{
		URL: g.url, ReferenceName: plumbing.NewBranchReferenceName(branch), SingleBranch: true, Depth: 1, Tags: git.NoTags,
	})
	if err != nil {
		return "", 0, err
	}
	g.clone = clone
	return g.tip()
}

func (g *goGit) update(ctx context.Context) (string, int, error) {
	err := g.clone.FetchContext(ctx, &git.FetchOptions{
		RefSpecs: []config.RefSpec{"+refs/heads/" + branch + ":refs/heads/" + branch}, Depth: 1, Tags: git.NoTags,
	})
	if err != nil {
		return "", 0, err
	}
	return g.tip()
}

func (g *goGit) trace(ctx context.Context, _ []string) (string, error) {
	clone, err := git.PlainCloneContext(ctx, g.dir, true, &git.CloneOptions{
		URL: g.url, ReferenceName: plumbing.NewBranchReferenceName(branch), SingleBranch: true, Tags: git.NoTags,
	})
	if err != nil {
		return "", err
	}
	head, err := clone.Head()
	if err != nil {
		return "", err
	}
	// Its own log of a file compares whole trees, which takes minutes for each thousand commits.
	at, err := clone.CommitObject(head.Hash())
	for err == nil && at.NumParents() > 0 {
		var parent *object.Commit
		if parent, err = at.Parent(0); err != nil {
			break
		}
		if _, missing := parent.File(oldRequest); missing != nil {
			break
		}
		at = parent
	}
	if err != nil {
		return "", err
	}
	return at.Hash.String(), nil
}

func (g *goGit) tip() (string, int, error) {
	ref, err := g.clone.Reference(plumbing.NewBranchReferenceName(branch), true)
	if err != nil {
		return "", 0, err
	}
	return ref.Hash().String(), 0, nil
}

func (g *goGit) write(context.Context, int) (int, error) {
	return 0, errors.New("go-git is not measured when it writes")
}
