package reconcile_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

// make crash runs every single fault, and as many second ones, other misfortunes and second agents as it is told to;
// make test runs a part of them. A schedule is named by its seed, which replays it.
var (
	schedules = flag.Int("schedules", 1500, "how many random schedules to run, beside every single fault")
	seed      = flag.Uint64("seed", 0, "replay the random schedule with this seed only")
)

// mode is a kind of rotation.
type mode struct {
	credential string // generated, supplied, pair
	replicas   int
}

func (m mode) String() string { return fmt.Sprintf("%s x%d", m.credential, m.replicas) }

var modes = []mode{{"generated", 1}, {"supplied", 1}, {"pair", 1}, {"generated", 3}, {"supplied", 3}, {"pair", 3}}

// schedule is what goes wrong, by call. What is not named goes well.
type schedule map[int]mishap

func (s schedule) at(call int) mishap { return s[call] }

func (s schedule) String() string {
	var parts []string
	for _, call := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, fmt.Sprintf("%s at call %d", [...]string{"nothing", "death before", "death after", "answer lost", "refused", "",
			"failover", "a pod lost", "the auth Secret restored", "outage", "", "a server down", "a server refuses"}[s[call]], call))
	}
	return strings.Join(parts, " and ")
}

// tally is the outcome of many schedules.
type tally struct{ schedules, lost, repeated, leftPaused, extraLogins, unfinished int }

func (t tally) String() string {
	return fmt.Sprintf("crash: schedules=%d lost=%d repeated=%d left-paused=%d extra-logins=%d", t.schedules, t.lost, t.repeated, t.leftPaused, t.extraLogins)
}

func (t tally) bad() int { return t.lost + t.repeated + t.leftPaused + t.extraLogins + t.unfinished }

func (t *tally) add(o tally) {
	t.schedules += o.schedules
	t.lost += o.lost
	t.repeated += o.repeated
	t.leftPaused += o.leftPaused
	t.extraLogins += o.extraLogins
	t.unfinished += o.unfinished
}

// engineOn makes the engine of an incarnation. alter may put something between the engine and its world, to see that
// the oracle notices.
func engineOn(i *incarnation, random uint64, alter func(*incarnation) reconcile.Cluster) *reconcile.Engine {
	var cluster reconcile.Cluster = i
	if alter != nil {
		cluster = alter(i)
	}
	return &reconcile.Engine{
		Owner: "simulated", Cluster: cluster, Servers: i, Clock: i, Random: newSeeded(random), Log: slog.New(slog.DiscardHandler),
		DigestCost: 1,
	}
}

func job(m mode) reconcile.Job {
	request := reconcile.Request{Kind: manifest.KindRequest, Namespace: "demo", Name: "r", ID: "rotation-1", Database: "db", MaxRetries: 1,
		Password: &credential.Rules{Reuse: remembered}}
	if m.credential == "supplied" {
		request.SecretRef = "user"
	}
	return reconcile.Job{
		Status: reconcile.Status{Request: request},
		Supplied: func(context.Context) reconcile.Supplied {
			return reconcile.Supplied{Credential: credential.Credential{Username: "sa", Password: credential.NewPassword(suppliedPassword)}, From: "simulated"}
		},
	}
}

// live runs one incarnation until the request has ended or the incarnation has died.
func live(world *simulation, m mode, life uint64, at func(int) mishap, alter func(*incarnation) reconcile.Cluster) reconcile.Status {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	i := &incarnation{world: world, at: at, cancel: cancel}
	return engineOn(i, life, alter).Rotate(ctx, job(m))
}

// play runs a schedule: as many incarnations as it takes, then one more that finds the request ended, and a patrol.
func play(m mode, s schedule, alter func(*incarnation) reconcile.Cluster) (*simulation, reconcile.Status, int) {
	world := newSimulation(m)
	var status reconcile.Status
	for life := range uint64(len(s) + 2) {
		status = live(world, m, life, s.at, alter)
		if status.Phase.Finished() {
			break
		}
	}
	calls := world.calls
	live(world, m, 99, schedule{}.at, alter)
	patrol(world, status)
	return world, status, calls
}

// patrol is what follows a rotation, some minutes later.
func patrol(world *simulation, status reconcile.Status) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	engineOn(&incarnation{world: world, at: schedule{}.at, cancel: cancel}, 0, nil).Patrol(ctx, status)
}

// judge is the oracle for the end: it looks at the world, and at the status for what was claimed. A rotation costs each
// replica so many failed logins at most: one, with up to two faults.
func (t *tally) judge(world *simulation, status reconcile.Status, logins int) bool {
	before := t.bad()
	t.schedules++
	if len(world.violations) > 0 {
		t.lost++
	}
	switch status.Phase {
	case reconcile.PhaseSuccessful:
		if !world.opens() || world.value("db-auth", "password") == initialPassword {
			t.lost++
		}
	case reconcile.PhaseFailed:
		// A failure may leave the rotation half done, if it says so, or must leave everything usable.
		if !world.opens() && !status.Has(reconcile.TypeRecoveryRequired) {
			t.lost++
		}
	default:
		t.unfinished++
	}
	if world.paused != "" {
		t.leftPaused++
	}
	for _, server := range world.servers {
		for _, passwords := range server.given {
			delete(passwords, initialPassword) // that was put back
			if len(passwords) > 1 {
				t.repeated++
			}
		}
		if server.failedLogins > logins {
			t.extraLogins++
		}
		if status.Phase == reconcile.PhaseSuccessful && !world.pair && server.podEnv != server.logins["sa"] {
			t.lost++
		}
	}
	return t.bad() == before
}

// TestNoScheduleOfFaultsLosesACredential tries every single fault and misfortune at every call of every mode, and then
// random schedules: a second fault, a misfortune in between, or a second agent.
func TestNoScheduleOfFaultsLosesACredential(t *testing.T) {
	tries := make(chan func(*tally) string)
	workers := runtime.GOMAXPROCS(0)
	totals := make([]tally, workers)
	var running sync.WaitGroup
	for worker := range workers {
		running.Go(func() {
			for try := range tries {
				if complaint := try(&totals[worker]); complaint != "" {
					t.Error(complaint)
				}
			}
		})
	}
	everySingleFault(func(m mode, s schedule) {
		if *seed == 0 && !t.Failed() {
			tries <- func(total *tally) string { return total.single(m, s) }
		}
	})
	for n := uint64(1); n <= uint64(*schedules) && !t.Failed(); n++ {
		if *seed == 0 || n == *seed {
			tries <- func(total *tally) string { return total.random(n) }
		}
	}
	close(tries)
	running.Wait()
	var total tally
	for _, each := range totals {
		total.add(each)
	}
	fmt.Println(total)
}

func everySingleFault(try func(mode, schedule)) {
	for _, m := range modes {
		for c := 1; c <= callsOf(m); c++ {
			for fault := dieBefore; fault < mishaps; fault++ {
				if fault != singles && fault != survivable {
					try(m, schedule{c: fault})
				}
			}
		}
	}
}

// single plays a schedule with one fault, which every rotation survives.
func (t *tally) single(m mode, s schedule) string {
	world, status, _ := play(m, s, nil)
	survived := status.Phase == reconcile.PhaseSuccessful || slices.ContainsFunc(slices.Collect(maps.Values(s)), func(m mishap) bool { return m > survivable })
	if t.judge(world, status, 1) && survived && t.comesBack(world, m, status) {
		return ""
	}
	return fmt.Sprintf("%s: %s: %+v: %s %v", m, s, *t, world, status.Conditions)
}

// random plays the schedule of a seed, and says what was wrong with it.
func (t *tally) random(n uint64) string {
	random := rand.New(rand.NewPCG(n, 7))
	m := modes[random.IntN(len(modes))]
	if random.IntN(4) == 0 {
		world, statuses := playTwo(m, n, nil)
		for _, status := range statuses {
			if !t.judge(world, status, 3) || status.Phase != reconcile.PhaseSuccessful {
				return fmt.Sprintf("replay with -seed=%d: %s: two agents: %+v: %s %v", n, m, *t, world, status.Conditions)
			}
		}
		return ""
	}
	calls := callsOf(m)
	s := schedule{1 + random.IntN(calls+25): dieBefore + mishap(random.IntN(int(singles-dieBefore)))}
	switch random.IntN(3) {
	case 0: // a misfortune of any kind
		if misfortune := failover + mishap(random.IntN(int(mishaps-failover))); misfortune != survivable {
			s[1+random.IntN(calls+25)] = misfortune
		}
	case 1: // a second fault, and a misfortune that a rotation survives
		s[1+random.IntN(calls+25)] = failover + mishap(random.IntN(int(survivable-failover)))
		fallthrough
	default:
		s[1+random.IntN(calls+25)] = dieBefore + mishap(random.IntN(int(singles-dieBefore)))
	}
	world, status, _ := play(m, s, nil)
	// Which of two credentials a server accepts, only a login can tell to a run that has no session. Two runs that die in
	// the middle of telling leave the third to guess.
	if !t.judge(world, status, max(1, len(s)-1)) || !t.comesBack(world, m, status) {
		return fmt.Sprintf("replay with -seed=%d: %s: %s: %+v: %s %v", n, m, s, *t, world, status.Conditions)
	}
	return ""
}

// callsOf is how many calls a rotation takes if nothing goes wrong.
var callsOf = func() func(mode) int {
	var mu sync.Mutex
	known := map[mode]int{}
	return func(m mode) int {
		mu.Lock()
		defer mu.Unlock()
		if known[m] == 0 {
			_, _, known[m] = play(m, schedule{}, nil)
		}
		return known[m]
	}
}()

// playTwo lets two agents serve the same request. A seed decides at every call whose turn it is, and who is killed when.
func playTwo(m mode, n uint64, alter func(*incarnation) reconcile.Cluster) (*simulation, []reconcile.Status) {
	world := newSimulation(m)
	random := rand.New(rand.NewPCG(n, 11))
	statuses := make([]reconcile.Status, 2)
	turns := make([]chan struct{}, 2) // a value is one call
	yields := make(chan int)          // an agent waits for its turn
	ended := make(chan int)
	for a := range statuses {
		turns[a] = make(chan struct{})
		kill := 1 + random.IntN(2*callsOf(m)) // often never
		go func() {
			defer func() { ended <- a }()
			for life := uint64(0); !statuses[a].Phase.Finished() && life < 5; life++ {
				ctx, cancel := context.WithCancel(context.Background())
				calls := 0
				i := &incarnation{world: world, cancel: cancel, at: func(int) mishap {
					if calls++; life == 0 && calls == kill {
						return dieAfter
					}
					return nothing
				}}
				i.turn = func() {
					yields <- a
					<-turns[a]
				}
				statuses[a] = engineOn(i, 10*uint64(a)+life, alter).Rotate(ctx, job(m))
				cancel()
			}
		}()
	}
	// Only when every agent that still runs waits for its turn is one of them given it: nothing is left to chance.
	running, waiting := 2, map[int]bool{}
	for running > 0 {
		for len(waiting) < running {
			select {
			case a := <-yields:
				waiting[a] = true
			case <-ended:
				running--
			}
		}
		if running == 0 {
			break
		}
		a := random.IntN(2)
		if !waiting[a] {
			a = 1 - a
		}
		delete(waiting, a)
		turns[a] <- struct{}{}
	}
	return world, statuses
}

// comesBack serves another request after one that has failed, when its servers are there again: it brings what was left
// to its end, and the database is in order.
func (t *tally) comesBack(world *simulation, m mode, status reconcile.Status) bool {
	if status.Phase != reconcile.PhaseFailed {
		return true
	}
	world.now = world.now.Add(time.Hour)
	for _, server := range world.servers {
		server.strict = false
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	i := &incarnation{world: world, at: schedule{}.at, cancel: cancel}
	next := job(m)
	next.Status.Request.ID, next.Status.Request.Name, next.Status.Request.SecretRef = "rotation-2", "r2", ""
	ended := engineOn(i, 1000, nil).Rotate(ctx, next)
	if ended.Phase != reconcile.PhaseSuccessful || !world.opens() || world.paused != "" || len(world.violations) > 0 {
		t.lost++
		world.violate("the next request: %v", ended)
		return false
	}
	return true
}

func TestTheOracleNoticesWhatItIsThereFor(t *testing.T) {
	// noticed plays single faults until the oracle has counted something.
	noticed := func(m mode, counted func(tally) int, alter func(*incarnation) reconcile.Cluster) bool {
		var total tally
		for c := 1; c <= callsOf(m); c++ {
			for fault := dieBefore; fault < singles; fault++ {
				world, status, _ := play(m, schedule{c: fault}, alter)
				total.judge(world, status, 1)
				if counted(total) > 0 {
					return true
				}
			}
		}
		return false
	}
	lost := func(t tally) int { return t.lost }
	leftPaused := func(t tally) int { return t.leftPaused }
	for _, m := range []mode{{"generated", 1}, {"generated", 3}} {
		t.Run("the change comes before the staging, "+m.String(), func(t *testing.T) {
			require.True(t, noticed(m, lost, func(i *incarnation) reconcile.Cluster { return &lateKeeper{incarnation: i} }))
		})
		t.Run("a pause is not lifted, "+m.String(), func(t *testing.T) {
			require.True(t, noticed(m, leftPaused, func(i *incarnation) reconcile.Cluster { return noResume{i} }))
		})
		t.Run("writes are not conditional, "+m.String(), func(t *testing.T) {
			bad := 0
			for n := uint64(0); n < 5000 && bad == 0; n++ {
				world, statuses := playTwo(m, n, func(i *incarnation) reconcile.Cluster { return unconditional{i} })
				var total tally
				for _, status := range statuses {
					total.judge(world, status, 1)
				}
				bad += total.bad()
			}
			require.NotZero(t, bad)
		})
	}
}

// lateKeeper keeps the staged credential in memory until the next write.
type lateKeeper struct {
	*incarnation
	held *reconcile.Secret
}

func (l *lateKeeper) CreateSecret(_ context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	s.UID, s.ResourceVersion = "held", "held"
	l.held = &s
	return s, nil
}

func (l *lateKeeper) Secret(ctx context.Context, namespace, name string) (reconcile.Secret, error) {
	if l.held != nil && name == l.held.Name {
		return *l.held, nil
	}
	return l.incarnation.Secret(ctx, namespace, name)
}

func (l *lateKeeper) UpdateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	if l.held != nil {
		held := *l.held
		held.UID, held.ResourceVersion = "", ""
		l.held = nil
		if _, err := l.incarnation.CreateSecret(ctx, held); err != nil {
			return s, err
		}
		if s.UID == "held" {
			return s, reconcile.ErrConflict
		}
	}
	return l.incarnation.UpdateSecret(ctx, s)
}

type noResume struct{ *incarnation }

func (noResume) Resume(context.Context, reconcile.Target, string) error { return nil }

// unconditional overwrites whatever is there.
type unconditional struct{ *incarnation }

func (u unconditional) CreateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return u.UpdateSecret(ctx, s)
}

func (u unconditional) UpdateSecret(_ context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return call(u.incarnation, errAPI, func() (reconcile.Secret, error) { return u.world.put(s), nil })
}
