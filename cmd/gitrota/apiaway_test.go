package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// doorkeeper stands before an API server and answers some requests of an agent itself.
type doorkeeper struct {
	*httptest.Server
	answer atomic.Pointer[func(http.ResponseWriter, *http.Request) bool] // reports whether it has answered; nil: never
}

func (w *world) doorkeeper() *doorkeeper {
	w.Helper()
	d := &doorkeeper{}
	d.Server = w.apiFront(func(rw http.ResponseWriter, r *http.Request) bool {
		answer := d.answer.Load()
		return answer == nil || !(*answer)(rw, r)
	}, func(*http.Response) {})
	return d
}

// status answers as an API server does.
func statusAnswer(rw http.ResponseWriter, code int, reason, message string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	fmt.Fprintf(rw, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}

// refuses answers everything like an API server that has just started, from a request on until it has done so often.
func (d *doorkeeper) refuses(from func(*http.Request) bool, times int32) *atomic.Int32 {
	var began atomic.Bool
	refused := new(atomic.Int32)
	answer := func(rw http.ResponseWriter, r *http.Request) bool {
		if !began.Load() && !from(r) {
			return false
		}
		began.Store(true)
		if refused.Add(1) > times {
			return false
		}
		switch n := refused.Load(); {
		case n%5 == 4:
			statusAnswer(rw, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
		case n%5 == 0:
			statusAnswer(rw, http.StatusInternalServerError, "", "etcdserver: request timed out")
		default:
			statusAnswer(rw, http.StatusForbidden, "Forbidden", `forbidden: User "system:serviceaccount:gitrota:gitrota" cannot do this: RBAC: clusterrole.rbac.authorization.k8s.io "gitrota" not found`)
		}
		return true
	}
	d.answer.Store(&answer)
	return refused
}

func TestAnAgentWaitsForAnAPIServerThatIsAwayOrRefusesEverybodyAtFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	door := w.doorkeeper()
	refused := door.refuses(func(*http.Request) bool { return true }, 1<<30)
	agent := w.start(w.argsThrough(door.Server)...)
	w.eventually("it has asked some times", func() bool { return refused.Load() >= 6 })
	code, body := agent.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "the cluster ")
	code, _ = agent.get("/healthz")
	require.Equal(t, http.StatusOK, code)

	door.answer.Store(nil)
	require.Equal(t, "Successful", w.ended("r").phase())
	code, body = agent.get("/readyz")
	require.Equal(t, http.StatusOK, code, body)
	w.requireOneRotation("r")
}

func TestAnAPIServerThatRefusesEverybodyAfterItsStartFailsNoRotation(t *testing.T) {
	t.Parallel()
	for _, write := range writes {
		t.Run("from "+write.name+" on", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.database("db")
			w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
			door := w.doorkeeper()
			var nth atomic.Int32
			refused := door.refuses(func(r *http.Request) bool { return write.matches(r) && int(nth.Add(1)) == write.nth }, 6)
			agent := w.start(w.argsThrough(door.Server)...)

			require.Equal(t, "Successful", w.ended("r").phase())
			require.Greater(t, refused.Load(), int32(6))
			require.Equal(t, 0, agent.terminate())
			w.requireOneRotation("r")
		})
	}
}

// Of two agents that serve one repository without a lease, one is stopped in the middle of a rotation and goes on when
// the other has long done it and more. What was told stays as it was told, and an auditor proves it.
func TestAnAgentThatSleptRewritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	key := w.git.NewSSHKey("ed25519", "")
	signers := filepath.Join(t.TempDir(), "gitrota.allowed_signers")
	writeFile(t, signers, "gitrota@localhost "+key.Public+"\n")
	w.repo.Commit(map[string]string{"rotations/one.yaml": w.request("one", "db")}, "Rotate db")
	sleeper := w.agent("--signing-key", key.Dir)
	w.eventually("the sleeper has begun", func() bool { return strings.Contains(sleeper.log(), "step=pause") })
	require.NoError(t, sleeper.cmd.Process.Signal(syscall.SIGSTOP))

	other := w.agent("--signing-key", key.Dir)
	require.Equal(t, "Successful", w.ended("one").phase())
	w.repo.Commit(map[string]string{"rotations/two.yaml": w.request("two", "db")}, "Rotate db again")
	require.Equal(t, "Successful", w.ended("two").phase())
	w.repo.Commit(map[string]string{"rotations/three.yaml": w.request("three", "nowhere")}, "Rotate nothing")
	require.Equal(t, "Failed", w.ended("three").phase())
	told := map[string]status{"one": w.status("one"), "two": w.status("two"), "three": w.status("three")}

	require.NoError(t, sleeper.cmd.Process.Signal(syscall.SIGCONT))
	w.eventually("the sleeper is done", func() bool { return strings.Contains(sleeper.log(), "rotation ends") })
	w.repo.Commit(map[string]string{"rotations/four.yaml": w.request("four", "db")}, "Rotate db once more")
	require.Equal(t, "Successful", w.ended("four").phase())
	require.Equal(t, 0, other.terminate())
	require.Equal(t, 0, sleeper.terminate())
	for name, before := range told {
		require.Equal(t, before, w.status(name), name)
	}
	require.True(t, w.opens("db", w.live("db")))
	proven := gitrota(t, w.repo.Clone(), nil, "audit", "verify", "--agent-signers", signers)
	require.Equal(t, 0, proven.code, proven.stdout+proven.stderr)
}
