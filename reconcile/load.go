package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
)

// Poll asks for the branch's head and, if it has moved, reads the manifests and statuses there. One request is all it
// costs when nothing has changed. A branch of its own for the statuses is read once: whatever else happens there shows
// with the next write.
func (c *Controller) Poll(ctx context.Context) error {
	head, err := c.Repository.Head(ctx)
	if err != nil {
		return err
	}
	if c.manifests != nil && head == c.manifests.Revision {
		return nil
	}
	if c.oneBranch() {
		snapshot, err := c.Repository.Snapshot(ctx, c.Path, c.StatusPath)
		if err != nil {
			return err
		}
		return c.load(ctx, snapshot, snapshot)
	}
	manifests, err := c.Repository.Snapshot(ctx, c.Path)
	if err != nil {
		return err
	}
	written := c.written
	if written == nil {
		switch written, err = c.Statuses.Snapshot(ctx, c.StatusPath); {
		case errors.Is(err, gitsource.ErrBranchNotFound):
			written = &gitsource.Snapshot{} // the first write makes it
		case err != nil:
			return fmt.Errorf("reading the statuses: %w", err)
		}
	}
	return c.load(ctx, manifests, written)
}

// oneBranch reports whether statuses lie where the manifests do.
func (c *Controller) oneBranch() bool { return c.Statuses == c.Repository }

// load takes over what was read: manifests and statuses, which are one snapshot if they lie on one branch.
func (c *Controller) load(ctx context.Context, manifests, written *gitsource.Snapshot) error {
	files := map[string]*manifest.File{}
	blobs := map[string]string{}
	var list []*manifest.File
	for _, f := range manifests.Files {
		if !inside(f.Path, c.Path) && f.Path != c.Path {
			continue
		}
		key := f.Path + "@" + f.Blob
		blobs[f.Path] = key
		parsed := c.files[key]
		switch {
		case parsed != nil:
		case f.Problem != "":
			parsed = manifest.Unreadable(f.Path, f.Problem)
		default:
			parsed = manifest.ParseFile(f.Path, f.Content)
		}
		files[key] = parsed
		list = append(list, parsed)
	}
	set := manifest.Join(list...)
	inGit, parsed := c.readStatuses(written)
	if err := c.findOrigins(ctx, manifests.Revision, set, blobs, inGit); err != nil {
		return err
	}
	restored, err := c.restored(ctx, set, written, inGit)
	if err != nil {
		return err
	}
	c.manifests, c.written, c.files, c.parsed, c.set = manifests, written, files, parsed, set
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takeOver(inGit, restored)
	c.judge(blobs)
	return nil
}

// readStatuses reads the status files of a snapshot with what is kept beside them, and returns them by request, and
// those files alone by path and blob.
func (c *Controller) readStatuses(written *gitsource.Snapshot) (inGit, parsed map[string]Status) {
	inGit, parsed = make(map[string]Status, len(written.Files)), make(map[string]Status, len(written.Files))
	for _, f := range written.Files {
		if !inside(f.Path, c.StatusPath) || !strings.HasSuffix(f.Path, ".yaml") || f.Path == c.StatusPath+"/"+problemsFile || inside(f.Path, c.StatusPath+"/"+escrowFolder) {
			continue
		}
		key := f.Path + "@" + f.Blob
		s, known := c.parsed[key]
		if !known {
			var err error
			if s, err = ParseStatus(f.Content); err != nil {
				c.Log.Warn("a status file is passed over", "path", f.Path, "error", err)
				continue
			}
		}
		parsed[key] = s
		inGit[s.Request.Key()] = s
	}
	readEscrows(written, c.StatusPath, inGit)
	return inGit, parsed
}

// restored finds the statuses of ended requests that Git had and has no more, and should have: those whose manifests are
// still there, and all of them if history was rewritten. A commit that takes away request and status tidies up.
func (c *Controller) restored(ctx context.Context, set *manifest.Set, written *gitsource.Snapshot, inGit map[string]Status) ([]string, error) {
	var vanished []string
	for key, s := range c.inGit { // only this goroutine writes it
		if _, still := inGit[key]; !still && s.Phase.Finished() && s.Request.ID != "" {
			vanished = append(vanished, key)
		}
	}
	if len(vanished) == 0 {
		return nil, nil
	}
	tidied := false
	if written.Revision != "" {
		var err error
		if tidied, err = c.Statuses.Contains(ctx, written.Revision, c.written.Revision); err != nil {
			return nil, fmt.Errorf("finding out why %d status files are gone: %w", len(vanished), err)
		}
	}
	if tidied {
		asked := map[string]bool{}
		for _, r := range set.Requests {
			asked[r.Namespace+"/"+r.Name] = true
		}
		vanished = slices.DeleteFunc(vanished, func(key string) bool { return !asked[key] })
	} else {
		c.Log.Warn("the history with the statuses was rewritten; what is missing is written again", "statuses", len(vanished))
	}
	slices.Sort(vanished)
	return vanished, nil
}

// takeOver brings together what Git says and what this process knows better. The caller holds the lock.
func (c *Controller) takeOver(inGit map[string]Status, restored []string) {
	known := make(map[string]Status, len(inGit))
	for key, s := range inGit {
		if c.trusted(s) {
			known[key] = s
		}
	}
	for key, s := range c.statuses {
		_, dirty := c.dirty[key]
		runs := c.busy[s.Request.DatabaseKey()] == key
		if dirty && !runs && s.Phase.Finished() && covers(inGit[key], s) {
			delete(c.dirty, key) // the answer to a write was lost, or another agent was quicker
			continue
		}
		if dirty || runs {
			known[key] = s // it is on its way to Git
		}
	}
	for _, key := range restored {
		if _, better := known[key]; !better {
			known[key] = c.inGit[key]
		}
	}
	c.statuses, c.inGit = known, inGit
	for _, key := range restored {
		c.dirty[key] = unsaved{since: c.Engine.Clock.Now(), ended: known[key].ended()}
	}
}

// findOrigins looks up which commits brought the requests that are still to be served.
func (c *Controller) findOrigins(ctx context.Context, revision string, set *manifest.Set, blobs map[string]string, inGit map[string]Status) error {
	var paths []string
	for _, r := range set.Requests {
		s, ok := inGit[r.Namespace+"/"+r.Name]
		served := ok && s.Phase.Finished() && s.Request.ID == r.ID
		for _, path := range c.basis(set, r) {
			if _, found := c.origins[blobs[path]]; (!found || c.doubted[blobs[path]]) && !served {
				paths = append(paths, path)
			}
		}
	}
	if len(paths) == 0 {
		return nil
	}
	slices.Sort(paths)
	origins, err := c.Repository.Origins(ctx, revision, slices.Compact(paths)...)
	if err != nil {
		return fmt.Errorf("finding the commits that brought %s: %w", strings.Join(slices.Compact(paths), ", "), err)
	}
	clear(c.doubted)
	for path, commit := range origins {
		c.origins[blobs[path]] = commit
	}
	return nil
}

func inside(path, folder string) bool { return strings.HasPrefix(path, folder+"/") }
