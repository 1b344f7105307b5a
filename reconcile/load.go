package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
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
	if c.manifests != nil && head == c.manifests.Revision && !c.Outdated() {
		c.askForge(ctx)
		return nil
	}
	if err := c.read(ctx); err != nil {
		return err
	}
	c.askForge(ctx)
	return nil
}

// Outdated reports whether what was read has to be judged anew although the branch has not moved: the guardrails have
// changed, the databases are known by now or have other labels, or a change of a policy was approved. The next Poll does
// that, and until then Advance begins nothing.
func (c *Controller) Outdated() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outdated()
}

// outdated is Outdated for who holds the lock.
func (c *Controller) outdated() bool {
	return c.stale || c.manifests != nil && !reflect.DeepEqual(c.guards, c.guardrails())
}

// read reads the manifests and the statuses.
func (c *Controller) read(ctx context.Context) error {
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

// load takes over what was read: manifests and statuses, which are one snapshot if they lie on one branch. All of it is
// judged by the guardrails as they are when it begins; what becomes known meanwhile has it judged again.
func (c *Controller) load(ctx context.Context, manifests, written *gitsource.Snapshot) (err error) {
	c.mu.Lock()
	c.stale, c.guards = false, c.guardrails()
	c.mu.Unlock()
	defer func() {
		if err != nil {
			c.mu.Lock()
			c.stale = true
			c.mu.Unlock()
		}
	}()
	files := map[string]*manifest.File{}
	blobs := map[string]string{}
	var list []*manifest.File
	for _, f := range manifests.Files {
		if !inside(strings.TrimPrefix(f.Path, `"`), c.Path) && f.Path != c.Path {
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
	set.Labels = c.labels
	inGit, parsed := c.readStatuses(written)
	if err := c.forgetRewritten(ctx, manifests.Revision, blobs); err != nil {
		return err
	}
	set, follow, err := c.withPolicies(ctx, manifests.Revision, set, blobs, written)
	if err != nil {
		return err
	}
	if err := c.findOrigins(ctx, manifests.Revision, set, blobs, inGit); err != nil {
		return err
	}
	claimed, err := c.claims(ctx, manifests.Revision, set, blobs, inGit)
	if err != nil {
		return err
	}
	restored, err := c.restored(ctx, set, written, inGit)
	if err != nil {
		return err
	}
	c.manifests, c.written, c.files, c.parsed, c.set = manifests, written, files, parsed, set
	c.mu.Lock()
	defer c.mu.Unlock()
	follow()
	c.claimed, c.planned, c.strict = claimed, nil, c.strictness(set)
	for _, server := range set.Servers {
		c.serverBegan[server.Path] = c.origins[blobs[server.Path]].Landed.Time
	}
	c.takeOver(inGit, restored)
	c.judge(blobs)
	c.weigh()
	return nil
}

// forgetRewritten forgets who brought what is not there any more and, where that decides what may run, everything if
// history was rewritten: of what came back by another commit, that one counts.
func (c *Controller) forgetRewritten(ctx context.Context, revision string, blobs map[string]string) error {
	there := make(map[string]bool, len(blobs))
	for _, key := range blobs {
		there[key] = true
	}
	maps.DeleteFunc(c.origins, func(key string, _ gitsource.Origin) bool { return !there[key] })
	clear(c.between)
	if c.manifests == nil || revision == c.manifests.Revision {
		return nil
	}
	ahead, err := c.Repository.Contains(ctx, revision, c.manifests.Revision)
	if err != nil {
		return fmt.Errorf("finding out whether history was rewritten: %w", err)
	}
	if !ahead {
		c.Log.Warn("the history with the manifests was rewritten; who brought what is looked up again")
		clear(c.origins)
		c.mu.Lock()
		clear(c.reviewed)
		c.mu.Unlock()
	}
	return nil
}

// readStatuses reads the status files of a snapshot with what is kept beside them, and returns them by request, and
// those files alone by path and blob.
func (c *Controller) readStatuses(written *gitsource.Snapshot) (inGit, parsed map[string]Status) {
	inGit, parsed = make(map[string]Status, len(written.Files)), make(map[string]Status, len(written.Files))
	for _, f := range written.Files {
		if !inside(f.Path, c.StatusPath) || !strings.HasSuffix(f.Path, ".yaml") || inside(f.Path, c.StatusPath+"/"+escrowFolder) {
			continue
		}
		if name := f.Path[len(c.StatusPath)+1:]; name == problemsFile || name == policiesFile {
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
		if !manifest.IsNamespace(s.Request.Namespace) || !manifest.IsName(s.Request.Name) || f.Path != StatusPath(c.StatusPath, s.Request) {
			c.Log.Warn("a status file is passed over", "path", f.Path, "error", fmt.Sprintf("it is about %q", s.Request.Key()))
			continue // or it would be written elsewhere, and its name into the overview
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
		own := c.statuses[key]
		switch {
		case s.isEnd():
			known[key] = s
			if _, dirty := c.dirty[key]; dirty {
				known[key] = upheld(s, own)
			}
			if equal(known[key], s) {
				delete(c.dirty, key) // also where this process believed something else: another agent was quicker
			}
		case c.trusted(s):
			known[key] = s
		case own.Request.ID == s.Request.ID && own.Request.ID != "":
			known[key] = own
			if own.Phase != s.Phase {
				c.soil(key, c.Engine.Clock.Now()) // what Git says is not gitrota's word
			}
		}
	}
	for key, s := range c.statuses {
		if inGit[key].isEnd() {
			continue
		}
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
		for _, path := range c.basis(set, r, blobs) {
			if _, found := c.origins[blobs[path]]; (!found || c.doubted[blobs[path]]) && !served {
				paths = append(paths, path)
			}
		}
	}
	for _, server := range set.Servers {
		rules, _ := set.RulesFor(set.Database(server.Namespace, server.Name))
		if _, found := c.origins[blobs[server.Path]]; !found && rules.Schedule != nil {
			paths = append(paths, server.Path)
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
