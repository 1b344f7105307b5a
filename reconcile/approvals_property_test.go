package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
)

// people push, merge, revert, rewrite history and approve in any order. The oracle knows who has signed what, and looks
// into the history itself: nothing may run that erin and frank have not both approved as it is.
type people struct {
	signed
	dice       *rand.Rand
	controller *reconcile.Controller
	said       map[string]string // by commit: who approves what, "erin rotations/a.yaml@blob"
	heads      []string
	ran        map[string]bool
	tale       []string
}

func (p *people) start() {
	rule := approval.Rule{Mode: approval.Signatures, Count: 2}
	rails := guardrails.Guardrails{Approval: rule}
	p.controller = p.signed.controller(reconcile.Options{ApprovalSigners: p.signers, Guardrails: func() guardrails.Guardrails { return rails }}, schedule{}.at)
}

// requests lists the manifests of requests that are there.
func (p *people) requests() []string {
	return slices.DeleteFunc(p.repo.Files(), func(file string) bool { return !strings.HasPrefix(file, "rotations/r") })
}

func (p *people) approve(who string, key *gittest.SigningKey) {
	files := p.requests()
	if len(files) == 0 {
		return
	}
	file := files[p.dice.IntN(len(files))]
	message := p.approves(file)
	p.said[p.by(key, nil, message)] = who + " " + file + "@" + p.repo.Blob(file)
}

// act does something that people do, and says what.
func (p *people) act() string {
	name := fmt.Sprintf("r%d", p.dice.IntN(3))
	file := "rotations/" + name + ".yaml"
	content := request(name)
	if p.dice.IntN(3) == 0 {
		content += fmt.Sprintf("# %d\n", p.dice.IntN(3))
	}
	switch p.dice.IntN(14) {
	case 0, 1:
		p.by(p.dana, map[string]string{file: content}, "Rotate")
		return "dana adds or changes " + file
	case 2:
		p.repo.Commit(map[string]string{file: content}, "Rotate")
		return "somebody adds or changes " + file
	case 3, 4:
		p.approve("erin", p.erin)
		return "erin approves"
	case 5, 6:
		p.approve("frank", p.frank)
		return "frank approves"
	case 7:
		p.approve("nobody", nil)
		return "somebody approves without a signature"
	case 8:
		p.repo.Revert(p.repo.Head())
		return "somebody reverts the last commit"
	case 9:
		p.repo.OnBranch("proposal").Commit(map[string]string{file: content}, "Propose")
		p.repo.Commit(map[string]string{"other": fmt.Sprint(p.dice.Int())}, "Meanwhile")
		p.repo.Merge("proposal", "Merge a proposal")
		p.repo.OnBranch("proposal").Remove()
		return "somebody merges a proposal of " + file
	case 10:
		p.repo.Reset(p.heads[p.dice.IntN(len(p.heads))])
		return "somebody rewrites history"
	case 11:
		p.repo.Commit(map[string]string{policyFile: policy("{approval: {mode: Merge}}")}, "Ask for nothing")
		return "somebody writes a policy that asks for nothing"
	case 12:
		if files := p.requests(); len(files) > 0 {
			p.repo.Delete("Away", files[0])
		}
		return "somebody removes a request"
	}
	p.start()
	return "another process takes over"
}

// check looks into the history for the word of both.
func (p *people) check() {
	var reachable []string
	for _, entry := range p.repo.Log() {
		reachable = append(reachable, p.said[entry.Hash])
	}
	before := map[string]string{}
	for _, file := range p.requests() {
		before[file] = p.repo.Blob(file)
	}
	was := len(p.world.servers[0].given["sa"])
	p.round(p.controller)
	for _, standing := range p.controller.Standings(time.Time{}, "") {
		if standing.Phase != reconcile.PhaseSuccessful || p.ran[standing.Request] {
			continue
		}
		p.ran[standing.Request] = true
		file := "rotations/" + strings.TrimPrefix(standing.Request, "demo/") + ".yaml"
		for _, who := range []string{"erin ", "frank "} {
			require.Contains(p, reachable, who+file+"@"+before[file], "%s ran without the word of %s:\n%s", standing.Request, who, strings.Join(p.tale, "\n"))
		}
		was++
	}
	require.LessOrEqual(p, len(p.world.servers[0].given["sa"]), was, "something ran that nobody knows of:\n%s", strings.Join(p.tale, "\n"))
}

func TestNoOrderOfPushesMergesRevertsAndRewritesRunsWhatIsNotApproved(t *testing.T) {
	tales := 2 // with real git, which takes its time; make crash tells more of them
	if *schedules > 10_000 {
		tales = 40
	}
	rotations := 0
	for seed := range uint64(tales) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			p := &people{signed: newSigned(t), dice: rand.New(rand.NewPCG(seed, 0)), said: map[string]string{}, ran: map[string]bool{}}
			p.start()
			for range 16 {
				p.heads = append(p.heads, p.repo.Head())
				p.tale = append(p.tale, p.act())
				p.check()
			}
			p.heads = append(p.heads, p.repo.Head())
			p.tale = append(p.tale, "both approve in the end")
			p.by(p.dana, map[string]string{"rotations/r9.yaml": request("r9")}, "Rotate")
			for who, key := range map[string]*gittest.SigningKey{"erin": p.erin, "frank": p.frank} {
				message := p.approves("rotations/r9.yaml")
				p.said[p.by(key, nil, message)] = who + " rotations/r9.yaml@" + p.repo.Blob("rotations/r9.yaml")
			}
			p.check()
			require.True(t, p.ran["demo/r9"], "what both have approved runs:\n%s", strings.Join(p.tale, "\n"))
			rotations += len(p.ran)
		})
	}
	require.NotZero(t, rotations, "where nothing ever runs, nothing is shown")
}
