package reconcile_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

// engineOn makes the engine of an incarnation. alter may put something between the engine and its world, also its servers,
// to see that the oracle notices.
func engineOn(i *incarnation, random uint64, alter func(*incarnation) reconcile.Cluster) *reconcile.Engine {
	var cluster reconcile.Cluster = i
	if alter != nil {
		cluster = alter(i)
	}
	var servers reconcile.Servers = i
	if altered, ok := cluster.(reconcile.Servers); ok {
		servers = altered
	}
	return &reconcile.Engine{
		Owner: "simulated", Cluster: cluster, Servers: servers, Clock: i, Random: newSeeded(random), Log: slog.New(slog.DiscardHandler),
		DigestCost: 1,
	}
}

func job(m mode) reconcile.Job { return jobOf(m, 1) }

// jobOf is the request of a number. Only the first one of a mode may supply a password.
func jobOf(m mode, n int) reconcile.Job {
	request := reconcile.Request{Kind: manifest.KindRequest, Namespace: "demo", Name: fmt.Sprint("r", n), ID: fmt.Sprint("rotation-", n), Database: "db",
		MaxRetries: 1, Password: &credential.Rules{Reuse: remembered}}
	if m.credential == "supplied" && n == 1 {
		request.SecretRef = "user"
	}
	return reconcile.Job{
		Status: reconcile.Status{Request: request},
		Supplied: func(context.Context) reconcile.Supplied {
			return reconcile.Supplied{Credential: credential.Credential{Username: "sa", Password: credential.NewPassword(suppliedPassword)}, From: "simulated"}
		},
	}
}

// serve runs one incarnation until the request has ended or the incarnation has died. What it reports is told to Git.
func (i *incarnation) serve(life uint64, j reconcile.Job, alter func(*incarnation) reconcile.Cluster) reconcile.Status {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	i.cancel = cancel
	engine := engineOn(i, life, alter)
	git := maps.Clone(i.world.told) // as it was read last
	engine.Told = func(r reconcile.Request) reconcile.Status { return git[r.ID] }
	j.Report = i.world.tell
	status := engine.Rotate(ctx, j)
	i.world.tell(status)
	return status
}

// live runs one incarnation for the mode's request.
func live(world *simulation, m mode, life uint64, at func(int) mishap, alter func(*incarnation) reconcile.Cluster) reconcile.Status {
	return (&incarnation{world: world, at: at}).serve(life, job(m), alter)
}

// play runs a schedule: as many incarnations as it takes, then, if anything was done, one more that is asked for it once more, and
// a patrol.
func play(m mode, s schedule, alter func(*incarnation) reconcile.Cluster) (*simulation, reconcile.Status, int) {
	world := begin(m)
	world.alter = alter
	var status reconcile.Status
	for life := range uint64(len(s) + 2) {
		status = live(world, m, life, s.at, alter)
		if status.Phase.Finished() {
			break
		}
	}
	calls := world.calls
	if _, begun := world.staged[status.Request.ID]; begun && !world.amnesia {
		live(world, m, 99, schedule{}.at, alter)
	}
	if world.latest.Phase == "" {
		world.latest = status
	}
	patrol(world, world.latest)
	return world, status, calls
}

// begin makes the world of a mode. One that was rotated before has a keeper.
func begin(m mode) *simulation {
	world := newSimulation(m)
	if m.again {
		world = rotatedBefore(m).clone()
	}
	world.began = world.now
	return world
}

var rotatedBefore = func() func(mode) *simulation {
	var mu sync.Mutex
	known := map[mode]*simulation{}
	return func(m mode) *simulation {
		mu.Lock()
		defer mu.Unlock()
		if known[m] == nil {
			world := newSimulation(m)
			status := (&incarnation{world: world, beside: true}).serve(1000, jobOf(m, 0), nil)
			if status.Phase != reconcile.PhaseSuccessful {
				panic(fmt.Sprintf("%s: %v", m, status))
			}
			world.now = world.now.Add(time.Hour)
			for _, server := range world.stores() {
				server.failedLogins, server.asked = 0, map[string]int{}
			}
			known[m] = world
		}
		return known[m]
	}
}()

// patrol is what follows a rotation, some minutes later.
func patrol(world *simulation, status reconcile.Status) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	found, err := engineOn(&incarnation{world: world, beside: true, cancel: cancel}, 0, nil).Patrol(ctx, status, true)
	if err == nil {
		world.tell(found)
	}
}

// others are the agents that go on while one is stopped.
func (s *simulation) others(n nap) {
	for range n.rotations {
		j := jobOf(s.mode, s.request)
		if s.request == 1 && n.skips && s.value("db-auth-keeper", "next.rotation-id") != j.Status.Request.ID {
			skipped := j.Status
			skipped.Phase = reconcile.PhaseSkipped
			skipped.Conditions = []reconcile.Condition{{Type: reconcile.TypeSkipped, Status: "True", Reason: reconcile.TypeSkipped, LastTransitionTime: s.now.UTC().Truncate(time.Second)}}
			if _, ended := s.told[skipped.Request.ID]; !ended {
				s.request++
				j = jobOf(s.mode, s.request)
				j.Superseded = []reconcile.Status{skipped}
			}
		}
		if n.undone && s.request == n.rotations {
			j.Status.Request.Kind = manifest.KindRollback
		}
		s.latest = s.served(j)
		s.request++
	}
}

// served has another agent serve a request, undisturbed.
func (s *simulation) served(j reconcile.Job) reconcile.Status {
	s.lives++
	status := (&incarnation{world: s, beside: true}).serve(1000+s.lives, j, s.alter)
	if status.Phase != reconcile.PhaseSuccessful && !s.harmed && !s.mode.flavour.hopeless() && s.told[j.Status.Request.ID].Phase == status.Phase {
		s.violate("undisturbed, %s ended as %s: %v", j.Status.Request.ID, status.Phase, status.Conditions)
	}
	return status
}

// comesBack serves another request when the servers are there again: it brings what was left to its end, and the database
// is in order.
func (t *tally) comesBack(world *simulation) bool {
	if world.mode.flavour.hopeless() || world.unguarded {
		return true
	}
	world.now = world.now.Add(time.Hour)
	world.harmed = false
	for _, server := range world.stores() {
		server.strict = false
	}
	world.request = max(world.request, 2) // a stopped one did not serve the others'
	ended := world.served(jobOf(world.mode, world.request))
	if ended.Phase != reconcile.PhaseSuccessful || !world.opens() || world.paused != "" || len(world.violations) > 0 {
		t.lost++
		world.violate("the next request: %v", ended)
		return false
	}
	return true
}
