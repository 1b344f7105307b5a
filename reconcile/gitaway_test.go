package reconcile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile"
)

// history is what the keeper says has been done, watched at every write of it.
type history struct {
	ended  []ended
	staged map[string]map[string]bool // the passwords that were ever staged for an id
}

type ended struct {
	ID, Request string
	Phase       reconcile.Phase
}

func (h *history) watch(keeper reconcile.Secret) {
	if id := keeper.Data["next.rotation-id"].Reveal(); id != "" {
		if h.staged[id] == nil {
			h.staged[id] = map[string]bool{}
		}
		h.staged[id][keeper.Data["next.password"].Reveal()] = true
	}
	var list []ended
	_ = json.Unmarshal([]byte(keeper.Data["finished"].Reveal()), &list)
	for _, e := range list {
		if !slices.Contains(h.ended, e) {
			h.ended = append(h.ended, e)
		}
	}
}

// outages is a schedule for several requests of one database: what goes wrong at which call, between which calls Git is
// away, and what somebody does to the branch while it is.
type outages struct {
	seed     uint64
	mode     mode
	mishaps  schedule
	away     [][2]int
	flush    int // at every so many reads of a Secret, statuses are written in the middle of a rotation
	requests int
	together bool // the requests come in one commit
	then     string
	thenAt   int
}

func (o outages) String() string {
	return fmt.Sprintf("-seed=%d: %s, %d requests (together: %v), %s, Git away at calls %v, at call %d: %s", o.seed, o.mode, o.requests, o.together, o.mishaps, o.away, o.thenAt, o.then)
}

// what somebody does to the branch.
const (
	leaveAlone     = "nothing"
	removeRequests = "the requests are removed"
	rewind         = "the history is put back to where it began"
	forget         = "the history is put back to before the requests"
	removeStatuses = "the status files are removed"
)

func newOutages(seed uint64) outages {
	random := rand.New(rand.NewPCG(seed, 13))
	o := outages{
		seed: seed, mode: []mode{{credential: "generated", replicas: 1}, {credential: "pair", replicas: 1}}[random.IntN(2)], mishaps: schedule{},
		flush: 1 + random.IntN(20), requests: 1 + random.IntN(3), together: random.IntN(2) == 0,
		then: []string{leaveAlone, leaveAlone, removeRequests, rewind, forget, removeStatuses}[random.IntN(6)],
	}
	const span = 150
	for range 1 + random.IntN(4) {
		o.mishaps[1+random.IntN(span)] = dieBefore + mishap(random.IntN(int(singles-dieBefore)))
	}
	for range 1 + random.IntN(2) {
		from := random.IntN(span)
		o.away = append(o.away, [2]int{from, from + random.IntN(2*span)})
	}
	o.thenAt = random.IntN(2 * span)
	return o
}

// at makes the branch what the schedule wants it to be at a call, and says what goes wrong there.
func (o *outages) at(git *branch, world *simulation, n int) mishap {
	git.away = slices.ContainsFunc(o.away, func(span [2]int) bool { return span[0] <= n && n < span[1] })
	if n >= o.thenAt && o.then != leaveAlone {
		o.disturb(git, world)
		o.then = leaveAlone
	}
	return o.mishaps[n]
}

func (o *outages) disturb(git *branch, world *simulation) {
	if o.then != removeRequests {
		git.undone = slices.Clone(git.landed)
	}
	gone := map[string]string{}
	switch o.then {
	case removeRequests:
		for name := range git.tip().files {
			if strings.HasPrefix(name, "rotations/r") {
				gone[name] = ""
			}
		}
	case removeStatuses:
		for name := range git.tip().files {
			if strings.HasPrefix(name, "status/") {
				gone[name] = ""
			}
		}
	case rewind:
		git.commits = git.commits[:2]
	case forget:
		git.commits = git.commits[:1]
	}
	git.commit(world.now, gone)
}

func request(name string) string {
	return "apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata: {name: " + name + ", namespace: demo}\n" +
		"spec: {type: RotateAuth, databaseRef: {name: db}}\n"
}

const serverDocument = "apiVersion: gitrota.dev/v1alpha1\nkind: SQLServer\nmetadata: {name: db, namespace: demo}\n" +
	"spec: {endpoints: ['db-0:1433'], authSecret: {name: db-auth}, admin: {name: db-admin}, loginPair: [app_a, app_b], gracePeriod: 1m, tls: {trustServerCertificate: true}}\n"

// flushing writes statuses in the middle of a rotation, from its goroutine: nobody else is at work then.
type flushing struct {
	*incarnation
	every, reads int
	controller   *reconcile.Controller
}

func (f *flushing) Secret(ctx context.Context, namespace, name string) (reconcile.Secret, error) {
	if f.reads++; f.reads%f.every == 0 && f.controller.State().Running > 0 {
		_ = f.controller.Flush(ctx) // what it does not write is written later
	}
	return f.incarnation.Secret(ctx, namespace, name)
}

// play runs one life of an agent after the other until nothing is left to do and everything is in Git.
func (o outages) play() (*simulation, *branch, *history) {
	world, git := newSimulation(o.mode), &branch{}
	world.unasked = true
	done := &history{staged: map[string]map[string]bool{}}
	world.watch = done.watch
	o.fill(world, git)
	for life := range uint64(len(o.mishaps) + 3) {
		if o.live(world, git, life) {
			break
		}
	}
	return world, git, done
}

// fill brings the requests to the branch.
func (o outages) fill(world *simulation, git *branch) {
	first := map[string]string{"README.md": "Ours."}
	if o.mode.credential == "pair" {
		first["rotations/server.yaml"] = serverDocument
	}
	git.commit(world.now, first)
	requests := map[string]string{}
	for n := range o.requests {
		if requests[fmt.Sprintf("rotations/r%d.yaml", n)] = request(fmt.Sprint("r", n)); !o.together {
			world.now = world.now.Add(time.Second)
			git.commit(world.now, requests)
			git.commits = append(git.commits[:1], git.tip())
		}
	}
	if o.together {
		git.commit(world.now, requests)
	}
}

func (o *outages) live(world *simulation, git *branch, life uint64) (idle bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	i := &incarnation{world: world, cancel: cancel, at: func(n int) mishap { return o.at(git, world, n) }}
	cluster := &flushing{incarnation: i, every: o.flush}
	engine := engineOn(i, life, func(*incarnation) reconcile.Cluster { return cluster })
	c := reconcile.NewController(reconcile.Options{
		Repository: remote{i, git}, Engine: engine, Path: "rotations", StatusPath: "status", Log: slog.New(slog.DiscardHandler),
	})
	cluster.controller = c
	return o.rounds(ctx, i, c)
}

// rounds lets a controller work until nothing is left to do, and reports whether that was so.
func (o *outages) rounds(ctx context.Context, i *incarnation, c *reconcile.Controller) (idle bool) {
	world := i.world
	calm := 0 // rounds in a row that found nothing to do: what came in the middle of one shows in the next
	for round := 0; !i.dead && calm < 2 && round < 1000; round++ {
		world.now = world.now.Add(time.Second)
		read := c.Poll(ctx) == nil
		recovered := c.Recover(ctx) == nil
		if recovered {
			c.Advance(ctx)
		}
		c.Wait()
		if recovered && round == 0 {
			_ = c.ReleasePaused(ctx)
			c.Wait()
		}
		written := c.Flush(ctx) == nil
		state := c.State()
		calm++
		if !read || !recovered || !written || state.Waiting > 0 || state.JournalPending > 0 || o.then != leaveAlone {
			calm = 0
		}
	}
	return calm == 2 && !i.dead
}

// judge is the oracle for the end: everything that was ever done is in Git, whole and in order.
func (o outages) judge(world *simulation, git *branch, done *history) []string {
	wrong := world.violations
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, e := range done.ended {
		s := git.status(path.Base(e.Request))
		undone := slices.Contains(git.undone, e)
		if undone && s.Phase == "" && git.tip().files["rotations/"+path.Base(e.Request)+".yaml"] == "" {
			continue // it was in Git, and whoever rewrote history while no agent looked took the request along
		}
		if s.Phase != e.Phase || s.Request.ID != e.ID {
			complain("%s ended as %s, and Git says %q of %q", e.Request, e.Phase, s.Phase, s.Request.ID)
		}
		if e.Phase == reconcile.PhaseSuccessful && !undone {
			for _, kind := range whole(o.mode) {
				if !s.Has(kind) {
					complain("the status of %s lacks %s", e.Request, kind)
				}
			}
		}
	}
	comparable := func(list, other []ended) []ended {
		return slices.DeleteFunc(slices.Clone(list), func(e ended) bool { return !slices.Contains(other, e) || slices.Contains(git.undone, e) })
	}
	if !slices.Equal(comparable(done.ended, git.landed), comparable(git.landed, done.ended)) {
		complain("it ended in the order %v and Git heard of it in the order %v", done.ended, git.landed)
	}
	for id, passwords := range done.staged {
		if len(passwords) != 1 {
			complain("%d passwords were made for %s", len(passwords), id)
		}
	}
	for name, content := range git.tip().files {
		if s, err := reconcile.ParseStatus([]byte(content)); err == nil && !s.Phase.Finished() {
			complain("%s is %s for ever", name, s.Phase)
		}
	}
	if world.paused != "" || !world.opens() {
		complain("the database was left paused (%s), or its Secret does not open it", world.paused)
	}
	if world.calls > maxCalls {
		complain("it went round in circles")
	}
	return wrong
}

// whole are the conditions of a rotation that nothing has disturbed.
var whole = func() func(mode) []string {
	var mu sync.Mutex
	known := map[mode][]string{}
	return func(m mode) []string {
		mu.Lock()
		defer mu.Unlock()
		if known[m] == nil {
			_, git, _ := outages{mode: m, requests: 1, flush: 1000, then: leaveAlone}.play()
			for _, c := range git.status("r0").Conditions {
				known[m] = append(known[m], c.Type)
			}
		}
		return known[m]
	}
}()

// TestNoScheduleOfOutagesKeepsAnythingFromGit lets Git go away, agents be killed, and somebody tidy up or rewrite the
// branch meanwhile. In the end Git tells of everything that was done.
func TestNoScheduleOfOutagesKeepsAnythingFromGit(t *testing.T) {
	require.Contains(t, whole(mode{credential: "generated", replicas: 1}), reconcile.TypeSuccessful)
	first, last := uint64(1), uint64(*schedules)/5 // each is many lives
	if *seed != 0 {
		first, last = *seed, *seed
	}
	for n := first; n <= last && !t.Failed(); n++ {
		o := newOutages(n)
		if wrong := o.judge(o.play()); len(wrong) > 0 {
			t.Errorf("replay with %s: %s", o, strings.Join(wrong, "; "))
		}
	}
}

// TestWhatAPatrolMendsIsInTheJournalBeforeItIsMended kills a patrol right after its first write.
func TestWhatAPatrolMendsIsInTheJournalBeforeItIsMended(t *testing.T) {
	world := newSimulation(mode{credential: "generated", replicas: 1})
	world.unasked = true
	status := live(world, mode{credential: "generated", replicas: 1}, 0, schedule{}.at, nil)
	require.Equal(t, reconcile.PhaseSuccessful, status.Phase)
	world.befall(restored)
	world.watch = func(reconcile.Secret) { world.watch = nil }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	patrol := engineOn(&incarnation{world: world, cancel: cancel, at: func(int) mishap {
		if world.watch == nil {
			return dieBefore
		}
		return nothing
	}}, 0, nil)
	_, err := patrol.Patrol(ctx, status, true)
	require.Error(t, err)
	require.Equal(t, initialPassword, world.value("db-auth", "password"), "it was not mended")

	next := engineOn(&incarnation{world: world, cancel: cancel, at: schedule{}.at}, 0, nil)
	journal, cutOff, err := next.Journal(t.Context(), "demo", "db-auth")
	require.NoError(t, err)
	require.Nil(t, cutOff)
	require.Len(t, journal, 1)
	require.True(t, journal[0].Status.Has(reconcile.TypeOverwritten))
	_, err = next.Patrol(t.Context(), status, true)
	require.NoError(t, err)
	require.True(t, world.opens())
}
