package audit

import (
	"errors"
	"fmt"
	"time"

	"github.com/gitrota/gitrota/gitsource/signature"
	"github.com/gitrota/gitrota/reconcile"
)

// Signers tell who signed a commit; [signature.Signers] does.
type Signers interface {
	Verify(raw []byte) (signature.Signer, error)
}

// Options say what to prove.
type Options struct {
	StatusPath string
	// Tip is the last commit of the branch with the statuses, Source that of the branch with the requests. A zero Source:
	// it is the same branch.
	Tip, Source Hash
	// Agents are the keys that sign status commits.
	Agents Signers
	// Requesters are the keys that sign the commits that bring requests and approvals; nil: these are not checked.
	Requesters Signers
	// Since is the first commit that has to hold. What is behind it is taken as it is, and reported as not proven. Zero:
	// all of them.
	Since Hash
	// Contains is a commit that has to be in the history, such as the tip of an earlier report; zero: none.
	Contains Hash
}

// verifier walks a history from its first commit to the tip.
type verifier struct {
	Options
	*history
	source []bool // the commits that are on the branch with the requests

	// Of each commit: what is at the status path, and the last status commit at or behind it, -1 if there is none.
	statuses []entry
	last     []int
	// given are the commits behind Options.Since.
	given []bool

	clocks    map[int]time.Time // when each status commit was committed
	agents    map[string]bool   // the addresses of those who made signed status commits
	files     map[string]*file  // the statuses, by path, as they are at the commit that the walk has reached
	succeeded map[string]string // the file by rotation id
	report    *Report
}

// file is one status as it was read last.
type file struct {
	entry  entry
	status reconcile.Status
	err    error  // it is no status
	proof  *Proof // nil: it has not run, or it is given
}

// Verify proves that the statuses of a history are the agent's record. The error is a [*Break] where they are not.
func Verify(objects Objects, o Options) (*Report, error) {
	tips := []Hash{o.Tip}
	if !o.Source.IsZero() {
		tips = append(tips, o.Source)
	}
	h, err := load(objects, tips...)
	if err != nil {
		return nil, err
	}
	tip := h.numbers[o.Tip]
	walked := h.behind(tip)
	v := &verifier{
		Options: o, history: h,
		statuses: make([]entry, len(h.nodes)), last: make([]int, len(h.nodes)), given: make([]bool, len(h.nodes)),
		clocks: map[int]time.Time{}, agents: map[string]bool{}, files: map[string]*file{}, succeeded: map[string]string{},
		report: &Report{Tip: o.Tip.String()},
	}
	if !o.Source.IsZero() {
		v.source = h.behind(h.numbers[o.Source])
		v.report.Source = o.Source.String()
	}
	if err := v.anchors(walked); err != nil {
		return nil, err
	}
	for n := range h.nodes {
		if !walked[n] {
			continue
		}
		if err := v.step(n); err != nil {
			return v.report, v.named(n, err)
		}
		v.report.Commits++
	}
	if v.last[tip] < 0 {
		return nil, fmt.Errorf("no commit has ever changed %s, so there is nothing to prove: is it the right branch, and the right --status-path?", o.StatusPath)
	}
	return v.report, v.summarise(tip)
}

// anchors looks for the commits that have to be there, and marks what is given.
func (v *verifier) anchors(walked []bool) error {
	if !v.Contains.IsZero() {
		if n, ok := v.numbers[v.Contains]; !ok || !walked[n] {
			return &Break{Reason: HistoryTruncated, Commit: v.Contains.String(),
				Message: fmt.Sprintf("it is not in the history of %s any more: the branch was reset or rewritten", v.Tip)}
		}
	}
	if v.Since.IsZero() {
		return nil
	}
	n, ok := v.numbers[v.Since]
	if !ok || !walked[n] {
		return fmt.Errorf("the commit %s, from which on the history is to be proven, is not in the history of %s", v.Since, v.Tip)
	}
	v.given = v.behind(n)
	v.given[n] = false
	v.report.Since = v.Since.String()
	return nil
}

// named puts the commit into what is wrong with one of its objects.
func (v *verifier) named(n int, err error) error {
	var wrong malformedError
	if errors.As(err, &wrong) {
		return v.broken(n, Malformed, "", wrong.Error())
	}
	var broken *Break
	if errors.As(err, &broken) {
		return broken
	}
	return fmt.Errorf("at the commit %s: %w", v.nodes[n].hash, err)
}

// broken makes a break at a commit.
func (v *verifier) broken(n int, reason Reason, path, message string) error {
	b := &Break{Reason: reason, Commit: v.nodes[n].hash.String(), File: path, Message: message}
	if c, err := v.commit(v.nodes[n].hash); err == nil {
		b.Author = c.author.String()
	}
	return b
}

// step judges one commit, after its parents.
func (v *verifier) step(n int) (err error) {
	if v.statuses[n], err = v.at(v.nodes[n].tree, v.StatusPath); err != nil {
		return err
	}
	base, rival := v.base(n)
	before := entry{}
	v.last[n] = -1
	if base >= 0 {
		before, v.last[n] = v.statuses[base], v.last[base]
	}
	if rival >= 0 && !v.given[n] {
		return v.broken(n, StatusForked, "", fmt.Sprintf("it merges two lines of statuses that do not know of each other: the one of the commit %s, and the one of %s",
			v.nodes[v.last[base]].hash, v.nodes[v.last[rival]].hash))
	}
	if v.statuses[n] == before && rival < 0 {
		return nil
	}
	previous := v.last[n]
	v.last[n] = n
	if v.given[n] {
		return nil
	}
	changes, err := v.diff(v.StatusPath, before, v.statuses[n])
	if err != nil {
		return err
	}
	if len(v.nodes[n].parents) > 1 {
		return v.wrongMerge(n, base, changes)
	}
	return v.statusCommit(n, previous, changes)
}

// base returns the parent whose statuses a commit has to have, or to change: the one that knows the status commits of
// all others. It is -1 for a commit without parents. rival is a parent that has status commits which base does not know;
// -1: none.
func (v *verifier) base(n int) (base, rival int) {
	parents := v.nodes[n].parents
	if len(parents) == 0 {
		return -1, -1
	}
	base = parents[0]
	for _, p := range parents[1:] {
		if v.last[p] != v.last[base] && v.contains(v.last[p], v.last[base]) {
			base = p
		}
	}
	for _, p := range parents {
		if !v.contains(v.last[base], v.last[p]) {
			return base, p
		}
	}
	return base, -1
}

// wrongMerge says what a merge does that has other statuses than it should.
func (v *verifier) wrongMerge(n, base int, changes []change) error {
	for _, p := range v.nodes[n].parents {
		if v.statuses[p] == v.statuses[n] {
			return v.broken(n, StatusWentBackwards, v.first(changes), fmt.Sprintf("the merge took the statuses of its parent %s, which are older than those of the commit %s",
				v.nodes[p].hash, v.nodes[v.last[base]].hash))
		}
	}
	return v.broken(n, ForeignWriter, v.first(changes), "a merge changed it, and none of the merged commits has it like that")
}

// first is the file that stands for some changes; the folder itself where it changed without any, as one that is empty.
func (v *verifier) first(changes []change) string {
	if len(changes) == 0 {
		return v.StatusPath
	}
	return changes[0].path
}
