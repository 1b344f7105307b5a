package reconcile_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/gitrota/gitrota/reconcile"
)

// make crash runs every single fault, and then second ones, other misfortunes and second agents, until it has tried as many
// as it is told to; make test runs a part of them. A schedule is named by its seed, which replays it.
var (
	schedules = flag.Int("schedules", 1500, "how many schedules to run")
	seed      = flag.Uint64("seed", 0, "replay the random schedule with this seed only")
)

// Servers that lack something, or have more than one login to look after.
var (
	modest    = flavour{name: "with a login without CONTROL SERVER", blind: true, modest: true}
	foreign   = flavour{name: "foreign", blind: true, newOnly: true}
	admin     = flavour{name: "by an administrator", admin: true}
	contained = flavour{name: "contained", contained: true}
	expired   = flavour{name: "expired", expired: true}

	powerless    = flavour{name: "foreign, without rights", blind: true, newOnly: true, modest: true}
	blindAdmin   = flavour{name: "by an administrator who sees no hashes", admin: true, blind: true}
	foreignAdmin = flavour{name: "by an administrator, foreign", admin: true, blind: true, newOnly: true}

	amnesiac = flavour{name: "forgetful", forgetful: true}
)

// modes are the kinds of rotations, the main ones first.
var modes = []mode{
	{credential: "generated", replicas: 1}, {credential: "supplied", replicas: 1}, {credential: "pair", replicas: 1},
	{credential: "generated", replicas: 3}, {credential: "supplied", replicas: 3}, {credential: "pair", replicas: 3},
	{credential: "generated", replicas: 1, plain: true}, {credential: "generated", replicas: 1, again: true},
	{credential: "pair", replicas: 1, again: true}, {credential: "generated", replicas: 2, plain: true, again: true},
	{credential: "generated", replicas: 1, plain: true, flavour: modest}, {credential: "generated", replicas: 3, flavour: modest},
	{credential: "generated", replicas: 1, plain: true, flavour: foreign}, {credential: "generated", replicas: 2, plain: true, flavour: foreign, again: true},
	{credential: "generated", replicas: 1, flavour: admin}, {credential: "generated", replicas: 2, flavour: admin, again: true},
	{credential: "generated", replicas: 3, flavour: contained},
	{credential: "generated", replicas: 1, flavour: expired}, {credential: "generated", replicas: 3, flavour: expired},
	{credential: "generated", replicas: 3, probe: true}, {credential: "generated", replicas: 1, probe: true, again: true},
	{credential: "generated", replicas: 1, flavour: blindAdmin},
	{credential: "generated", replicas: 1, flavour: foreignAdmin}, {credential: "pair", replicas: 1, flavour: blindAdmin},
	{credential: "pair", replicas: 1, flavour: foreignAdmin, again: true},
	// No rotation of these can succeed.
	{credential: "generated", replicas: 1, plain: true, flavour: powerless},
	{credential: "generated", replicas: 1, flavour: amnesiac}, {credential: "pair", replicas: 1, flavour: amnesiac},
}

// TestNoScheduleOfFaultsLosesACredential tries every single fault and misfortune at every call of every mode, as far as there
// are to be so many schedules, and random ones: a second fault, a misfortune in between, a nap, or a second agent.
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
	singles := singleFaults()
	if *seed != 0 {
		singles = nil
	}
	every := max(1, len(singles)*3/2 / *schedules) // a third are random ones
	for n := 0; n < len(singles) && !t.Failed(); n += every {
		tries <- func(total *tally) string { return total.single(singles[n].mode, singles[n].schedule()) }
	}
	for n := uint64(1); n <= uint64(max(*schedules-len(singles)/every, *schedules/3)) && !t.Failed(); n++ {
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

// singleFault is one mishap, at one call.
type singleFault struct {
	mode   mode
	call   int
	mishap mishap
}

func (f singleFault) schedule() schedule { return schedule{f.call: f.mishap} }

func singleFaults() []singleFault {
	var all []singleFault
	for _, m := range modes {
		for c := 1; c <= callsOf(m); c++ {
			for fault := dieBefore; fault < stopped(len(naps), false); fault++ {
				if fault.befalls(m) {
					all = append(all, singleFault{m, c, fault})
				}
			}
		}
	}
	return all
}

// befalls reports whether a mode has to get along with a mishap.
func (m mishap) befalls(in mode) bool {
	if m == authDeleted || m == overwritten { // nobody else knows what opens a server that was never rotated
		if !in.again || in.pair() {
			return false
		}
	}
	return m >= mishaps || slices.Contains(befalling, m)
}

// befalling are the mishaps that every mode has to get along with, beside naps.
var befalling = []mishap{dieBefore, dieAfter, answerLost, refused, failover, podLost, restored, outage, forbidden, keeperDeleted, authDeleted, overwritten, serverDown, serverRefuses}

// single plays a schedule with one fault, which every rotation survives.
func (t *tally) single(m mode, s schedule) string {
	world, status, _ := play(m, s, nil)
	// Who sleeps for an hour wakes up when the time of its step is over.
	survived := status.Phase == reconcile.PhaseSuccessful || world.harmed || world.slept > 0 || m.flavour.hopeless() || status.Phase == reconcile.PhaseSkipped
	if t.judge(world, status, world.patience(1)) && survived && t.comesBack(world) {
		return ""
	}
	return fmt.Sprintf("%s: %s: %+v: %s %v", m, s, *t, world, status)
}

// patience is how many failed logins a schedule may cost a replica: so many for its faults, and two for each agent that was
// stopped while others went on: both credentials that it knows may be old by then, which is one for each of their rotations.
func (s *simulation) patience(faults int) int { return faults + 2*s.naps }

// random plays the schedule of a seed, and says what was wrong with it.
func (t *tally) random(n uint64) string {
	random := rand.New(rand.NewPCG(n, 7))
	m := modes[random.IntN(len(modes))]
	if random.IntN(4) == 0 {
		world, statuses := playTwo(m, n, nil)
		for _, status := range statuses {
			if !t.judge(world, status, 3) || status.Phase != reconcile.PhaseSuccessful && !m.flavour.hopeless() {
				return fmt.Sprintf("replay with -seed=%d: %s: two agents: %+v: %s %v", n, m, *t, world, status.Conditions)
			}
		}
		return ""
	}
	calls := callsOf(m)
	s := schedule{}
	anywhere := func(from, to mishap) {
		if misfortune := from + mishap(random.IntN(int(to-from))); misfortune.befalls(m) {
			s[1+random.IntN(calls+25)] = misfortune
		}
	}
	anywhere(dieBefore, singles)
	switch random.IntN(4) {
	case 0: // a misfortune of any kind
		anywhere(failover, mishaps)
	case 1: // a nap
		anywhere(mishaps, stopped(len(naps), false))
	case 2: // a second fault, and a misfortune that a rotation survives
		anywhere(failover, survivable)
		fallthrough
	default:
		anywhere(dieBefore, singles)
	}
	s.keepAKeeper()
	world, status, _ := play(m, s, nil)
	// Which of two credentials a server accepts, only a login can tell to a run that has no session. Two runs that die in
	// the middle of telling leave the third to guess.
	if !t.judge(world, status, world.patience(max(1, len(s)-1))) || !t.comesBack(world) {
		return fmt.Sprintf("replay with -seed=%d: %s: %s: %+v: %s %v", n, m, s, *t, world, status.Conditions)
	}
	return ""
}

// keepAKeeper leaves the keeper where it is in a schedule in which a process dies. Whoever deletes the keeper while nobody
// lives that has read it takes what it knows from everybody.
func (s schedule) keepAKeeper() {
	for _, what := range s {
		if what == dieBefore || what == dieAfter {
			maps.DeleteFunc(s, func(_ int, what mishap) bool { return what == keeperDeleted })
			return
		}
	}
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
