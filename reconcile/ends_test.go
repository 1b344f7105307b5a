package reconcile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile"
)

// company is a schedule for some agents that serve one branch and one cluster, each believing that it is alone: whose
// turn it is at each call, who sleeps through how many calls of the others, who dies, and when the database, its servers
// or the manifests are not there.
type company struct {
	seed   uint64
	agents int
	asleep [][2]int // by agent: from which call of the world until which it does nothing
	killed []int    // by agent: at which call of its own it dies; 0: never
	gone   [][2]int // the database is not in the cluster
	down   [][2]int // its servers do not answer
	barren [][2]int // its auth Secret is not there
	plays  outages  // what becomes of the branch
}

func newCompany(seed uint64) company {
	random := rand.New(rand.NewPCG(seed, 17))
	const span = 200
	window := func(length int) [2]int {
		from := random.IntN(span)
		return [2]int{from, from + 1 + random.IntN(length)}
	}
	some := func(one int, length int) (list [][2]int) {
		for random.IntN(one) == 0 {
			list = append(list, window(length))
		}
		return list
	}
	c := company{seed: seed, agents: 2 + random.IntN(2)}
	for range c.agents {
		c.asleep = append(c.asleep, [2]int{})
		c.killed = append(c.killed, max(0, random.IntN(3*span)-span))
	}
	c.asleep[random.IntN(c.agents)] = window(2 * span)
	c.gone, c.down, c.barren = some(3, 60), some(3, 300), some(4, 60)
	c.plays = newOutages(seed)
	c.plays.mishaps, c.plays.mode = schedule{}, mode{credential: "generated", replicas: 1}
	c.plays.then = []string{leaveAlone, leaveAlone, removeRequests}[random.IntN(3)]
	return c
}

func (c company) String() string {
	return fmt.Sprintf("-seed=%d: %d agents, asleep %v, killed at %v, %d requests (together: %v), database gone %v, servers down %v, no auth Secret %v, Git away %v, at call %d: %s",
		c.seed, c.agents, c.asleep, c.killed, c.plays.requests, c.plays.together, c.gone, c.down, c.barren, c.plays.away, c.plays.thenAt, c.plays.then)
}

func within(windows [][2]int, call int) bool {
	return slices.ContainsFunc(windows, func(w [2]int) bool { return w[0] <= call && call < w[1] })
}

// fickle is a cluster in which the database, its Secret and its servers come and go.
type fickle struct {
	flushing
	company *company
}

func (f *fickle) Target(ctx context.Context, r reconcile.Request) (reconcile.Target, error) {
	target, err := f.flushing.Target(ctx, r)
	if err == nil && within(f.company.gone, f.world.calls) {
		return reconcile.Target{}, reconcile.ErrNotFound
	}
	return target, err
}

func (f *fickle) Targets(ctx context.Context) ([]reconcile.Target, error) {
	targets, err := f.flushing.Targets(ctx)
	if err == nil && within(f.company.gone, f.world.calls) {
		return nil, nil
	}
	return targets, err
}

func (f *fickle) Secret(ctx context.Context, namespace, name string) (reconcile.Secret, error) {
	secret, err := f.flushing.Secret(ctx, namespace, name)
	if err == nil && name == "db-auth" && within(f.company.barren, f.world.calls) {
		return reconcile.Secret{}, reconcile.ErrNotFound
	}
	return secret, err
}

// play lets the agents work until each has found twice that nothing is left, and then one more that disturbs nobody.
func (c company) play() (*simulation, *branch, *history) {
	world, git := newSimulation(c.plays.mode), &branch{}
	world.unasked = true
	done := &history{staged: map[string]map[string]bool{}}
	world.watch = done.watch
	c.plays.fill(world, git)

	random := rand.New(rand.NewPCG(c.seed, 19))
	yields, over := make(chan int), make(chan int)
	turns := make([]chan struct{}, c.agents)
	for a := range c.agents {
		turns[a] = make(chan struct{})
		go func() {
			defer func() { over <- a }()
			own := 0
			for life := range uint64(3) {
				at := func(n int) mishap {
					c.weather(world, n)
					if own++; own == c.killed[a] {
						return dieAfter
					}
					return c.plays.at(git, world, n)
				}
				turn := func() {
					yields <- a
					<-turns[a]
				}
				if c.live(world, git, 10*uint64(a)+life, at, turn) {
					return
				}
			}
		}()
	}
	running, waiting := c.agents, map[int]bool{}
	for running > 0 {
		for len(waiting) < running {
			select {
			case a := <-yields:
				waiting[a] = true
			case <-over:
				running--
			}
		}
		if running == 0 {
			break
		}
		awake := slices.DeleteFunc(slices.Sorted(maps.Keys(waiting)), func(a int) bool {
			return c.asleep[a][0] <= world.calls && world.calls < c.asleep[a][1]
		})
		if len(awake) == 0 {
			awake = slices.Sorted(maps.Keys(waiting)) // nobody else is left
		}
		a := awake[random.IntN(len(awake))]
		delete(waiting, a)
		turns[a] <- struct{}{}
	}
	c.gone, c.down, c.barren, c.plays.away, c.plays.then = nil, nil, nil, nil, leaveAlone
	git.away = false
	world.now = world.now.Add(time.Hour)
	c.live(world, git, 1000, func(int) mishap { return nothing }, nil)
	return world, git, done
}

// weather makes the servers what the schedule wants them to be.
func (c *company) weather(world *simulation, call int) {
	for _, server := range world.servers {
		server.away = time.Time{}
		if within(c.down, call) {
			server.away = world.now.Add(time.Second)
		}
	}
}

func (c *company) live(world *simulation, git *branch, life uint64, at func(int) mishap, turn func()) (idle bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	i := &incarnation{world: world, cancel: cancel, at: at, turn: turn}
	cluster := &fickle{flushing{incarnation: i, every: c.plays.flush}, c}
	engine := engineOn(i, life, func(*incarnation) reconcile.Cluster { return cluster })
	controller := reconcile.NewController(reconcile.Options{
		Repository: remote{i, git}, Engine: engine, Path: "rotations", StatusPath: "status", Log: slog.New(slog.DiscardHandler),
	})
	cluster.controller = controller
	return c.plays.rounds(ctx, i, controller)
}

// judge says what is wrong with the ends. That none was rewritten in Git has been watched at each commit.
func (c company) judge(world *simulation, git *branch, done *history) []string {
	wrong := slices.Clone(world.violations)
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	ends := map[string]ended{}
	for _, e := range done.ended {
		if first, again := ends[e.ID]; again && first != e {
			complain("the keeper said that %s was %s, and now %s", e.Request, first.Phase, e.Phase)
		}
		ends[e.ID] = e
	}
	var journal []struct{ Status reconcile.Status }
	_ = json.Unmarshal([]byte(world.value("db-auth-keeper", "journal")), &journal)
	for _, e := range journal {
		if git := git.status(e.Status.Request.Name); git.Request.ID == e.Status.Request.ID {
			if difference := rewritten(git, e.Status); difference != "" && !toldGitAlone(git) {
				complain("Git and the keeper differ about %s: %s", e.Status.Request.Name, difference)
			}
		}
	}
	for name := range git.tip().files {
		request := strings.TrimSuffix(path.Base(name), ".yaml")
		s := git.status(request)
		if !strings.HasPrefix(name, "status/demo/") || s.Request.ID == "" {
			continue
		}
		if !s.Phase.Finished() {
			complain("%s is %s for ever", request, s.Phase)
		}
		if e, acted := ends[s.Request.ID]; acted && e.Phase != s.Phase && !toldGitAlone(s) {
			complain("Git says that %s is %s, and the keeper %s", request, s.Phase, e.Phase)
		}
		if _, acted := ends[s.Request.ID]; !acted && len(done.staged[s.Request.ID]) > 0 {
			complain("%s was staged, and the keeper does not say how it ended", request)
		}
	}
	for id, passwords := range done.staged {
		if len(passwords) != 1 {
			complain("%d passwords were made for %s", len(passwords), id)
		}
	}
	for _, e := range ends {
		if git.status(path.Base(e.Request)).Phase == "" {
			complain("%s has ended as %s, and Git does not know", e.Request, e.Phase)
		}
	}
	if world.paused != "" || world.calls > maxCalls {
		complain("the database was left paused (%s), or it went round in circles", world.paused)
	}
	return wrong
}

// toldGitAlone: of a database that is not there only Git can be told that its request has failed. An agent that has not
// read that, and finds the database, does what was asked.
func toldGitAlone(s reconcile.Status) bool {
	return s.Conditions[len(s.Conditions)-1].Reason == reconcile.ReasonDatabaseNotFound
}

// rewritten says how an ended status differs from what it was, but for what may come after an end.
func rewritten(before, after reconcile.Status) string {
	own := func(s reconcile.Status) (list []reconcile.Condition) {
		for _, c := range s.Conditions {
			if c.Type != reconcile.TypeOverwritten && c.Type != reconcile.TypeRequestChanged {
				list = append(list, c)
			}
		}
		return list
	}
	was, is := own(before), own(after)
	switch {
	case before.Request.ID != after.Request.ID || before.Phase != after.Phase:
		return fmt.Sprintf("it was %s of %q, and is %s of %q", before.Phase, before.Request.ID, after.Phase, after.Request.ID)
	case !slices.Equal(was, is):
		return fmt.Sprintf("it had %d conditions, %v, and has %d, %v", len(was), was, len(is), is)
	}
	return ""
}

// TestWhatHasEndedStaysAsItEnded lets agents that know nothing of each other serve the same requests, one of them asleep
// for long. For each rotation the first end that Git was told stays for ever, and is the keeper's.
func TestWhatHasEndedStaysAsItEnded(t *testing.T) {
	first, last := uint64(1), uint64(*schedules)/3
	if *seed != 0 {
		first, last = *seed, *seed
	}
	bad := 0
	for n := first; n <= last && bad < 5; n++ {
		c := newCompany(n)
		if wrong := c.judge(c.play()); len(wrong) > 0 {
			bad++
			t.Errorf("replay with %s: %s", c, strings.Join(wrong, "; "))
		}
	}
	require.Less(t, first, last+1)
}
