package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
)

func TestTheExamplePush(t *testing.T) {
	t.Parallel()
	e := newExample(t, "push", "demo")
	w := e.w
	e.follow("A database")
	first := w.live("mssqlserver-quickstart")

	e.follow("Generate a password")
	second := w.live("mssqlserver-quickstart")
	require.NotEqual(t, first, second)
	require.Equal(t, first, w.previous("mssqlserver-quickstart"))
	require.True(t, w.opens("mssqlserver-quickstart", second))
	require.False(t, w.opens("mssqlserver-quickstart", first))
	require.Equal(t, "Successful", w.status("msops-rotate-auth-generated").phase())

	chosen := credential.NewPassword("Our-own-choice-4711")
	w.remember(chosen)
	e.env = append(e.env, "RECIPIENT="+w.recipient, "NEW_PASSWORD="+chosen.Reveal())
	e.follow("Or bring your own")
	require.Equal(t, credential.Credential{Username: "sa", Password: chosen}, w.live("mssqlserver-quickstart"))
	require.True(t, w.opens("mssqlserver-quickstart", w.live("mssqlserver-quickstart")))
	require.Equal(t, "Successful", w.status("msops-rotate-auth-user").phase())
}

func TestTheExampleServer(t *testing.T) {
	t.Parallel()
	e := newExample(t, "server", "crm")
	w := e.w
	e.follow("The server")
	before := w.kept("crm-sql-auth")

	e.follow("Rotate it")
	e.follow("What comes back")
	after := w.kept("crm-sql-auth")
	require.NotEqual(t, before.Password, after.Password)
	for address := range w.podsOf("crm-sql") {
		require.True(t, w.podLets(address, after))
		require.False(t, w.podLets(address, before))
	}
	require.Equal(t, "Successful", w.status("rotate-crm-sql-1").phase())
}

func TestTheExampleGroup(t *testing.T) {
	t.Parallel()
	e := newExample(t, "group", "ledger")
	w := e.w
	e.follow("The group")
	w.cluster.Kubectl(t, "-n", "ledger", "annotate", "pods", "--all", "devcluster.gitrota.dev/stop-delay=700ms")
	before := w.live("ledger")

	e.follow("Rotate it")
	e.follow("What comes back")
	w.requireEverywhere("ledger", before)
	require.Len(t, w.replicaNames("ledger"), 3)
	require.Equal(t, "Successful", w.status("rotate-ledger-1").phase())
}

func TestTheExamplePair(t *testing.T) {
	t.Parallel()
	e := newExample(t, "pair", "shop", "--allow-hosts", "127.0.0.1")
	w := e.w
	s := w.outside("orders")
	require.Contains(t, e.readme, "GITROTA_ALLOW_HOSTS=sql1.example.com:1433\n", "what the agent is told with --allow-hosts")
	e.env = append(e.env, "SERVER="+net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), "SQLCMDPASSWORD="+s.Admin.Password.Reveal())
	e.follow("The logins")
	first := w.kept("orders-auth")
	require.Equal(t, "orders_a", first.Username)
	stop := w.clients(s, "orders-auth")
	t.Cleanup(func() { stop() })

	e.follow("The first turn")
	e.follow("What comes back")
	second := w.kept("orders-auth")
	require.Equal(t, "orders_b", second.Username)
	require.True(t, s.lets(second))
	require.False(t, s.lets(first), "retired")

	e.follow("The next turn")
	third := w.kept("orders-auth")
	require.Equal(t, "orders_a", third.Username)
	require.NotEqual(t, first, third)
	require.Equal(t, []credential.Credential{first, second, third}, stop(), "no client was refused")
	require.Equal(t, "Successful", w.status("rotate-orders-2").phase())
}

func TestTheExampleSchedule(t *testing.T) {
	t.Parallel()
	e := newExample(t, "schedule", "billing")
	w := e.w
	w.cluster.Kubectl(t, "create", "namespace", "billing")
	w.database("invoices")
	e.env = append(e.env, "GITROTA_REPO="+w.repo.URL(), "GITROTA_GIT_AUTH="+w.gitAuth)
	e.follow("The schedule")
	e.follow("What is due when")
	require.NotContains(t, strings.Join(w.repo.Files(), " "), "rotations/scheduled", "nothing is due yet")
}

func TestTheExamplePullRequest(t *testing.T) {
	t.Parallel()
	e := newExample(t, "pull-request", "payments")
	content, err := os.ReadFile(filepath.Join(topLevel, "examples", "pull-request", "guardrails.yaml"))
	require.NoError(t, err)
	w := e.w
	w.cluster.Kubectl(t, "create", "namespace", "payments")
	w.database("payments")
	before := w.live("payments")
	guards, problems := manifest.ParseGuardrails("guardrails.yaml", content)
	require.Empty(t, problems)

	e.follow("The guardrails")
	e.follow("The policy")
	e.follow("The request")
	for branch, file := range map[string]string{
		"payments-policy": "rotations/policies/payments.yaml", "rotate-payments-1": "rotations/payments/rotate-payments-1.yaml",
	} {
		require.Contains(t, w.repo.OnBranch(branch).Files(), file)
		require.NotContains(t, w.repo.Files(), file, "it is for others to let it in")
		require.Nil(t, guards.File(file, "payments"), "the guardrails let this folder be about these databases")
	}
	require.Equal(t, before, w.live("payments"))
}
