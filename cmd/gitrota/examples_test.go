package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	e := newExample(t, "schedule", "billing", "--patrol-interval", "1s")
	w := e.w
	w.cluster.Kubectl(t, "create", "namespace", "billing")
	w.database("invoices")
	e.env = append(e.env, "GITROTA_REPO="+w.repo.URL(), "GITROTA_GIT_AUTH="+w.gitAuth)
	e.follow("The schedule")
	e.follow("What is due when")
	require.NotContains(t, strings.Join(w.repo.Files(), " "), "rotations/scheduled", "nothing is due yet")

	// Forty days later, and on whatever day of the week it is now.
	policy := "rotations/policies/billing.yaml"
	e.run("sed -i -e '/windows:/,/freezes:/d' -e '/reason:/d' -e '/maintenance:/d' " + policy + " && git commit -aqm 'at any time' && git push -q")
	began := time.Now().UTC().Add(-40 * 24 * time.Hour).Truncate(time.Second)
	w.cluster.Kubectl(t, "-n", "billing", "annotate", "--overwrite", "secret", "invoices-auth", "kubedb.com/auth-active-from="+began.Format(time.RFC3339))
	w.cluster.Kubectl(t, "-n", "billing", "annotate", "mssqlserver", "invoices", "note=look again") // for KubeDB to see it
	before := w.live("invoices")
	e.run("gitrota sync --wait")
	w.eventually("the request comes by itself, and runs", func() bool {
		files := strings.Join(w.repo.Files(), "\n")
		_, rest, asked := strings.Cut(files, "rotations/scheduled/billing/")
		name, _, _ := strings.Cut(rest, ".yaml")
		return asked && w.status(name).phase() == "Successful"
	})
	require.NotEqual(t, before, w.live("invoices"))
	require.True(t, w.opens("invoices", w.live("invoices")))
	log := e.run("git pull -q && git log --format=%s -3")
	require.Regexp(t, `^rotate billing/invoices: Successful\n(rotate billing/invoices: Progressing\n)*schedule billing/invoices-scheduled-\d{8}t\d{4}z\n`, log)
}

func TestTheExamplePullRequest(t *testing.T) {
	t.Parallel()
	w := newForgeWorld(newWorldIn(t, vacant(t, "payments")), filepath.Join(topLevel, "examples", "pull-request", "guardrails.yaml"))
	e := follower(w.world, "pull-request", w.clone(w.dana), "GIT_AUTHOR_NAME=dana", "GIT_AUTHOR_EMAIL=dana@example.com", "GIT_COMMITTER_NAME=dana", "GIT_COMMITTER_EMAIL=dana@example.com")
	agent := w.hooked()
	w.cluster.Kubectl(t, "create", "namespace", "payments")
	w.database("payments")
	before := w.live("payments")
	e.follow("The guardrails")

	e.follow("The policy")
	w.review("payments-policy", w.erin, w.frank)
	w.eventually("it is in force", func() bool { return strings.Contains(w.written("rotation-status/policies.yaml"), "name: payments") })

	e.follow("The request")
	require.Equal(t, before, w.live("payments"))
	p := w.review("rotate-payments-1", w.erin)
	status := w.is("rotate-payments-1", "Successful")
	require.NotEqual(t, before, w.live("payments"))
	require.Contains(t, e.readme, "was approved by bob, merged by dana as commit 3f1c2d4e5f60'")
	require.Equal(t, fmt.Sprintf("rotations/payments/rotate-payments-1.yaml: pull request #%d (%s) was approved by erin, merged by dana as commit %s", p.Number, p.Link, p.MergedAs[:12]),
		status.condition("Approved").Message)
	require.Equal(t, 0, agent.terminate())
}
