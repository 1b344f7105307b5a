package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/gittest/repoplan"
	"github.com/gitrota/gitrota/policies/credential"
)

// team has a repository of a random kind, a server outside of the cluster, and an agent.
type team struct {
	*world
	name   string
	server *outside
	built  *repoplan.Built
	args   []string
	agent  *agentProcess
	live   credential.Password // since the last rotation
}

// Whatever else is in a repository, however it came there and however it is served: what is asked for in it is done, by
// an agent that starts, by one that runs on, and by one that is started again after a crash.
func TestTheAgentWorksInAnyRepository(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	forges := map[bool]*gittest.Server{}
	for _, older := range []bool{false, true} {
		forge, err := gittest.Start(dir, gittest.Options{Username: "gitrota", Password: "forge-token-1", SSH: true})
		require.NoError(t, err)
		t.Cleanup(forge.Close)
		forges[older] = forge
	}
	forges[true].SpeakOlder()
	w := newWorld(t) // whose last look at what was written comes before the forges end

	for group := range slices.Chunk(w.teams(20, dir, forges), 5) {
		each := func(do func(*team)) {
			for _, one := range group {
				do(one)
			}
		}
		push := func(m *team) { require.NoError(t, m.built.Push()) }
		start := func(m *team) { m.agent = m.start(m.args...) }
		each(push)
		each(start)
		each(func(m *team) { m.requireRotated(0) })
		each(push)
		each(func(m *team) { m.requireRotated(1) })
		each(func(m *team) { m.agent.kill() })
		each(push)
		each(start)
		each(func(m *team) { m.requireRotated(2) })
		each(func(m *team) { m.agent.kill() })
	}
}

// teams draws repositories with three pushes each. Every push brings a request on top of what it brings anyway.
func (w *world) teams(count int, dir string, forges map[bool]*gittest.Server) []*team {
	w.Helper()
	var all []*team
	for seed := range uint64(count) {
		name := fmt.Sprintf("any-%d", seed)
		plan := repoplan.Random(rand.New(rand.NewPCG(seed, 20)), repoplan.Options{Watched: []string{"rotations", "rotation-status"}, MaxSize: 20_000})
		server := w.outside(name)
		w.keep(name+"-auth", server.login("app"))
		w.keep(name+"-admin", server.Admin)
		w.ask(plan, name, w.document(name, server.at(), authSecret(name), trusted, "admin: {name: "+name+"-admin}"))
		built, err := plan.Init(filepath.Join(dir, name+".git"))
		require.NoError(w.T, err)
		forge := forges[plan.Server.Older]
		url := forge.URL + "/" + name + ".git"
		w.histories = append(w.histories, strings.Replace(url, "://", "://gitrota:forge-token-1@", 1))
		if plan.Server.SSH {
			url = "ssh://git@" + forge.SSHAddress() + "/" + name + ".git"
		}
		args := w.agentArgs("--repo", url, "--git-auth", forge.AuthDir(plan.Server.SSH), "--allow-hosts", "127.0.0.1")
		all = append(all, &team{world: w, name: name, server: server, built: built, args: args, live: w.kept(name + "-auth").Password})
	}
	return all
}

// ask puts a request on top of each of three pushes, and what it is about.
func (w *world) ask(plan *repoplan.Plan, name, document string) {
	text := func(path, content string) repoplan.File {
		return repoplan.File{Path: path, Mode: repoplan.Regular, Content: repoplan.Content{Literal: content}}
	}
	plan.Server.TipOnly = false // which is read as a whole, and said so
	plan.Stages = plan.Stages[:min(3, len(plan.Stages))]
	for number := range 3 {
		parent := repoplan.Tip
		if number < len(plan.Stages) {
			parent = plan.Stages[number].Tip
		} else {
			plan.Stages = append(plan.Stages, repoplan.Stage{})
		}
		request := fmt.Sprintf("%s-%d", name, number)
		id := 100_000 + number
		plan.Commits = append(plan.Commits, repoplan.Commit{
			ID: id, Stage: number, Parents: []int{parent}, At: 1_700_000_000 + int64(number), Zone: "+0000",
			Author: "Dana DBA <dana@example.com>", Message: "Rotate " + name,
			Files: []repoplan.File{
				text("rotations/"+name+".yaml", document), text("rotations/"+request+".yaml", w.request(request, name)),
				text("rotation-status/README.md", "What gitrota did.\n"),
			},
		})
		plan.Stages[number].Tip, plan.Stages[number].Deleted = id, false
	}
}

// requireRotated waits until the request of a push has ended, and makes sure that it did what it asks for.
func (m *team) requireRotated(push int) {
	m.Helper()
	request := fmt.Sprintf("%s-%d", m.name, push)
	var s status
	m.eventually(request+" has ended", func() bool {
		out, err := m.built.Git("show", "refs/heads/main:"+m.statusPath(request))
		s = status{}
		return err == nil && yaml.Unmarshal([]byte(out), &s) == nil && s.ended()
	})
	require.Equal(m.T, "Successful", s.phase(), "%s: %s\n%s", request, s.why(), m.built.Plan)
	live := m.kept(m.name + "-auth")
	require.NotEqual(m.T, m.live, live.Password, "%s: %s", request, m.built.Plan)
	require.True(m.T, m.server.lets(live))
	require.NotContains(m.T, m.agent.log(), "cannot be read in parts", "%s: %s", request, m.built.Plan)
	m.live = live.Password
}
