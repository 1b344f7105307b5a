// Package clone reads a clone of a repository on this machine: objects by their hashes, and branches by their names.
//
// It believes nothing that the clone says about its own history. Objects are hashed when they are read, and what git
// would put in another's place (refs/replace, grafts) is not looked at, so that a hash stands for one content and for
// the whole history behind it.
package clone

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// cacheSize bounds what is kept of objects that others are stored as a difference to.
const cacheSize = 128 * cache.MiByte

// Clone is a clone with its whole history. It is not safe for concurrent use.
type Clone struct {
	dir        string
	repository *git.Repository
	objects    *filesystem.Storage
}

// Open opens the clone that dir is in, bare or not. It refuses one that lacks a part of the history.
func Open(dir string) (*Clone, error) {
	repository, err := git.PlainOpenWithOptions(dir, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) { // a folder in a clone; to look for that first would pass over a bare one
		repository, err = git.PlainOpenWithOptions(dir, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	}
	switch {
	case errors.Is(err, git.ErrRepositoryNotExists):
		return nil, fmt.Errorf("%s is in no Git repository: run this in a clone, or say with --repo-dir where there is one", dir)
	case err != nil && strings.Contains(err.Error(), "objectformat"):
		return nil, fmt.Errorf("the repository at %s is one with SHA-256 names, which gitrota cannot read", dir)
	case err != nil:
		return nil, fmt.Errorf("opening the clone at %s: %w", dir, err)
	}
	opened, ok := repository.Storer.(*filesystem.Storage)
	if !ok {
		return nil, fmt.Errorf("opening the clone at %s: it is not stored in files", dir)
	}
	if shallow, err := opened.Shallow(); err != nil || len(shallow) > 0 {
		return nil, errors.Join(err, fmt.Errorf("the clone at %s is shallow, and what it lacks proves nothing: run git fetch --unshallow", dir))
	}
	objects := filesystem.NewStorageWithOptions(opened.Filesystem(), cache.NewObjectLRU(cacheSize),
		filesystem.Options{ExclusiveAccess: true, KeepDescriptors: true, AlternatesFS: osfs.New(string(filepath.Separator))})
	return &Clone{dir: dir, repository: repository, objects: objects}, nil
}

// Close closes the files.
func (c *Clone) Close() error { return c.objects.Close() }

// Branch returns the tip of a branch as it was fetched last: that of the remote origin, otherwise of this clone itself.
// Whatever else names a commit, such as a tag or a hash, is fine as well.
func (c *Clone) Branch(name string) (plumbing.Hash, error) {
	for _, ref := range []plumbing.ReferenceName{
		plumbing.NewRemoteReferenceName("origin", name), plumbing.NewBranchReferenceName(name),
	} {
		if found, err := c.repository.Reference(ref, true); err == nil {
			return found.Hash(), nil
		}
	}
	if hash, err := c.Commit(name); err == nil {
		return hash, nil
	}
	return plumbing.ZeroHash, fmt.Errorf("the clone at %s has no branch %s: fetch it, or name another", c.dir, name)
}

// Commit returns the hash that a revision stands for, such as a short hash or a tag.
func (c *Clone) Commit(revision string) (plumbing.Hash, error) {
	hash, err := c.repository.ResolveRevision(plumbing.Revision(revision))
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("the clone at %s has no commit %s: %w", c.dir, revision, err)
	}
	return *hash, nil
}

// Anchor returns the hash of a commit that was there once. The clone need not have it any more if it is written out.
func (c *Clone) Anchor(revision string) (plumbing.Hash, error) {
	if plumbing.IsHash(revision) {
		return plumbing.NewHash(revision), nil
	}
	return c.Commit(revision)
}

// ErrNotFound says that the clone has no object of that name and kind.
var ErrNotFound = errors.New("the clone does not have it; if it is a partial clone, clone it anew without a filter")

// Object returns the content of an object of that kind.
func (c *Clone) Object(kind plumbing.ObjectType, hash plumbing.Hash) ([]byte, error) {
	object, err := c.objects.EncodedObject(kind, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s %s: %w", kind, hash, err)
	}
	reader, err := object.Reader()
	if err != nil {
		return nil, fmt.Errorf("reading the %s %s: %w", kind, hash, err)
	}
	defer reader.Close()
	content := make([]byte, object.Size())
	if _, err := io.ReadFull(reader, content); err != nil {
		return nil, fmt.Errorf("reading the %s %s: %w", kind, hash, err)
	}
	if is := plumbing.ComputeHash(kind, content); is != hash {
		return nil, fmt.Errorf("reading the %s %s: its content has the hash %s, so the clone is damaged; clone it anew", kind, hash, is)
	}
	return content, nil
}
