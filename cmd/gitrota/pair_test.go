package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/policies/credential"
)

// pair is a server with two logins that take turns. Clients use app_a.
func (w *world) pair(grace string) (s *outside, document string) {
	w.Helper()
	s = w.outside("pair")
	w.keep("pair-auth", s.login("app_a"))
	s.login("app_b")
	w.keep("pair-admin", s.Admin)
	return s, w.document("pair", s.at(), authSecret("pair"), trusted, "admin: {name: pair-admin}", "loginPair: [app_a, app_b]", "gracePeriod: "+grace)
}

// clients read the auth Secret and log in with it, again and again, until the returned function is called. That one
// returns the logins that they read, each once.
func (w *world) clients(s *outside, secret string) (stop func() []credential.Credential) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var mu sync.Mutex
	var met []credential.Credential
	for range 2 {
		running.Go(func() {
			for ctx.Err() == nil {
				read, err := w.cluster.Client.CoreV1().Secrets(w.namespace).Get(ctx, secret, metav1.GetOptions{})
				if err != nil {
					continue
				}
				c := credential.Credential{Username: string(read.Data["username"]), Password: credential.NewPassword(string(read.Data["password"]))}
				db := s.Open(w.T, c)
				err = db.PingContext(ctx)
				db.Close()
				if err != nil && ctx.Err() == nil {
					w.Errorf("a client that read the Secret was refused: %v", err)
				}
				mu.Lock()
				if !slices.Contains(met, c) {
					met = append(met, c)
				}
				mu.Unlock()
			}
		})
	}
	return func() []credential.Credential {
		cancel()
		running.Wait()
		return met
	}
}

func TestTwoLoginsTakeTurnsAndBothAreValidForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, document := w.pair("8s")
	a := w.kept("pair-auth")
	stale := s.Open(t, a, "database=master")
	stale.SetMaxOpenConns(1)
	require.NoError(t, stale.Ping())
	stop := w.clients(s, "pair-auth")
	w.repo.Commit(map[string]string{"rotations/pair.yaml": document, "rotations/first.yaml": w.request("first", "pair")}, "Rotate pair")
	agent := w.agent("--allow-hosts", "127.0.0.1")

	w.eventually("the Secret is switched", func() bool { return w.kept("pair-auth").Username == "app_b" })
	b := w.kept("pair-auth")
	require.Equal(t, a, w.kept("pair-auth", "username.prev", "password.prev"))
	w.eventually("the grace period is announced", func() bool { return w.status("first").condition("PreviousLoginRetired").Reason == "GracePeriod" })
	require.Equal(t, "Progressing", w.status("first").phase())
	require.Contains(t, w.status("first").condition("PreviousLoginRetired").Message, `"app_a" stays valid until `)
	require.True(t, s.lets(a), "nobody has to hurry")
	require.True(t, s.lets(b))

	first := w.ended("first")
	require.Equal(t, "Successful", first.phase(), first.why())
	require.Equal(t, `"app_a" has a password that nobody uses, until it is its turn again`, first.condition("PreviousLoginRetired").Message)
	sessions := first.condition("PreviousLoginSessions")
	require.Equal(t, "SomeLeft", sessions.Reason)
	require.Equal(t, `"app_a" has 1 open sessions after the grace period of 8s`, sessions.Message)
	require.NotContains(t, first.types(), "PreviousCredentialRejected", "it was welcome until it was retired")
	require.NoError(t, stale.Ping(), "a session goes on after its login was retired")
	require.Equal(t, []credential.Credential{a, b}, stop(), "the Secret never held one login with the other one's password")
	_, failed := s.StandIn().Logins("app_a")
	require.Zero(t, failed)
	require.False(t, s.lets(a), "retired")
	require.True(t, s.lets(w.kept("pair-auth-keeper", "retired.username", "retired.password")), "and not lost")
	w.requireKeeper("pair-auth-keeper", b, a)

	stale.Close()
	stop = w.clients(s, "pair-auth")
	w.repo.Commit(map[string]string{"rotations/second.yaml": w.request("second", "pair")}, "Rotate pair again")
	second := w.ended("second")
	require.Equal(t, "Successful", second.phase(), second.why())
	back := w.kept("pair-auth")
	require.Equal(t, "app_a", back.Username, "it is its turn again")
	require.NotEqual(t, a, back)
	require.Equal(t, []credential.Credential{b, back}, stop())
	require.Equal(t, "NoneLeft", second.condition("PreviousLoginSessions").Reason)
	require.False(t, s.lets(b))
	w.requireKeeper("pair-auth-keeper", back, b)
	require.Equal(t, 0, agent.terminate())
}

// pairWrites are the writes of a rotation of a pair. Between the promotion and the retirement lies the grace period.
var pairWrites = []moment{
	{"the staging", "POST", `/secrets$`, 1},
	{"the promotion", "PUT", `/secrets/pair-auth$`, 1},
	{"the list of restarts", "PUT", `/secrets/pair-auth-keeper$`, 1},
	{"the retirement", "PUT", `/secrets/pair-auth-keeper$`, 2},
	{"the settlement", "PUT", `/secrets/pair-auth-keeper$`, 3},
}

func TestNoClientOfAPairIsRefusedWhereverTheAgentDies(t *testing.T) {
	t.Parallel()
	for _, write := range pairWrites {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after it: %v", write.name, after), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				s, document := w.pair("3s")
				a := w.kept("pair-auth")
				stop := w.clients(s, "pair-auth")
				w.repo.Commit(map[string]string{"rotations/pair.yaml": document, "rotations/r.yaml": w.request("r", "pair")}, "Rotate pair")

				var victim atomic.Pointer[agentProcess]
				proxy := w.apiProxy(write, after, func() { victim.Load().cmd.Process.Kill() })
				victim.Store(w.start(append(w.argsThrough(proxy), "--allow-hosts", "127.0.0.1")...))
				require.Equal(t, -1, victim.Load().wait(), "the agent was killed")
				require.Equal(t, 0, w.once("--allow-hosts", "127.0.0.1"))

				b := w.kept("pair-auth")
				require.Equal(t, []credential.Credential{a, b}, stop())
				require.Equal(t, "app_b", b.Username)
				require.Equal(t, "Successful", w.status("r").phase())
				require.Equal(t, 1, strings.Count(strings.Join(w.status("r").types(), " "), "PreviousLoginRetired"))
				for _, login := range []string{"app_a", "app_b"} {
					_, failed := s.StandIn().Logins(login)
					require.Zero(t, failed, login)
					require.Equal(t, 1, s.StandIn().PasswordChanges(login), login)
				}
				require.False(t, s.lets(a))
				w.requireKeeper("pair-auth-keeper", b, a)
			})
		}
	}
}

func TestAPairWhoseSecretNamesAThirdLoginIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, document := w.pair("1s")
	third := s.login("app_c")
	document = strings.Replace(document, "pair-auth", "third-auth", 1)
	w.keep("third-auth", third)
	w.repo.Commit(map[string]string{"rotations/r.yaml": document + "---\n" + w.request("r", "pair")}, "Rotate pair")
	require.Equal(t, 1, w.once("--allow-hosts", "127.0.0.1"))
	require.Equal(t, "Failed", w.status("r").phase())
	require.Equal(t, "the auth Secret "+w.namespace+`/third-auth has the username "app_c", which is none of the pair app_a and app_b; `+
		"write the login that clients use now into the Secret, or correct spec.loginPair", w.status("r").why())
	require.False(t, w.keeps("third"))
	require.True(t, s.lets(third))
}

func TestAGracePeriodGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, document := w.pair("1h")
	w.repo.Commit(map[string]string{"rotations/r.yaml": document + "---\n" + w.request("r", "pair")}, "Rotate pair")
	for range 2 {
		agent := w.agent("--allow-hosts", "127.0.0.1")
		w.eventually("it is at work", func() bool { return strings.Contains(agent.log(), "rotation begins") })
		w.eventually("it waits", func() bool { return w.status("r").condition("PreviousLoginRetired").Reason == "GracePeriod" })
		require.Equal(t, 0, agent.terminate(), "an agent that waits can be ended")
	}
	require.Equal(t, "Progressing", w.status("r").phase())
	require.Equal(t, "app_b", w.kept("pair-auth").Username)
	require.Equal(t, 1, s.StandIn().PasswordChanges("app_b"))
	require.Zero(t, s.StandIn().PasswordChanges("app_a"))
}
