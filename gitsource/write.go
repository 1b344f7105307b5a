package gitsource

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Change is what one commit does.
type Change struct {
	Files   map[string][]byte // new content by path; nil deletes the file
	Subject string            // first line of the message
	Body    string            // further paragraphs; may be ""
	// Trailers are the message's last paragraph, one line each. Those without a value are left out.
	Trailers []Trailer
}

// Trailer is one "Key: value" line at the end of a commit's message.
type Trailer struct{ Key, Value string }

// Write commits a change on top of the branch's tip. It calls build with the files under dirs, as they were seen last if
// they were; build returns what to change, or nil to change nothing. Paths outside dirs are refused. A change that
// leaves every file as it is makes no commit.
//
// When the branch is elsewhere, the new tip is fetched and build is called again with it, 8 times at least and as often
// as it takes for as long as Options.Patience, and then Write gives up with ErrConflict. build must therefore depend on
// nothing but the snapshot that it is given; where an earlier push has landed after all and only its answer was lost, it
// finds its own change there. The branch is never forced.
//
// Write returns the files under dirs as they are now. After an error the change may have landed only if the context
// ended, or the remote could not be reached any more; calling Write again tells.
func (r *Repository) Write(ctx context.Context, dirs []string, build func(*Snapshot) (*Change, error)) (*Snapshot, error) {
	const op = "writing"
	dirs, err := cleanDirs(dirs)
	if err != nil {
		return nil, err
	}
	if len(dirs) == 0 {
		return nil, errors.New("writing to the repository: name a folder below its root, to keep everything else out of reach")
	}
	if r.opts.Author == (Person{}) {
		return nil, errors.New("writing to the repository: Options.Author is not set")
	}
	select {
	case r.writing <- struct{}{}:
		defer func() { <-r.writing }()
	case <-ctx.Done():
		return nil, r.failed(op, ctx.Err())
	}
	race := r.newRace()
	for {
		snapshot, err := r.tryWrite(ctx, dirs, race.tries > 0, build)
		if err == nil {
			return snapshot, nil
		}
		if !errors.Is(err, errMoved) {
			return nil, err
		}
		if err := race.again(ctx); err != nil {
			return nil, r.failed(op, err)
		}
	}
}

// tryWrite makes one commit on the tip as it is now, or, unless fresh, as it was last seen. The error is errMoved when
// the tip is elsewhere.
func (r *Repository) tryWrite(ctx context.Context, dirs []string, fresh bool, build func(*Snapshot) (*Change, error)) (*Snapshot, error) {
	seen, err := r.base(ctx, dirs, fresh)
	if err != nil {
		return nil, r.failed("reading the tip", err)
	}
	base := *seen
	base.objects = newObjects(seen.objects)
	before := &Snapshot{}
	if !base.head.IsZero() {
		if before, err = r.files(&base, base.head, dirs); err != nil {
			return nil, r.failed("reading the tip", err)
		}
	}
	tip, objects, err := r.commitOf(&base, dirs, before, build)
	if err != nil || tip == base.head {
		// Nothing will be pushed that would tell whether this is the tip.
		if moved := r.stillAt(ctx, &base, fresh); moved != nil {
			return nil, moved
		}
		return before, err
	}
	if err := r.land(ctx, &base, fresh, tip, objects); err != nil {
		return nil, err
	}
	return r.landed(seen, &base, tip, dirs)
}

// commitOf makes the commit that build asks for. It returns base's own head when there is nothing to change.
func (r *Repository) commitOf(base *mirror, dirs []string, before *Snapshot, build func(*Snapshot) (*Change, error)) (plumbing.Hash, []plumbing.Hash, error) {
	change, err := build(before)
	if err != nil || change == nil {
		return base.head, nil, err
	}
	tip, objects, err := r.commit(base, dirs, change)
	if err != nil {
		return base.head, nil, fmt.Errorf("making a commit for %s: %w", r, err)
	}
	return tip, objects, nil
}

// base returns the mirror that a commit is built on: the one that is there, or unless it does, a fresh one. Where the
// branch may be created, that may be nothing.
func (r *Repository) base(ctx context.Context, dirs []string, fresh bool) (*mirror, error) {
	if seen := r.mirror.Load(); !fresh && seen != nil && seen.covers(dirs) {
		return seen, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	base, err := r.latest(ctx, dirs)
	if r.opts.CreateBranch && errors.Is(err, ErrBranchNotFound) {
		return &mirror{dirs: dirs}, nil
	}
	return base, err
}

// stillAt makes sure that the branch is where a base was taken from.
func (r *Repository) stillAt(ctx context.Context, base *mirror, fresh bool) error {
	if fresh {
		return nil
	}
	head, err := r.Head(ctx)
	switch {
	case errors.Is(err, ErrBranchNotFound):
		return errMoved
	case err == nil && head != base.head.String():
		return errMoved
	}
	return err
}

// landed takes a commit that was pushed over into the mirror and returns the files under dirs as they are now.
func (r *Repository) landed(seen, base *mirror, tip plumbing.Hash, dirs []string) (*Snapshot, error) {
	base.head, base.before = tip, seen.head
	now, err := r.compact(base)
	if err != nil {
		return nil, r.failed("reading what was written", err)
	}
	// Somebody may have fetched that commit, or a later one, meanwhile.
	if !r.mirror.CompareAndSwap(seen, now) && seen.head.IsZero() {
		r.mirror.CompareAndSwap(nil, now)
	}
	return r.files(now, tip, dirs)
}

// land pushes the commit. Where it is not certain from the answer what became of it, only the remote is believed: a push
// whose answer was lost may have landed, and a refusal in unknown words may be a lost race. A push that failed because it
// leaned on something old is like one that lost a race, but a fresh one cannot be excused so: that the server cuts every
// push would otherwise pass for a busy branch.
func (r *Repository) land(ctx context.Context, base *mirror, fresh bool, tip plumbing.Hash, objects []plumbing.Hash) error {
	pushed := r.pushWithin(ctx, base, tip, objects)
	switch {
	case pushed == nil || errors.Is(pushed, errMoved):
		return pushed
	case final(pushed):
		return r.failed("pushing", pushed)
	}
	head, err := r.Head(ctx)
	switch {
	case err == nil && head == tip.String():
		r.opts.Log.Info("a push landed although its answer was lost", "repository", r.String(), "commit", head)
		return nil
	case err == nil && (head != base.head.String() || !fresh && errors.Is(pushed, errStale)):
		return errMoved
	case errors.Is(err, ErrBranchNotFound) && !base.head.IsZero():
		return errMoved
	}
	return r.failed("pushing", pushed)
}

func (r *Repository) pushWithin(ctx context.Context, base *mirror, tip plumbing.Hash, objects []plumbing.Hash) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	return r.push(ctx, r.ref, base.head, tip, base.objects, objects)
}

// commit builds the change's objects on top of base and returns the new commit and everything that the remote lacks.
// It returns base's own head when the change changes nothing.
func (r *Repository) commit(base *mirror, dirs []string, change *Change) (plumbing.Hash, []plumbing.Hash, error) {
	if err := checkPaths(change.Files, dirs); err != nil {
		return plumbing.ZeroHash, nil, err
	}
	message, err := change.message()
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	var parents []plumbing.Hash
	var oldTree plumbing.Hash
	if !base.head.IsZero() {
		parent, err := base.objects.commit(base.head)
		if err != nil {
			return plumbing.ZeroHash, nil, err
		}
		parents, oldTree = []plumbing.Hash{base.head}, parent.tree
	}
	edit := &treeEdit{objects: base.objects, noted: map[plumbing.Hash]bool{}}
	tree, err := edit.apply(oldTree, "", change.Files)
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	if tree == oldTree {
		return base.head, nil, nil
	}
	who := object.Signature{Name: r.opts.Author.Name, Email: r.opts.Author.Email, When: r.opts.Now()}
	tip, err := r.storeCommit(edit, &object.Commit{
		Author: who, Committer: who, Message: message, TreeHash: tree, ParentHashes: parents,
	})
	return tip, edit.added, err
}

// checkPaths refuses whatever is not gitrota's own to change.
func checkPaths(files map[string][]byte, dirs []string) error {
	for name := range files {
		switch parts := strings.Split(name, "/"); {
		case name == "" || path.Clean(name) != name || path.IsAbs(name) || parts[0] == "..":
			return fmt.Errorf("%q is not a clean path from the root of the repository", name)
		case slices.ContainsFunc(parts, func(p string) bool { return strings.EqualFold(p, ".git") }):
			return fmt.Errorf("%q has a part that Git keeps for itself", name)
		case strings.ContainsAny(name, "\x00\n\r\\"):
			return fmt.Errorf("%q has a character that not every machine can check out", name)
		case !within(name, dirs):
			return fmt.Errorf("%q is outside %s, and nothing else may be changed", name, strings.Join(dirs, ", "))
		}
	}
	return nil
}
