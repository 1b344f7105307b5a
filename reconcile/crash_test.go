package reconcile_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

// make crash runs all pairs of faults and many schedules of two agents; make test a part of them.
var (
	exhaustive = flag.Bool("exhaustive", false, "try every pair of faults, and 5,000 schedules of two agents for each mode")
	seed       = flag.Uint64("seed", 0, "replay the schedule of two agents with this seed only")
)

// schedule is what goes wrong, by call. What is not named goes well.
type schedule map[int]mishap

func (s schedule) at(call int) mishap { return s[call] }

func (s schedule) String() string {
	var parts []string
	for call, m := range s {
		parts = append(parts, fmt.Sprintf("%s at call %d", [...]string{"nothing", "death before", "death after", "answer lost", "refused"}[m], call))
	}
	return strings.Join(parts, " and ")
}

// tally is the outcome of many schedules.
type tally struct{ schedules, lost, repeated, leftPaused, extraLogins, unfinished int }

func (t tally) String() string {
	return fmt.Sprintf("crash: schedules=%d lost=%d repeated=%d left-paused=%d extra-logins=%d unfinished=%d",
		t.schedules, t.lost, t.repeated, t.leftPaused, t.extraLogins, t.unfinished)
}

func (t tally) bad() int { return t.lost + t.repeated + t.leftPaused + t.extraLogins + t.unfinished }

// engineOn makes the engine of an incarnation. alter may put something between the engine and its world, to see that
// the oracle notices.
func engineOn(i *incarnation, random uint64, alter func(*incarnation) reconcile.Cluster) *reconcile.Engine {
	var cluster reconcile.Cluster = i
	if alter != nil {
		cluster = alter(i)
	}
	return &reconcile.Engine{
		Owner: "simulated", Cluster: cluster, Servers: i, Clock: i, Random: newSeeded(random), Log: slog.New(slog.DiscardHandler),
	}
}

func job(mode string) reconcile.Job {
	request := reconcile.Request{Namespace: "demo", Name: "r", ID: "rotation-1", Database: "db", MaxRetries: 1}
	if mode == "supplied" {
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
func live(world *simulation, mode string, life uint64, at func(int) mishap, alter func(*incarnation) reconcile.Cluster) reconcile.Status {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	i := &incarnation{world: world, at: at, cancel: cancel}
	return engineOn(i, life, alter).Rotate(ctx, job(mode))
}

// play runs a schedule: as many incarnations as it takes, then one more that finds the request ended.
func play(mode string, s schedule, alter func(*incarnation) reconcile.Cluster) (*simulation, reconcile.Status, int) {
	world := newSimulation()
	var status reconcile.Status
	calls := 0
	for life := range uint64(len(s) + 2) {
		status = live(world, mode, life, s.at, alter)
		if status.Phase.Finished() {
			break
		}
	}
	calls = world.calls
	live(world, mode, 99, schedule{}.at, alter)
	return world, status, calls
}

// judge is the oracle for the end: it looks at the world, and at the status for what was claimed.
// Each run of an agent beside another may fail one login, when nothing but a login can tell it what the server accepts.
func (t *tally) judge(world *simulation, status reconcile.Status, runs int) bool {
	before := t.bad()
	t.schedules++
	if len(world.violations) > 0 {
		t.lost++
	}
	opens := world.value("db-auth", "password") == world.password
	switch status.Phase {
	case reconcile.PhaseSuccessful:
		if !opens || world.podEnv != world.password || world.password == initialPassword {
			t.lost++
		}
	case reconcile.PhaseFailed:
		// A failure may leave the rotation half done, if it says so, or must leave everything usable.
		if !opens && !status.Has(reconcile.TypeRecoveryRequired) {
			t.lost++
		}
	default:
		t.unfinished++
	}
	if distinct(world.passwords) > 1 {
		t.repeated++
	}
	if world.paused != "" {
		t.leftPaused++
	}
	if world.failedLogins > runs {
		t.extraLogins++
	}
	return t.bad() == before
}

var modes = []string{"generated", "supplied"}

func TestNoSingleFaultAtAnyCallLosesACredential(t *testing.T) {
	var total tally
	for _, mode := range modes {
		_, status, calls := play(mode, schedule{}, nil)
		require.Equal(t, reconcile.PhaseSuccessful, status.Phase)
		require.Greater(t, calls, 30)
		for c := 1; c <= calls; c++ {
			for m := dieBefore; m < mishaps; m++ {
				s := schedule{c: m}
				world, status, _ := play(mode, s, nil)
				require.True(t, total.judge(world, status, 1), "%s: %s: %s: %s %v", mode, s, total, world, status.Conditions)
				require.Equal(t, reconcile.PhaseSuccessful, status.Phase, "%s: %s: one fault is survived: %v", mode, s, status.Conditions)
			}
		}
	}
	t.Log(total)
}

func TestNoPairOfFaultsLosesACredential(t *testing.T) {
	var total tally
	random := rand.New(rand.NewPCG(1, 2))
	for _, mode := range modes {
		_, _, calls := play(mode, schedule{}, nil)
		for first := 1; first <= calls; first++ {
			for second := first + 1; second <= calls+25; second++ {
				for m := dieBefore; m < mishaps; m++ {
					for n := dieBefore; n < mishaps; n++ {
						if !*exhaustive && random.IntN(40) != 0 {
							continue
						}
						s := schedule{first: m, second: n}
						world, status, _ := play(mode, s, nil)
						require.True(t, total.judge(world, status, 1), "%s: %s: %s: %s %v", mode, s, total, world, status.Conditions)
					}
				}
			}
		}
	}
	t.Log(total)
}

func TestTwoAgentsAtOnceAreOneRotation(t *testing.T) {
	var total tally
	schedules := 500
	if *exhaustive {
		schedules = 5000
	}
	for _, mode := range modes {
		for n := range uint64(schedules) {
			if *seed != 0 && n != *seed {
				continue
			}
			world, statuses := playTwo(mode, n, nil)
			for _, status := range statuses {
				require.True(t, total.judge(world, status, 3), "%s: replay with -seed=%d: %s: %s %v", mode, n, total, world, status.Conditions)
				require.Equal(t, reconcile.PhaseSuccessful, status.Phase, "%s: replay with -seed=%d: %v", mode, n, status.Conditions)
			}
		}
	}
	t.Log(total)
}

// playTwo lets two agents serve the same request. A seed decides at every call whose turn it is, and who is killed when.
func playTwo(mode string, n uint64, alter func(*incarnation) reconcile.Cluster) (*simulation, []reconcile.Status) {
	world := newSimulation()
	random := rand.New(rand.NewPCG(n, 7))
	statuses := make([]reconcile.Status, 2)
	turns := make([]chan struct{}, 2) // a value is one call
	yields := make(chan int)          // an agent waits for its turn
	ended := make(chan int)
	for a := range statuses {
		turns[a] = make(chan struct{})
		kill := 1 + random.IntN(120) // often never
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
				statuses[a] = engineOn(i, 10*uint64(a)+life, alter).Rotate(ctx, job(mode))
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

func TestTheOracleNoticesWhatItIsThereFor(t *testing.T) {
	all := func(alter func(*incarnation) reconcile.Cluster) (total tally) {
		_, _, calls := play("generated", schedule{}, nil)
		for c := 1; c <= calls; c++ {
			for m := dieBefore; m < mishaps; m++ {
				world, status, _ := play("generated", schedule{c: m}, alter)
				total.judge(world, status, 1)
			}
		}
		return total
	}
	t.Run("the change comes before the staging", func(t *testing.T) {
		require.NotZero(t, all(func(i *incarnation) reconcile.Cluster { return &lateKeeper{incarnation: i} }).lost)
	})
	t.Run("a pause is not lifted", func(t *testing.T) {
		require.NotZero(t, all(func(i *incarnation) reconcile.Cluster { return noResume{i} }).leftPaused)
	})
	t.Run("writes are not conditional", func(t *testing.T) {
		bad := 0
		for n := range uint64(200) {
			world, statuses := playTwo("generated", n, func(i *incarnation) reconcile.Cluster { return unconditional{i} })
			var total tally
			for _, status := range statuses {
				total.judge(world, status, 1)
			}
			bad += total.bad()
		}
		require.NotZero(t, bad)
	})
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

func (noResume) Resume(context.Context, reconcile.Database, string) error { return nil }

// unconditional overwrites whatever is there.
type unconditional struct{ *incarnation }

func (u unconditional) CreateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return u.UpdateSecret(ctx, s)
}

func (u unconditional) UpdateSecret(_ context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return call(u.incarnation, errAPI, func() (reconcile.Secret, error) { return u.world.put(s), nil })
}
