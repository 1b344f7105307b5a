package gitsource

import (
	"context"
	"fmt"
	"io"

	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// plain reads the whole branch, with as few of the protocol's means as there can be: the oldest version of it, nothing
// left out, nothing that leans on what is here. Packs are go-git's to read, in a storage of its own in memory. It is
// slow, and right where the cheaper way has a fault.
type plain struct{ r *Repository }

// maxPlain is how many bytes of a pack are read plainly. They are all in memory.
const maxPlain = 64 << 20

// whole is a branch with some commits of its history.
type whole struct {
	stored
	tip  plumbing.Hash
	done bool // that is all of the history
}

// fetch fetches the tip with a number of commits behind it, 0 for all of them.
func (p plain) fetch(ctx context.Context, depth int) (*whole, error) {
	var got *whole
	err := p.r.converse(ctx, olderUploadPack, func(talk conversation, _ bool) error {
		u := &upload{r: p.r, talk: talk}
		tip, err := u.tip(ctx)
		if err != nil {
			return err
		}
		pack, cut, err := u.askOlder(ctx, tip, depth, "")
		if err != nil {
			return err
		}
		objects := filesystem.NewStorage(memfs.New(), cache.NewObjectLRU(8*cache.MiByte))
		err = u.within(min(maxPlain, p.r.opts.MaxPackSize), pack, func(pack io.Reader) error {
			return packfile.UpdateObjectStorage(objects, pack)
		})
		if err != nil {
			return err
		}
		got = &whole{tip: tip, done: depth == 0, stored: stored{store: goGit{objects}, roots: rootsOf(cut)}}
		return nil
	})
	return got, err
}

func (p plain) tip(ctx context.Context) (tip plumbing.Hash, err error) {
	err = p.r.converse(ctx, olderUploadPack, func(talk conversation, _ bool) (err error) {
		tip, err = (&upload{r: p.r, talk: talk}).tip(ctx)
		return err
	})
	return tip, err
}

func (p plain) latest(ctx context.Context, old *mirror, dirs []string) (*mirror, error) {
	tip, err := p.tip(ctx)
	if err != nil {
		return nil, err
	}
	if old != nil && old.head == tip && old.covers(dirs) {
		return old, nil
	}
	dirs = old.watching(dirs)
	got, err := p.fetch(ctx, 1)
	if err != nil {
		return nil, err
	}
	next := &mirror{head: got.tip, dirs: dirs, objects: newObjects(nil), large: map[plumbing.Hash]bool{}}
	if old != nil {
		next.objects.below = old.objects
		if next.before = old.head; old.head == got.tip {
			next.before = old.before
		}
	}
	if err := p.copy(next, got); err != nil {
		return nil, err
	}
	return p.r.compact(next)
}

// copy takes over what a mirror has of its head.
func (p plain) copy(to *mirror, from *whole) error {
	c, err := commitOf(from, to.head)
	if err != nil {
		return err
	}
	to.objects.copy(from, to.head, c.tree)
	objects := from.store.(goGit).Storage
	return walk(from, c.tree, to.dirs, func(_ string, entry object.TreeEntry) bool {
		switch {
		case entry.Mode == filemode.Dir:
			to.objects.copy(from, entry.Hash)
			return true
		case entry.Mode == filemode.Regular || entry.Mode == filemode.Executable:
			if size, err := objects.EncodedObjectSize(entry.Hash); err == nil && size > p.r.opts.MaxFileSize {
				to.large[entry.Hash] = true
			} else {
				to.objects.copy(from, entry.Hash)
			}
		}
		return false
	})
}

func (p plain) origins(ctx context.Context, _ *mirror, rev plumbing.Hash, paths []string, removed bool) (map[string]Origin, error) {
	for _, depth := range []int{2, 50, 1000, 0} {
		known, err := p.fetch(ctx, depth)
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
		if _, is := known.commit(rev); known.done && !is {
			return nil, &Error{Kind: ErrRevisionNotFound, Detail: rev.String()}
		}
	}
	return nil, fmt.Errorf("the history of %s is not whole", rev)
}

func (p plain) between(ctx context.Context, rev, since plumbing.Hash) ([]Commit, bool, error) {
	known, err := p.fetch(ctx, 0)
	if err != nil {
		return nil, false, err
	}
	if _, is := known.commit(rev); !is {
		return nil, false, &Error{Kind: ErrRevisionNotFound, Detail: rev.String()}
	}
	return known.between(rev, since)
}

// goGit is a storage of go-git's.
type goGit struct{ *filesystem.Storage }

func (g goGit) get(hash plumbing.Hash) (content, bool) {
	if hash == emptyTree {
		return content{plumbing.TreeObject, []byte{}}, true
	}
	found, err := g.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return content{}, false
	}
	reader, err := found.Reader()
	if err != nil {
		return content{}, false
	}
	defer reader.Close()
	bytes, err := io.ReadAll(reader)
	return content{found.Type(), bytes}, err == nil
}
