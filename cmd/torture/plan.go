package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Plan is what happens in one episode. It is made from its seed alone, so that a seed replays it. How the agents and
// the cluster keep pace with it is up to the machine.
type Plan struct {
	Seed      uint64
	Databases []string // kinds, each once
	Agents    int      // that serve the repository at once
	Lease     bool     // they share a lease
	Probe     bool     // a pod is Ready if its server takes the password of its environment
	Anew      bool     // when all is healed, the agents are killed once more: the last ones remember nothing
	Steps     []Step   // in the order of their times
}

// A Step is what people ask for, or a disturbance.
type Step struct {
	At       time.Duration // since the beginning of the episode
	Do       action
	Database string        // of Plan.Databases; "" where it is about none
	Agent    int           // of Plan.Agents
	When     string        // text in the agent's log that is waited for, for a while; "" for none
	Later    time.Duration // than that
	For      time.Duration // until it is over; 0 for what happens in a moment
	N        int           // how many, or which one
}

type action string

// What people do.
const (
	request   action = "request"    // ask for a generated password
	supply    action = "supply"     // ask for a password of one's own
	goBack    action = "go back"    // undo the last rotation
	reapply   action = "re-apply"   // write a manifest again, with another comment
	move      action = "move"       // move a manifest to another file
	revert    action = "revert"     // remove a manifest and bring it back
	forcePush action = "force-push" // drop the last N commits
)

// byPeople reports whether it is people who do it, one after the other.
func (a action) byPeople() bool {
	return slices.Contains([]action{request, supply, goBack, reapply, move, revert, forcePush}, a)
}

// What goes wrong.
const (
	killAgent   action = "kill agent"
	stopAgent   action = "stop agent" // SIGSTOP, and SIGCONT when it is over
	killAPI     action = "kill kube-apiserver"
	stopAPI     action = "stop kube-apiserver"
	killEtcd    action = "kill etcd"
	stopEtcd    action = "stop etcd"
	gitAway     action = "Git is away"
	gitLoses    action = "Git loses answers" // it does what a push asks for, and says nothing
	deletePod   action = "delete pod"        // the Nth of the database, by force
	serverAway  action = "server is away"    // the Nth of the database
	dropAnswer  action = "answer of ALTER is lost"
	slowAlter   action = "ALTER is slow" // it is done N half seconds after it came in
	deleteAuth  action = "delete auth Secret"
	replaceAuth action = "overwrite auth Secret"
)

// moments at which losing an agent is most interesting, as its log names them. Between "step=pause" and "step=apply"
// lies the ALTER, and before it where there is nobody to pause "step=stage".
var moments = []string{
	"rotation begins", "step=connect", "step=stage", "step=stage", "step=pause", "step=pause", "step=apply", "step=promote",
	"step=restarts", "step=evict", "step=await", "step=verify", "step=resume", "step=retire", "step=settle",
}

// sleepy are the moments before a password is changed.
var sleepy = []string{"step=connect", "step=stage", "step=pause", "step=apply"}

const (
	length = 6 * time.Second // of the part of an episode in which things happen
	atMost = 5 * time.Second // that something lasts, but for a leader that sleeps
)

// kinds of databases, and how often they are chosen.
var kinds = []string{"standalone", "group", "statefulset", "deployment", "pair", "outside"}

// newPlan makes the plan of a seed.
func newPlan(seed uint64) Plan {
	r := rand.New(rand.NewPCG(seed, 2))
	p := Plan{Seed: seed, Agents: 1, Anew: r.IntN(2) == 0, Probe: r.IntN(2) == 0}
	for _, i := range r.Perm(len(kinds))[:1+r.IntN(3)] {
		p.Databases = append(p.Databases, kinds[i])
	}
	slices.Sort(p.Databases)
	if r.IntN(5) < 2 {
		p.Agents, p.Lease = 2, r.IntN(3) == 0
	}
	for _, database := range p.Databases {
		p.ask(r, database)
	}
	for range 2 + r.IntN(11) {
		p.disturb(r)
	}
	slices.SortStableFunc(p.Steps, func(a, b Step) int { return int(a.At - b.At) })
	return p
}

func moment(r *rand.Rand, until time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(until))).Truncate(10 * time.Millisecond)
}

// ask has people ask for rotations of a database, and do with their manifests what people do.
func (p *Plan) ask(r *rand.Rand, database string) {
	add := func(do action) {
		p.Steps = append(p.Steps, Step{At: moment(r, length), Do: do, Database: database, N: 1 + r.IntN(3)})
	}
	p.Steps = append(p.Steps, Step{At: moment(r, length/3), Do: request, Database: database})
	for range r.IntN(3) {
		add([]action{request, request, supply, goBack}[r.IntN(4)])
	}
	if r.IntN(2) == 0 {
		add([]action{reapply, move, revert}[r.IntN(3)])
	}
}

// disturb adds a disturbance.
func (p *Plan) disturb(r *rand.Rand) {
	s := Step{
		At: moment(r, length), Agent: r.IntN(p.Agents), N: 1 + r.IntN(4), For: 200*time.Millisecond + moment(r, atMost),
		Database: p.Databases[r.IntN(len(p.Databases))],
	}
	common := []action{killAgent, killAgent, killAgent, killAgent, stopAgent, stopAgent, stopAgent, gitAway, gitLoses, deletePod, deletePod,
		serverAway, dropAnswer, dropAnswer, slowAlter, slowAlter, deleteAuth, deleteAuth, replaceAuth, forcePush}
	rare := []action{killAPI, killAPI, stopAPI, stopAPI, killEtcd, stopEtcd}
	s.Do = common[r.IntN(len(common))]
	if r.IntN(8) == 0 {
		s.Do = rare[r.IntN(len(rare))]
	}
	switch s.Do {
	case killAgent, stopAgent:
		s.Database = ""
		if r.IntN(3) > 0 {
			s.When, s.Later = moments[r.IntN(len(moments))], moment(r, 80*time.Millisecond)
		}
		if s.Do == stopAgent && p.Agents > 1 && r.IntN(2) == 0 {
			s.When = sleepy[r.IntN(len(sleepy))] // and the other one goes on
		}
		if s.Do == stopAgent && p.Lease && r.IntN(2) == 0 {
			s.For += 16 * time.Second // the lease runs out, and another one serves
		}
	case deletePod, serverAway, dropAnswer, slowAlter, deleteAuth, replaceAuth:
		if !p.possible(s.Do, s.Database) || s.Do == replaceAuth && p.has(replaceAuth, s.Database) {
			s.Do, s.Database = killAgent, ""
		}
	default:
		s.Database = ""
	}
	switch s.Do {
	case stopAgent, stopAPI, stopEtcd, gitAway, gitLoses, serverAway:
	default:
		s.For = 0
	}
	p.Steps = append(p.Steps, s)
}

// possible says what can be done to a kind of database such that it still has to come to rest by itself.
func (p *Plan) possible(do action, kind string) bool {
	switch kind {
	case "standalone", "group":
		// KubeDB makes a new one, with a password that is as wrong as a stranger's.
		return !p.Probe || do != deleteAuth && do != replaceAuth
	case "statefulset":
		// A pod that starts meanwhile has it in its environment for good, and is not Ready before it is restarted.
		return !p.Probe || do != replaceAuth
	case "deployment":
		// Without a volume its server takes what the Secret holds at each start, which would be a stranger's password.
		return do != replaceAuth
	case "outside", "pair":
		return do != deletePod
	}
	return true
}

func (p *Plan) has(do action, database string) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Do == do && s.Database == database })
}

// String is the plan for people, a line for each step.
func (p Plan) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: %s; %d agents", p.Seed, strings.Join(p.Databases, " and "), p.Agents)
	if p.Lease {
		text.WriteString(", with a lease")
	}
	if p.Probe {
		text.WriteString("; pods are Ready by login")
	}
	if p.Anew {
		text.WriteString("; in the end all agents anew")
	}
	for _, s := range p.Steps {
		text.WriteString("\n  " + s.String())
	}
	return text.String()
}

func (s Step) String() string {
	text := fmt.Sprintf("%5.2fs %s", s.At.Seconds(), s.Do)
	if s.Do == killAgent || s.Do == stopAgent {
		text += fmt.Sprintf(" %d", s.Agent)
	}
	if s.Database != "" {
		text += " of " + s.Database
	}
	if s.When != "" {
		text += fmt.Sprintf(" %s after %q", s.Later, s.When)
	}
	switch s.Do {
	case deletePod, serverAway, dropAnswer, slowAlter, forcePush, reapply, move, revert:
		text += fmt.Sprintf(" (%d)", s.N)
	}
	if s.For > 0 {
		text += fmt.Sprintf(" for %.2fs", s.For.Seconds())
	}
	return text
}
