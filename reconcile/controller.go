package reconcile

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/guardrails"
)

// Repository is what the controller needs of Git; [gitsource.Repository] has it.
type Repository interface {
	Head(ctx context.Context) (string, error)
	Snapshot(ctx context.Context, dirs ...string) (*gitsource.Snapshot, error)
	Origins(ctx context.Context, revision string, paths ...string) (map[string]gitsource.Origin, error)
	Removals(ctx context.Context, revision string, paths ...string) (map[string]gitsource.Origin, error)
	Between(ctx context.Context, revision, since string) ([]gitsource.Commit, error)
	Contains(ctx context.Context, revision, commit string) (bool, error)
	Branches(ctx context.Context, prefix string) (map[string]string, error)
	Propose(ctx context.Context, branch string, dirs []string, build func(*gitsource.Snapshot) (*gitsource.Change, error)) error
	Retract(ctx context.Context, branch, tip string) error
	Write(ctx context.Context, dirs []string, build func(*gitsource.Snapshot) (*gitsource.Change, error)) (*gitsource.Snapshot, error)
}

// Options say what a [Controller] watches and works with.
type Options struct {
	Repository Repository // the branch with the manifests
	Statuses   Repository // the branch with the statuses, which nobody else writes; nil: the same
	// RequestSigners are those whose signed commits may bring requests; nil: anybody's commits may.
	RequestSigners Signers
	// ApprovalSigners are those whose signed commits may approve, where a policy asks for signatures; nil: nobody's.
	ApprovalSigners Signers
	Forge           Forge                        // that hosts the repository; nil: none is asked for reviews
	Guardrails      func() guardrails.Guardrails // as they are now; nil: the zero value
	Branch          string                       // of the manifests, which pull requests are merged to
	Engine          *Engine
	Keys            func() sopsfile.Keys // for the credentials that users supply; asked for each
	Path            string               // the folder with the manifests
	StatusPath      string               // the folder that gitrota writes, and nobody else
	PolicyRecord    string               // namespace/name of a Secret for the policies in force; empty: only the status path has them
	SkipCI          bool                 // status commits ask forges to start no pipeline
	Log             *slog.Logger
}

// Controller serves the requests of a repository: it reads them, runs one rotation for each database at a time and
// databases side by side, and brings the statuses back. Poll, Recover, Advance and Flush are called by one goroutine;
// the rotations run in their own.
type Controller struct {
	Options
	manifests *gitsource.Snapshot // the manifests as they were read last; nil: never
	written   *gitsource.Snapshot // the status files as they were read or written last; nil: never

	files   map[string]*manifest.File // by path and blob: what has not changed is not parsed again
	parsed  map[string]Status         // status files, by path and blob
	set     *manifest.Set
	origins map[string]gitsource.Origin // by path and blob
	doubted map[string]bool             // those that are looked for again, should history be rewritten with a signature

	targets map[string]Target             // the MSSQLServers, by namespace and name, as they were listed last
	labels  map[string]map[string]string  // of those, by namespace and name
	between map[string][]gitsource.Commit // the commits since another one, of the revision that is being read

	serverBegan map[string]time.Time // by path: when a SQLServer document with a schedule came to be as it is

	kept *Secret // PolicyRecord as it was read or written last; nil: that is not known, or there is none

	keepers   map[keeperOf]bool // the keepers there may be, and whether their journal was read; nil: not known
	recovered bool              // they were all read; before that, Git is told nothing
	refused   refusal           // of the keepers

	running sync.WaitGroup
	changed chan struct{}

	mu       sync.Mutex
	inGit    map[string]Status    // by request: what the status files say
	statuses map[string]Status    // by request: the newest that is known
	dirty    map[string]unsaved   // the requests whose status Git does not have
	saved    time.Time            // when statuses were last brought into Git
	busy     map[string]string    // the databases that a rotation runs for, and its request
	visited  map[string]time.Time // when a patrol asked the servers of a database last
	replaced map[string]bool      // requests that end as skipped as soon as the one that runs in their place is staged or ends
	leaving  map[string]Status    // how requests are to end that were withdrawn, as soon as their keeper says so
	ended    map[Phase]int        // how the requests ended that this controller served

	guards         guardrails.Guardrails // that the manifests were judged by
	stale          bool                  // they have to be judged again: not all was known, or an error came in between
	policies       *[]policy             // in force, as they are to be recorded; nil: not known yet
	policyChanges  []policyChange
	policyProblems []manifest.Problem
	claimed        map[string]claim // by request: what the approvals of those rest on that need one
	cleared        map[string]bool  // whether they have it
	strict         bool             // somebody asks for approvals
	reviewed       map[needed]answered
	account        string          // gitrota's own at the forge; empty: not known, or none
	asking         bool            // the forge
	held           map[string]bool // requests that wait for something that may take days
	opening        time.Time       // when one of them may begin; zero: that is not known

	surveyed bool                   // targets is known
	planned  []Planned              // what is due when; nil: not known
	asked    bool                   // for what is due by that plan
	planNext time.Time              // until when that is right, if nothing changes
	declined map[string][]time.Time // by database: dates whose pull request people have closed

	proposing  bool   // pull requests are being brought up to date
	unproposed string // why that failed last; empty: it did not
}

// unsaved is a status that Git does not have.
type unsaved struct {
	since time.Time // since when
	ended time.Time // when the request ended; zero: it has not
}

// NewController makes a controller that has read nothing yet. The engine asks it from then on what Git has.
func NewController(options Options) *Controller {
	if options.Statuses == nil {
		options.Statuses = options.Repository
	}
	c := &Controller{
		Options: options, set: &manifest.Set{}, files: map[string]*manifest.File{}, parsed: map[string]Status{}, origins: map[string]gitsource.Origin{}, doubted: map[string]bool{},
		changed: make(chan struct{}, 1),
		inGit:   map[string]Status{}, statuses: map[string]Status{}, dirty: map[string]unsaved{}, busy: map[string]string{}, visited: map[string]time.Time{}, replaced: map[string]bool{}, leaving: map[string]Status{}, ended: map[Phase]int{},
		targets: map[string]Target{}, between: map[string][]gitsource.Commit{}, claimed: map[string]claim{}, cleared: map[string]bool{}, reviewed: map[needed]answered{}, held: map[string]bool{},
		serverBegan: map[string]time.Time{}, declined: map[string][]time.Time{},
	}
	c.Engine.Told = func(r Request) Status {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.inGit[r.Key()]
	}
	return c
}

// guardrails returns those of the installation, as they are now.
func (c *Controller) guardrails() guardrails.Guardrails {
	if c.Guardrails == nil {
		return guardrails.Guardrails{}
	}
	return c.Guardrails()
}

// Changed delivers a value after a status has changed or a rotation has ended.
func (c *Controller) Changed() <-chan struct{} { return c.changed }

// update takes a status over, as far as no end was told before. The caller holds the lock.
func (c *Controller) update(s Status) {
	key := s.Request.Key()
	before := c.statuses[key]
	if before.Request.ID == s.Request.ID {
		s = upheld(before, s)
	}
	s = upheld(c.inGit[key], s)
	switch {
	case !s.Phase.Finished():
	case (s.Phase == PhaseDenied || s.Has(TypeRequestChanged)) && !equal(before, s):
		c.ended[PhaseDenied]++
	case !before.Phase.Finished():
		c.ended[s.Phase]++
	}
	c.statuses[key] = s
	if s.Phase.Finished() {
		c.planned = nil
	}
	c.soil(key, c.Engine.Clock.Now())
	c.wake()
}

// soil notes that Git does not have a status. The caller holds the lock.
func (c *Controller) soil(key string, now time.Time) {
	u, known := c.dirty[key]
	if !known {
		u.since = now
	}
	if s := c.statuses[key]; s.Phase.Finished() && u.ended.IsZero() {
		// A status tells the second; what ended just now is in order to the moment. It may have ended long ago, and be told late.
		if u.ended = s.ended(); now.Sub(u.ended) < time.Second {
			u.ended = now
		}
	}
	c.dirty[key] = u
}

// Advance starts what can be started and returns at once. As long as what was read has to be judged anew, that is only
// what has begun before.
func (c *Controller) Advance(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.held)
	unjudged := c.outdated() || !c.surveyed && c.judgedByDatabases()
	unfinished := map[string][]Status{}
	for _, key := range slices.Sorted(maps.Keys(c.statuses)) {
		s := c.statuses[key]
		if s.Request.ID == "" || s.Phase.Finished() || s.Request.Database == "" || c.replaced[key] {
			continue
		}
		if withdrawn, leaves := c.leaving[key]; leaves {
			c.withdraw(ctx, withdrawn)
			continue
		}
		if unjudged && s.Phase != PhaseProgressing {
			continue
		}
		if !c.mayBegin(s) {
			if s.Phase == PhaseWaitingForApproval {
				c.held[key] = true
			}
			continue // it has no place in the queue yet: nobody may take another's place by asking
		}
		unfinished[s.Request.DatabaseKey()] = append(unfinished[s.Request.DatabaseKey()], s)
	}
	var turns []turn
	for _, database := range slices.Sorted(maps.Keys(unfinished)) {
		list := unfinished[database]
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
		c.replace(q.waiting)
		if !busy {
			rules, _ := c.set.RulesFor(c.set.Database(q.run.Request.Namespace, q.run.Request.Database)) // a problem is a blocker
			turns = append(turns, turn{*q.run, q.skipped, rules})
		}
	}
	c.admit(turns, func(t turn) { c.start(ctx, t.Status, t.superseded) })
}

// replace takes over the statuses that say something new. The caller holds the lock.
func (c *Controller) replace(statuses []Status) {
	for _, s := range statuses {
		if !equal(c.statuses[s.Request.Key()], s) {
			c.update(s)
		}
	}
}

// start runs a rotation in the background. The caller holds the lock.
func (c *Controller) start(ctx context.Context, s Status, superseded []Status) {
	database := s.Request.DatabaseKey()
	c.busy[database] = s.Request.Key()
	// From here on it is the one that runs: a newer request waits.
	s.Phase = PhaseProgressing
	c.statuses[s.Request.Key()] = s
	for _, skipped := range superseded {
		c.replaced[skipped.Request.Key()] = true
	}
	supplied := c.suppliedBy(s.Request)
	c.running.Go(func() {
		c.Log.Info("rotation begins", "request", s.Request.Key(), "database", database, "rotation", s.Request.ID)
		last := c.Engine.Rotate(ctx, Job{Status: s, Supplied: supplied, Superseded: superseded, Report: c.report})
		c.Log.Info("rotation ends", "request", s.Request.Key(), "database", database, "phase", last.Phase)
		c.mu.Lock()
		delete(c.busy, database)
		for _, skipped := range superseded {
			delete(c.replaced, skipped.Request.Key())
		}
		c.mu.Unlock()
		c.wake()
	})
}

// withdraw ends a request that was withdrawn before it began, unless another agent has begun with it. The caller holds
// the lock.
func (c *Controller) withdraw(ctx context.Context, withdrawn Status) {
	c.occupy(withdrawn.Request.DatabaseKey(), func() {
		s, err := c.Engine.Withdraw(ctx, withdrawn)
		if err != nil {
			return
		}
		c.mu.Lock()
		delete(c.leaving, s.Request.Key())
		c.mu.Unlock()
		c.report(s)
	})
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
	Revision       string        // the commit of the manifests that was read last; empty before the first
	JournalPending int           // statuses that Git does not have
	JournalOldest  time.Time     // since when it lacks the one that it has lacked for longest; zero: it has them all
	Running        int           // databases that a rotation runs for
	Waiting        int           // requests that have not ended
	Held           int           // those of them that wait for somebody's word, or for their time
	Problems       int           // of manifests
	Ended          map[Phase]int // how the requests that this process served have ended
}

// State returns the state as it is now. It is called by the goroutine that calls Poll.
func (c *Controller) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{JournalPending: len(c.dirty), Running: len(c.busy), Held: len(c.held), Problems: len(c.problems()), Ended: maps.Clone(c.ended)}
	if c.manifests != nil {
		s.Revision = c.manifests.Revision
	}
	for _, u := range c.dirty {
		if s.JournalOldest.IsZero() || u.since.Before(s.JournalOldest) {
			s.JournalOldest = u.since
		}
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
