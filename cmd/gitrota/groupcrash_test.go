package main

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
)

// groupWrites are the writes of a rotation of a group, in their order. Between two of them lies everything else.
var groupWrites = []moment{
	{"the staging", "POST", `/secrets$`, 1},
	{"the pause", "PUT", `/mssqlservers/db/status$`, 1},
	{"the promotion", "PUT", `/secrets/db-auth$`, 1},
	{"the list of restarts", "PUT", `/secrets/db-auth-keeper$`, 1},
	{"the first eviction", "POST|DELETE", `/pods/db-1(/eviction)?$`, 1},
	{"the second eviction", "POST|DELETE", `/pods/db-2(/eviction)?$`, 1},
	{"the eviction of the primary", "POST|DELETE", `/pods/db-0(/eviction)?$`, 1},
	{"the resumption", "PUT", `/mssqlservers/db/status$`, 2},
	{"the settlement", "PUT", `/secrets/db-auth-keeper$`, 2},
}

// make kill lets an agent of a group die at every moment; make test at some.
var everyMoment = flag.Bool("every-moment", false, "kill the agent of a group at every write, every change and every push")

// someMoments are those at which most is at stake.
var someMoments = []string{"after the staging, its answer lost", "while db-2 changes the password", "before the promotion", "after the promotion, its answer lost", "after the second eviction, its answer lost"}

// A death is how an agent comes to its end in the middle of a rotation of the group db.
type death struct {
	name string
	dies func(w *world)
}

func TestAnAgentOfAGroupKilledAtAnyMomentGoesOnAsIfNothingHadHappened(t *testing.T) {
	t.Parallel()
	var table deathTable
	t.Cleanup(func() { t.Log("\n" + table.String()) })
	for _, death := range deaths() {
		if !*everyMoment && !slices.Contains(someMoments, death.name) {
			continue
		}
		t.Run(death.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.group("db", 3)
			before := w.live("db")
			defer table.add(w, death.name)
			death.dies(w)
			require.Equal(t, 0, w.once())
			w.requireOneGroupRotation("r", before)
		})
	}
}

func deaths() (all []death) {
	for _, write := range groupWrites {
		all = append(all,
			death{"before " + write.name, func(w *world) { w.diesAt(write, false) }},
			death{"after " + write.name + ", its answer lost", func(w *world) { w.diesAt(write, true) }})
	}
	order := []string{"db-1", "db-2", "db-0"}
	for i, pod := range order {
		all = append(all, death{"while " + pod + " changes the password", func(w *world) {
			w.replicaFaults(pod, `{"statements":[{"kind":"ALTER LOGIN","delay":"2s","times":1}]}`)
			agent := w.rotating()
			w.eventually("the change is under way", func() bool {
				return strings.Contains(agent.log(), "step=pause") && (i == 0 || len(w.changes(order[i-1])) == 1)
			})
			time.Sleep(100 * time.Millisecond)
			agent.kill()
		}})
	}
	return append(all,
		death{"before the push of the result", func(w *world) { w.diesAtPush(false) }},
		death{"after the push of the result, its answer lost", func(w *world) { w.diesAtPush(true) }})
}

// rotating is an agent that has been given a request to rotate.
func (w *world) rotating() *agentProcess {
	w.Helper()
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	return w.agent()
}

// diesAt has an agent rotate until it is killed at a write.
func (w *world) diesAt(write moment, after bool) {
	w.Helper()
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	var victim atomic.Pointer[agentProcess]
	proxy := w.apiProxy(write, after, func() { victim.Load().cmd.Process.Kill() })
	victim.Store(w.start(w.argsThrough(proxy)...))
	require.Equal(w.T, -1, victim.Load().wait(), "the agent was killed")
}

// diesAtPush has an agent rotate until it is killed when it brings the result into Git.
func (w *world) diesAtPush(after bool) {
	w.Helper()
	var victim atomic.Pointer[agentProcess]
	w.git.Break(gittest.OnPush(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodPost || victim.Load() == nil || !strings.Contains(victim.Load().log(), "phase=Successful") {
			next.ServeHTTP(rw, r)
			return
		}
		if after {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		victim.Load().cmd.Process.Kill()
		panic(http.ErrAbortHandler)
	}))
	victim.Store(w.rotating())
	require.Equal(w.T, -1, victim.Load().wait(), "the agent was killed")
	w.git.Break(nil)
}

// requireOneGroupRotation checks what must hold after a rotation of the group db however often its agent died.
func (w *world) requireOneGroupRotation(request string, before credential.Credential) {
	w.Helper()
	s := w.status(request)
	require.Equal(w.T, "Successful", s.phase())
	all := []string{"db-0", "db-1", "db-2"}
	require.ElementsMatch(w.T, groupConditions(all, all, all...), s.types(), "one set of conditions")
	for _, pod := range all {
		require.Len(w.T, w.changes(pod), 1, "one change on %s", pod)
		require.LessOrEqual(w.T, len(w.refusals(pod)), 1, "at most one failed login on %s", pod)
		require.True(w.T, w.podOpens(pod, "", w.live("db")), "the auth Secret opens %s", pod)
	}
	require.Equal(w.T, before, w.previous("db"))
	keeper := w.secret("db-auth-keeper")
	require.Empty(w.T, keeper.Data["next.password"])
	require.Equal(w.T, w.live("db").Password.Reveal(), string(keeper.Data["live.password"]))
	require.NotContains(w.T, w.cluster.Kubectl(w.T, "get", "mssqlserver", "-n", w.namespace, "db", "-o", "yaml"), "Paused by gitrota")
	ended := 0
	for _, entry := range w.repo.Log() {
		if entry.Trailers["Rotation-Phase"] == "Successful" {
			ended++
		}
	}
	require.Equal(w.T, 1, ended, "one commit says that it was Successful")
}

// deathTable is what came of each death.
type deathTable struct {
	mu   sync.Mutex
	rows []string
}

func (d *deathTable) add(w *world, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var changes, failed, starts []int
	for _, pod := range []string{"db-0", "db-1", "db-2"} {
		changes, failed, starts = append(changes, len(w.changes(pod))), append(failed, len(w.refusals(pod))), append(starts, len(w.starts(pod))-1)
	}
	d.rows = append(d.rows, fmt.Sprintf("%-52s  %-11s  %-9s  %-9s  %v", name, w.status("r").phase(), fmt.Sprint(changes), fmt.Sprint(failed), starts))
}

func (d *deathTable) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.rows)
	return fmt.Sprintf("%-52s  %-11s  %-9s  %-9s  %s\n", "the agent died", "outcome", "changes", "refusals", "restarts") + strings.Join(d.rows, "\n")
}
