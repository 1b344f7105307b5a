package main

import (
	"database/sql"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// moment is a request of the agent at which it dies.
type moment struct {
	name         string
	method, path string // of the request to the API server; a method can be one of several, as in POST|DELETE
	nth          int    // which of the requests that match, from 1
}

// The writes of a rotation, in their order. Between two of them lies everything else, such as ALTER LOGIN.
var writes = []moment{
	{"the staging", "POST", `/secrets$`, 1},
	{"the pause", "PUT", `/mssqlservers/db/status$`, 1},
	{"the promotion", "PUT", `/secrets/db-auth$`, 1},
	{"the list of restarts", "PUT", `/secrets/db-auth-keeper$`, 1},
	{"the eviction", "POST|DELETE", `/pods/db-0(/eviction)?$`, 1}, // which is a deletion where the budget is spent
	{"the resumption", "PUT", `/mssqlservers/db/status$`, 2},
	{"the settlement", "PUT", `/secrets/db-auth-keeper$`, 2},
}

func TestAnAgentKilledAtAnyWriteGoesOnAsIfNothingHadHappened(t *testing.T) {
	t.Parallel()
	for _, write := range writes {
		for _, after := range []bool{false, true} {
			name := "before " + write.name
			if after {
				name = "after " + write.name + ", its answer lost"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.database("db")
				w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")

				var victim atomic.Pointer[agentProcess]
				proxy := w.apiProxy(write, after, func() { victim.Load().cmd.Process.Kill() })
				victim.Store(w.start(w.argsThrough(proxy)...))
				require.Equal(t, -1, victim.Load().wait(), "the agent was killed")

				require.Equal(t, 0, w.once())
				w.requireOneRotation("r")
			})
		}
	}
}

func TestAnAgentKilledWhileTheServerChangesThePasswordGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databasesWith(map[string]string{"db": `{"statements":[{"kind":"ALTER LOGIN","delay":"1h","times":1}]}`})
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	agent := w.agent()
	w.eventually("the change is under way", func() bool { return strings.Contains(agent.log(), "step=pause") && w.busy("db") })
	agent.kill()

	require.Equal(t, 0, w.once())
	w.requireOneRotation("r")
}

// busy reports whether the database's server executes a statement of gitrota.
func (w *world) busy(database string) bool {
	w.Helper()
	login := w.live(database)
	address := url.URL{
		Scheme: "sqlserver", User: url.UserPassword(login.Username, login.Password.Reveal()), Host: w.pod(database).Status.PodIP + ":1433",
		RawQuery: "encrypt=true&trustservercertificate=true",
	}
	db, err := sql.Open("sqlserver", address.String())
	require.NoError(w.T, err)
	defer db.Close()
	var statements int
	require.NoError(w.T, db.QueryRowContext(w.Context(),
		"SELECT COUNT(*) FROM sys.dm_exec_sessions WHERE program_name = 'gitrota' AND status = 'running'").Scan(&statements))
	return statements > 0
}

func TestAnAgentKilledBeforeAndAfterItsPushWritesTheResultOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		before, after func(w *world) bool // the agent dies before or after the push at which this is so
	}{
		{"before the push", func(w *world) bool {
			keeper := w.secret("db-auth-keeper")
			return keeper != nil && strings.Contains(string(keeper.Data["finished"]), "Successful")
		}, never},
		{"after the push, its answer lost", never, func(w *world) bool { return w.status("r").phase() == "Successful" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.database("db")
			w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
			var victim atomic.Pointer[agentProcess]
			w.git.Break(gittest.OnPush(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				dieIf := func(is bool) {
					if is {
						victim.Load().cmd.Process.Kill()
						panic(http.ErrAbortHandler)
					}
				}
				dieIf(tc.before(w))
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, r)
				dieIf(tc.after(w))
				maps.Copy(rw.Header(), answer.Header())
				rw.WriteHeader(answer.Code)
				answer.Body.WriteTo(rw)
			}))
			victim.Store(w.agent())
			require.Equal(t, -1, victim.Load().wait(), "the agent was killed")
			w.git.Break(nil)

			require.Equal(t, 0, w.once())
			w.requireOneRotation("r")
		})
	}
}

func never(*world) bool { return false }

func TestWhateverBecomesOfItsManifestAFinishedRequestRotatesNothingAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	manifest := w.request("r", "db")
	w.repo.Commit(map[string]string{"rotations/r.yaml": manifest}, "Rotate db")
	require.Equal(t, 0, w.once())
	w.requireOneRotation("r")
	first := w.status("r")
	commits := len(w.repo.Log())

	// each change is served by a new agent, which remembers nothing
	unchanged := func(what string, newCommits int) {
		t.Helper()
		require.Equal(t, 0, w.once(), what)
		require.Equal(t, 1, w.passwordChanges("db"), what)
		require.Equal(t, first, w.status("r"), what)
		commits += newCommits
		require.Len(t, w.repo.Log(), commits, what)
	}
	unchanged("an agent that starts anew", 0)
	w.repo.Commit(map[string]string{"rotations/r.yaml": "# for the third quarter\n" + manifest + "  apply: IfReady\n"}, "Say the default")
	unchanged("re-applied with a comment and a default written out", 1)
	w.repo.Delete("Tidy", "rotations/r.yaml")
	w.repo.Commit(map[string]string{"rotations/2026/q3/moved.yaml": manifest}, "Move it")
	unchanged("moved to another file", 2)
	tidied := w.repo.Delete("Remove it", "rotations/2026/q3/moved.yaml")
	unchanged("deleted", 1)
	w.repo.Revert(tidied)
	unchanged("reverted", 1)
	w.repo.Delete("Clean up what looks generated", w.statusPath("r"))
	unchanged("its status file deleted: the status comes back", 2)
	beginning := w.repo.Log()[len(w.repo.Log())-1].Hash
	w.repo.Reset(beginning)
	w.repo.Commit(map[string]string{"rotations/r.yaml": manifest}, "Start history over")
	require.Equal(t, 0, w.once())
	require.Equal(t, 1, w.passwordChanges("db"), "the branch was rewritten")
	require.Equal(t, "Successful", w.status("r").phase())
}

// requireOneRotation checks what must hold after a rotation however often its agent died.
func (w *world) requireOneRotation(request string) {
	w.Helper()
	s := w.status(request)
	require.Equal(w.T, "Successful", s.phase())
	require.Equal(w.T, []string{
		"RotateAuth", "CredentialStaged", "DatabasePauseSucceeded", "UpdateCredential", "CredentialApplied--db-0",
		"CredentialPromoted", "UpdatePetSets", "GetPod--db-0", "EvictPod--db-0", "CheckPodRunning--db-0", "RestartNodes",
		"CredentialVerified", "PreviousCredentialRejected", "DatabaseResumed", "Successful",
	}, s.types(), "one set of conditions")
	require.Equal(w.T, 1, w.passwordChanges("db"), "one change on the server")
	require.LessOrEqual(w.T, w.failedLogins("db"), 1, "at most one failed login")
	require.True(w.T, w.opens("db", w.live("db")), "the auth Secret opens the server")
	keeper := w.secret("db-auth-keeper")
	require.Empty(w.T, keeper.Data["next.password"])
	require.Equal(w.T, w.live("db").Password.Reveal(), string(keeper.Data["live.password"]))
	require.Equal(w.T, w.previous("db").Password.Reveal(), string(keeper.Data["previous.password"]))
	require.NotContains(w.T, w.cluster.Kubectl(w.T, "get", "mssqlserver", "-n", w.namespace, "db", "-o", "yaml"), "Paused by gitrota")
	ended := 0
	for _, entry := range w.repo.Log() {
		if entry.Trailers["Rotation-Phase"] == "Successful" {
			ended++
		}
	}
	require.Equal(w.T, 1, ended, "one commit says that it was Successful")
}

// matches reports whether a request is one of those that the moment is about.
func (m moment) matches(r *http.Request) bool {
	return slices.Contains(strings.Split(m.method, "|"), r.Method) && regexp.MustCompile(m.path).MatchString(r.URL.Path)
}

// apiProxy stands between an agent and the API server. At one request it calls kill and answers nothing: before the
// request is passed on, or after it has succeeded.
func (w *world) apiProxy(at moment, after bool, kill func()) *httptest.Server {
	w.Helper()
	matches := at.matches
	var seen atomic.Int32
	return w.apiFront(func(_ http.ResponseWriter, r *http.Request) bool {
		if !after && matches(r) && int(seen.Add(1)) == at.nth {
			kill()
			panic(http.ErrAbortHandler)
		}
		return true
	}, func(r *http.Response) {
		// A conflict is no write: the agent will come back with it.
		if after && matches(r.Request) && r.StatusCode < 300 && int(seen.Add(1)) == at.nth {
			kill()
			panic(http.ErrAbortHandler)
		}
	})
}

// apiFront passes on what an agent asks of the API server, unless before has answered it and returns false. It shows
// each answer to after.
func (w *world) apiFront(before func(http.ResponseWriter, *http.Request) bool, after func(*http.Response)) *httptest.Server {
	w.Helper()
	target, err := url.Parse(w.cluster.Config.Host)
	require.NoError(w.T, err)
	// Who the agent is, its own token says.
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(w.cluster.Config))
	require.NoError(w.T, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport = transport
	forward.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) }
	forward.ModifyResponse = func(r *http.Response) error {
		after(r)
		return nil
	}
	proxy := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if before(rw, r) {
			forward.ServeHTTP(rw, r)
		}
	}))
	proxy.Config.ErrorLog = log.New(io.Discard, "", 0) // the agent's death is not news
	proxy.StartTLS()                                   // client-go sends no token in the clear
	w.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
	})
	return proxy
}

// argsThrough are those of an agent that reaches the API server through a proxy only.
func (w *world) argsThrough(proxy *httptest.Server) []string {
	w.Helper()
	args := w.agentArgs()
	for i, arg := range args {
		if arg != "--kubeconfig" {
			continue
		}
		config, err := clientcmd.LoadFromFile(args[i+1])
		require.NoError(w.T, err)
		for _, cluster := range config.Clusters {
			cluster.Server = proxy.URL
			cluster.CertificateAuthorityData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
		}
		require.NoError(w.T, clientcmd.WriteToFile(*config, args[i+1]))
	}
	return args
}
