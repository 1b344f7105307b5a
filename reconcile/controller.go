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
	Keys       sopsfile.Keys // for the credentials that users supply
	Path       string        // the folder with the manifests
	StatusPath string        // the folder that gitrota writes, and nobody else
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
	statuses map[string]Status // by request: the newest that is known
	dirty    map[string]bool   // the requests whose status Git does not have
	busy     map[string]bool   // the databases that a rotation runs for
	ended    map[Phase]int     // how the requests ended that this controller served
}

// NewController makes a controller that has read nothing yet.
func NewController(options Options) *Controller {
	return &Controller{
		Options: options, set: &manifest.Set{}, files: map[string]*manifest.File{}, origins: map[string]gitsource.Commit{},
		changed:  make(chan struct{}, 1),
		statuses: map[string]Status{}, dirty: map[string]bool{}, busy: map[string]bool{}, ended: map[Phase]int{},
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
		if c.dirty[key] || c.busy[s.Request.DatabaseKey()] && !s.Phase.Finished() {
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

// judge compares the requests of the manifests with the statuses: it refuses those that are wrong, and notes changes to
// those that have ended. The caller holds the lock.
func (c *Controller) judge(blobs map[string]string) {
	now := c.Engine.Clock.Now()
	written := map[string]bool{}
	for _, r := range c.set.Requests {
		request := requestOf(r, c.origins[blobs[r.Path]])
		written[request.Key()] = true
		old, known := c.statuses[request.Key()]
		bound := known && old.Request.ID != "" && old.Phase.Finished()
		switch {
		case bound && len(r.Problems) > 0:
			c.note(old, r.Problems[0].Reason, manifestMessage(r.Problems), now)
		case bound && old.Request.ID != request.ID:
			c.note(old, ReasonImmutable, request.Source.locate("the spec differs from the one that was served, and a request is immutable; nothing was done; to rotate again add a request with another name"), now)
		case bound:
			// Served: whatever file it is in now, it is the same request.
		case known && old.Phase == PhaseProgressing && (old.Request.ID != request.ID || len(r.Problems) > 0):
			// It runs on as it was taken up.
		case len(r.Problems) > 0:
			c.deny(old, request, r.Problems, now)
		case !known || old.Request.ID != request.ID:
			c.statuses[request.Key()] = Status{Request: request}
		default:
			old.Request = request
			c.statuses[request.Key()] = old
		}
	}
	for key, s := range c.statuses {
		if !written[key] && s.Request.ID != "" && (s.Phase == PhasePending || s.Phase == "") {
			withdrawn := s.clone()
			withdrawn.Phase = PhaseSkipped
			skipped := condition(TypeSkipped, "the manifest was removed before the request began")
			skipped.Reason = ReasonWithdrawn
			withdrawn.set(skipped, now)
			c.update(withdrawn)
		}
	}
}

// deny gives a manifest that cannot be read as a request its status. It is bound to no rotation id: a mended manifest
// is a request that has not run.
func (c *Controller) deny(old Status, request Request, problems []manifest.Problem, now time.Time) {
	request.ID = ""
	status := Status{Request: request, Phase: PhaseDenied}
	denied := condition(TypeDenied, manifestMessage(problems))
	denied.Reason = problems[0].Reason
	status.set(denied, now)
	if old.Phase == PhaseDenied && len(old.Conditions) == 1 && old.Conditions[0].Message == denied.Message {
		return
	}
	c.update(status)
}

// note adds to an ended request what has become of its manifest. Its phase stays.
func (c *Controller) note(old Status, reason, message string, now time.Time) {
	s := old.clone()
	if s.set(Condition{Type: TypeRequestChanged, Status: "True", Reason: reason, Message: message}, now) {
		c.update(s)
	}
}

// update takes a status over. The caller holds the lock.
func (c *Controller) update(s Status) {
	key := s.Request.Key()
	before := c.statuses[key]
	if s.Phase.Finished() && (!before.Phase.Finished() || !equal(before, s)) {
		if s.Has(TypeRequestChanged) {
			c.ended[PhaseDenied]++
		} else {
			c.ended[s.Phase]++
		}
	}
	c.statuses[key] = s
	c.dirty[key] = true
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
		if c.busy[database] && len(list) == 1 {
			continue
		}
		q := arrange(list, c.Engine.Clock.Now())
		for _, s := range slices.Concat(q.skipped, q.waiting) {
			if !equal(c.statuses[s.Request.Key()], s) {
				c.update(s)
			}
		}
		if c.busy[database] {
			continue
		}
		c.start(ctx, *q.run, q.skipped)
	}
}

// start runs a rotation in the background. The caller holds the lock.
func (c *Controller) start(ctx context.Context, s Status, superseded []Status) {
	database := s.Request.DatabaseKey()
	c.busy[database] = true
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

// ReleasePaused finds the databases that an earlier run left paused and for which no request runs, finishes what it
// began and resumes them. It is called once, after the first Poll.
func (c *Controller) ReleasePaused(ctx context.Context) error {
	paused, err := c.Engine.Cluster.PausedDatabases(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, db := range paused {
		key := db.Namespace + "/" + db.Name
		if c.busy[key] {
			continue
		}
		c.busy[key] = true
		c.running.Go(func() {
			if err := c.Engine.Release(ctx, db, c.report); err != nil {
				c.Log.Error("a paused database could not be resumed", "database", key, "error", err)
			}
			c.mu.Lock()
			delete(c.busy, key)
			c.mu.Unlock()
			c.wake()
		})
	}
	return nil
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

// Flush brings the statuses that Git does not have into one commit, or none if there are none. After an error they
// are still to be written.
func (c *Controller) Flush(ctx context.Context) error {
	c.mu.Lock()
	var statuses []Status
	for _, key := range slices.Sorted(maps.Keys(c.dirty)) {
		statuses = append(statuses, c.statuses[key].clone())
	}
	all := maps.Clone(c.statuses)
	c.mu.Unlock()
	if c.snapshot == nil {
		return nil
	}
	problems := c.problems()
	if len(statuses) == 0 {
		// Only the problems may differ from what Git has; that is known without asking it.
		if change, err := commit(c.snapshot, c.StatusPath, nil, all, problems); change == nil {
			return err
		}
	}
	snapshot, err := c.Repository.Write(ctx, []string{c.Path, c.StatusPath}, func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
		return commit(tip, c.StatusPath, statuses, all, problems)
	})
	if err != nil {
		return fmt.Errorf("writing %d statuses: %w", len(statuses), err)
	}
	c.mu.Lock()
	for _, s := range statuses {
		if equal(c.statuses[s.Request.Key()], s) {
			delete(c.dirty, s.Request.Key())
		}
	}
	c.mu.Unlock()
	return c.load(ctx, snapshot)
}

// problems are those that belong to no request with a status: of files, and of Secrets.
func (c *Controller) problems() []manifest.Problem {
	problems := slices.Clone(c.set.Problems)
	for _, s := range c.set.Secrets {
		problems = append(problems, s.Problems...)
	}
	return problems
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

// requestOf takes a request out of its manifest.
func requestOf(r *manifest.Request, origin gitsource.Commit) Request {
	request := Request{
		Namespace: r.Namespace, Name: r.Name, ID: r.ID,
		Database: r.Spec.DatabaseRef.Name, Always: r.Spec.Apply == manifest.ApplyAlways, MaxRetries: r.Spec.MaxRetries,
		Manifest: r.Raw,
		Source: Source{
			Commit: origin.Hash, Time: origin.Time.UTC(), Path: r.Path, Line: r.Line,
		},
	}
	if origin.Author.Name != "" {
		request.Source.Author = fmt.Sprintf("%s <%s>", origin.Author.Name, origin.Author.Email)
	}
	if r.Spec.Timeout != nil {
		request.Timeout = *r.Spec.Timeout
	}
	if r.Spec.Authentication != nil {
		request.SecretRef = r.Spec.Authentication.SecretRef.Name
	}
	return request
}

// manifestMessage lists the problems of a manifest, each with its place and what to do.
func manifestMessage(problems []manifest.Problem) string {
	var lines []string
	for _, p := range problems {
		line := p.Where() + ": " + p.Message
		if p.Hint != "" {
			line += "; " + p.Hint
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func inside(path, folder string) bool { return strings.HasPrefix(path, folder+"/") }
