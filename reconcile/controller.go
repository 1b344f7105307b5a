package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/gitsource/sopsfile"
)

// Repository is what the controller needs of Git; [gitsource.Repository] has it.
type Repository interface {
	Head(ctx context.Context) (string, error)
	Snapshot(ctx context.Context, dirs ...string) (*gitsource.Snapshot, error)
	Origins(ctx context.Context, revision string, paths ...string) (map[string]gitsource.Commit, error)
	Write(ctx context.Context, dirs []string, build func(*gitsource.Snapshot) (*gitsource.Change, error)) (*gitsource.Snapshot, error)
}

// Options say what a [Controller] watches and works with.
type Options struct {
	Repository Repository
	Engine     *Engine
	Keys       func() sopsfile.Keys // for the credentials that users supply; asked for each
	Path       string               // the folder with the manifests
	StatusPath string               // the folder that gitrota writes, and nobody else
	Log        *slog.Logger
}

// Controller serves the requests of a repository: it reads them, runs one rotation for each database at a time and
// databases side by side, and brings the statuses back. Poll, Advance and Flush are called by one goroutine; the
// rotations run in their own.
type Controller struct {
	Options
	snapshot *gitsource.Snapshot
	files    map[string]*manifest.File // by path and blob: what has not changed is not parsed again
	set      *manifest.Set
	origins  map[string]gitsource.Commit // by path and blob

	running sync.WaitGroup
	changed chan struct{}

	mu       sync.Mutex
	statuses map[string]Status    // by request: the newest that is known
	dirty    map[string]time.Time // the requests whose status Git does not have, since when
	saved    time.Time            // when statuses were last brought into Git
	busy     map[string]string    // the databases that a rotation runs for, and its request
	ended    map[Phase]int        // how the requests ended that this controller served
}

// NewController makes a controller that has read nothing yet.
func NewController(options Options) *Controller {
	return &Controller{
		Options: options, set: &manifest.Set{}, files: map[string]*manifest.File{}, origins: map[string]gitsource.Commit{},
		changed:  make(chan struct{}, 1),
		statuses: map[string]Status{}, dirty: map[string]time.Time{}, busy: map[string]string{}, ended: map[Phase]int{},
	}
}

// Changed delivers a value after a status has changed or a rotation has ended.
func (c *Controller) Changed() <-chan struct{} { return c.changed }

// Poll asks for the branch's head and, if it has moved, reads the manifests and statuses there. One request is all it
// costs when nothing has changed.
func (c *Controller) Poll(ctx context.Context) error {
	head, err := c.Repository.Head(ctx)
	if err != nil {
		return err
	}
	if c.snapshot != nil && head == c.snapshot.Revision {
		return nil
	}
	snapshot, err := c.Repository.Snapshot(ctx, c.Path, c.StatusPath)
	if err != nil {
		return err
	}
	return c.load(ctx, snapshot)
}

// load takes a snapshot over.
func (c *Controller) load(ctx context.Context, snapshot *gitsource.Snapshot) error {
	files := map[string]*manifest.File{}
	blobs := map[string]string{}
	var list []*manifest.File
	known := map[string]Status{}
	for _, f := range snapshot.Files {
		if inside(f.Path, c.StatusPath) {
			if strings.HasSuffix(f.Path, ".yaml") && f.Path != c.StatusPath+"/"+problemsFile {
				s, err := unmarshalStatus(f.Content)
				if err != nil {
					c.Log.Warn("a status file is passed over", "path", f.Path, "error", err)
					continue
				}
				known[s.Request.Key()] = s
			}
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
	if err := c.findOrigins(ctx, snapshot.Revision, set, blobs, known); err != nil {
		return err
	}
	c.snapshot, c.files, c.set = snapshot, files, set
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, s := range c.statuses {
		// What this process knows better than Git stays: it is on its way there.
		if _, dirty := c.dirty[key]; dirty || c.busy[s.Request.DatabaseKey()] == key {
			known[key] = s
		}
	}
	c.statuses = known
	c.judge(blobs)
	return nil
}

// findOrigins looks up which commits brought the requests that are still to be served.
func (c *Controller) findOrigins(ctx context.Context, revision string, set *manifest.Set, blobs map[string]string, known map[string]Status) error {
	var paths []string
	for _, r := range set.Requests {
		s, ok := known[r.Namespace+"/"+r.Name]
		served := ok && s.Phase.Finished() && s.Request.ID == r.ID
		if _, found := c.origins[blobs[r.Path]]; !found && !served {
			paths = append(paths, r.Path)
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
	for path, commit := range origins {
		c.origins[blobs[path]] = commit
	}
	return nil
}

// update takes a status over. The caller holds the lock.
func (c *Controller) update(s Status) {
	key := s.Request.Key()
	before := c.statuses[key]
	switch {
	case !s.Phase.Finished():
	case (s.Phase == PhaseDenied || s.Has(TypeRequestChanged)) && !equal(before, s):
		c.ended[PhaseDenied]++
	case !before.Phase.Finished():
		c.ended[s.Phase]++
	}
	c.statuses[key] = s
	if _, ok := c.dirty[key]; !ok {
		c.dirty[key] = c.Engine.Clock.Now()
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Advance starts what can be started and returns at once.
func (c *Controller) Advance(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	unfinished := map[string][]Status{}
	for _, key := range slices.Sorted(maps.Keys(c.statuses)) {
		s := c.statuses[key]
		if s.Request.ID == "" || s.Phase.Finished() || s.Request.Database == "" {
			continue
		}
		unfinished[s.Request.DatabaseKey()] = append(unfinished[s.Request.DatabaseKey()], s)
	}
	for database, list := range unfinished {
		runs, busy := c.busy[database]
		if busy && len(list) == 1 {
			continue
		}
		for i := range list {
			if list[i].Request.Key() == runs {
				list[i].Phase = PhaseProgressing // also while it waits for its database
			}
		}
		q := arrange(list, c.Engine.Clock.Now())
		for _, s := range slices.Concat(q.skipped, q.waiting) {
			if !equal(c.statuses[s.Request.Key()], s) {
				c.update(s)
			}
		}
		if busy {
			continue
		}
		c.start(ctx, *q.run, q.skipped)
	}
}

// start runs a rotation in the background. The caller holds the lock.
func (c *Controller) start(ctx context.Context, s Status, superseded []Status) {
	database := s.Request.DatabaseKey()
	c.busy[database] = s.Request.Key()
	// From here on it is the one that runs: a newer request waits.
	s.Phase = PhaseProgressing
	c.statuses[s.Request.Key()] = s
	supplied := c.suppliedBy(s.Request)
	c.running.Go(func() {
		c.Log.Info("rotation begins", "request", s.Request.Key(), "database", database, "rotation", s.Request.ID)
		last := c.Engine.Rotate(ctx, Job{Status: s, Supplied: supplied, Superseded: superseded, Report: c.report})
		c.Log.Info("rotation ends", "request", s.Request.Key(), "database", database, "phase", last.Phase)
		c.mu.Lock()
		delete(c.busy, database)
		c.mu.Unlock()
		c.wake()
	})
}

// ReleasePaused finds the databases that an earlier run left paused or half rotated and for which no request runs,
// finishes what it began and resumes them. It is called once, after the first Poll and Advance.
func (c *Controller) ReleasePaused(ctx context.Context) error {
	paused, err := c.Engine.Cluster.PausedTargets(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, target := range paused {
		c.occupy(target.Namespace+"/"+target.Name, func() { c.release(ctx, target) })
	}
	// Nothing marks a server that KubeDB does not know. Its keeper tells whether something was cut off.
	for _, server := range c.set.Servers {
		if len(server.Problems) > 0 {
			continue
		}
		request := Request{Namespace: server.Namespace, Database: server.Name, Server: &server.Spec}
		c.occupy(request.DatabaseKey(), func() {
			if target, err := c.Engine.Cluster.Target(ctx, request); err == nil {
				c.release(ctx, target)
			}
		})
	}
	return nil
}

func (c *Controller) release(ctx context.Context, target Target) {
	if err := c.Engine.Release(ctx, target, c.report); err != nil && ctx.Err() == nil {
		c.Log.Error("a rotation that was cut off could not be brought to its end", "database", target.String(), "error", err)
	}
}

// occupy does something in the background with a database for which no request runs, and keeps requests away from it
// meanwhile. The caller holds the lock.
func (c *Controller) occupy(database string, do func()) {
	if _, busy := c.busy[database]; busy {
		return
	}
	c.busy[database] = ""
	c.running.Go(func() {
		do()
		c.mu.Lock()
		delete(c.busy, database)
		c.mu.Unlock()
		c.wake()
	})
}

func (c *Controller) report(s Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.update(s)
}

func (c *Controller) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// State counts for metrics and for whoever waits.
type State struct {
	Revision string        // the commit that was read last; empty before the first
	Unsaved  int           // statuses that Git does not have
	Running  int           // databases that a rotation runs for
	Waiting  int           // requests that have not ended
	Problems int           // of manifests
	Ended    map[Phase]int // how the requests that this process served have ended
}

// State returns the state as it is now. It is called by the goroutine that calls Poll.
func (c *Controller) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Unsaved: len(c.dirty), Running: len(c.busy), Problems: len(c.problems()), Ended: maps.Clone(c.ended)}
	if c.snapshot != nil {
		s.Revision = c.snapshot.Revision
	}
	for _, status := range c.statuses {
		if status.Request.ID != "" && !status.Phase.Finished() {
			s.Waiting++
		}
	}
	return s
}

// Wait returns when no rotation runs any more.
func (c *Controller) Wait() { c.running.Wait() }

func inside(path, folder string) bool { return strings.HasPrefix(path, folder+"/") }
