package differential

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest/repoplan"
)

// trial is a repository and what somebody asks of it while it changes. It is drawn from a seed.
type trial struct {
	seed    uint64
	watched []string
	maxSize int64 // of a file that is to be read
	limit   int64 // of one that the agent reads: the same, unless it is to be wrong
	reading gitsource.Reading
	create  bool // the agent may make the branch
	cloned  bool // git is asked about a full clone, not about the repository on the server
	plan    *repoplan.Plan
	steps   []step
}

// call is one thing to do.
type call string

const (
	push     call = "push"    // the next stage of the plan comes onto the server
	restart  call = "restart" // the process ends, and another one starts
	head     call = "Head"
	snapshot call = "Snapshot"
	origins  call = "Origins"
	removals call = "Removals"
	between  call = "Between"
	contains call = "Contains"
	write    call = "Write"
	together call = "Snapshot, Origins and Contains at the same time"
)

// step is a call with what it is about.
type step struct {
	do         call
	rev, other int      // commits of the plan, or repoplan.Tip for the branch's
	paths      []string // folders, files, or what is written
	draw       uint64   // for what a write does
}

func (s step) String() string {
	name := func(id int) string {
		if id == repoplan.Tip {
			return "tip"
		}
		return fmt.Sprintf("commit %d", id)
	}
	switch s.do {
	case write:
		if s.racing() {
			return fmt.Sprintf("%s %q, and the next push comes in between", s.do, s.paths)
		}
		return fmt.Sprintf("%s %q", s.do, s.paths)
	case snapshot:
		return fmt.Sprintf("%s %q", s.do, s.paths)
	case origins, removals, together:
		return fmt.Sprintf("%s at %s of %q", s.do, name(s.rev), s.paths)
	case between, contains:
		return fmt.Sprintf("%s %s and %s", s.do, name(s.rev), name(s.other))
	}
	return string(s.do)
}

// racing says of a write whether the next push comes in between.
func (s step) racing() bool { return s.draw%4 == 0 }

// readings is in which way the trials' repositories are read: mostly with nothing to fall back on, so that what goes
// wrong shows.
var readings = []gitsource.Reading{
	gitsource.ReadPartially, gitsource.ReadPartially, gitsource.ReadPartially, gitsource.ReadSomehow, gitsource.ReadPlainly,
}

// draw makes the trial of a seed.
func draw(seed uint64) trial {
	rng := rand.New(rand.NewPCG(seed, 11))
	t := trial{seed: seed, reading: readings[seed%uint64(len(readings))], maxSize: []int64{300, 4000, 4000, 70_000}[rng.IntN(4)]}
	t.watched = [][]string{{"rotations"}, {"rotations", "rotation-status"}, {"clusters/prod/rotations", "clusters/prod/status"},
		{"a/b/c/d"}, {"rotations/deep", "rotations"}}[rng.IntN(5)]
	t.plan = repoplan.Random(rng, repoplan.Options{Watched: t.watched, MaxSize: int(t.maxSize)})
	t.plan.Seed, t.limit = seed, t.maxSize
	t.create, t.cloned = rng.IntN(10) == 0, rng.IntN(20) == 0
	if t.plan.Server.TipOnly && t.reading == gitsource.ReadPartially {
		t.reading = gitsource.ReadSomehow // parts are not to be had
	}
	all := t.plan.Paths()
	inside := slices.DeleteFunc(slices.Clone(all), func(path string) bool { return !within(path, t.watched) })
	if t.partial() { // there is more, which cannot be had
		t.cloned, t.reading, all = false, gitsource.ReadPartially, inside
	}
	for stage := range t.plan.Stages {
		t.steps = append(t.steps, step{do: push})
		var there []int
		for _, c := range t.plan.Commits {
			if c.Stage <= stage {
				there = append(there, c.ID)
			}
		}
		for range 3 + rng.IntN(8) {
			s := step{rev: repoplan.Tip, other: there[rng.IntN(len(there))], draw: rng.Uint64()}
			if rng.IntN(4) == 0 {
				s.rev = there[rng.IntN(len(there))]
			}
			s.do = []call{restart, head, snapshot, snapshot, snapshot, origins, origins, origins, removals, between, contains, write, together}[rng.IntN(13)]
			s.paths = t.drawPaths(rng, s.do, all, inside)
			t.steps = append(t.steps, s)
		}
		t.steps = append(t.steps, step{do: snapshot, rev: repoplan.Tip, paths: t.watched})
	}
	return t
}

// partial reports whether the server lacks files that are too large, all of them outside the watched folders.
func (t trial) partial() bool { return t.plan.Stages[0].Partial > 0 }

func (t trial) drawPaths(rng *rand.Rand, do call, all, inside []string) []string {
	switch do {
	case snapshot:
		n := rng.IntN(12)
		switch {
		case t.partial():
			return t.watched
		case n == 0:
			return nil // everything
		case n == 1:
			return []string{"docs", "not-there"}
		case n == 2:
			return t.watched[:1]
		}
		return t.watched
	case write:
		return t.watched[len(t.watched)-1:]
	case origins, removals, together:
		from := inside
		if len(from) == 0 || rng.IntN(6) == 0 {
			from = all
		}
		if len(from) == 0 {
			return nil
		}
		var paths []string
		for range 1 + rng.IntN(4) {
			paths = append(paths, from[rng.IntN(len(from))])
		}
		slices.Sort(paths)
		return slices.Compact(paths)
	}
	return nil
}

func within(path string, dirs []string) bool {
	return len(dirs) == 0 || slices.ContainsFunc(dirs, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") })
}
