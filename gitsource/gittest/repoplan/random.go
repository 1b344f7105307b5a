package repoplan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// Options says what a random repository has to have.
type Options struct {
	Watched []string // folders in which most changes are made
	MaxSize int      // in bytes: some files are larger
}

// Random draws a repository.
func Random(rng *rand.Rand, o Options) *Plan {
	d := &drawing{rng: rng, o: o, plan: &Plan{}, trees: map[int]map[string]File{}, now: 1_600_000_000 + rng.Int64N(1<<26)}
	d.shape()
	for stage := range d.stages {
		d.stage(stage)
	}
	d.serve()
	return d.plan
}

// drawing is a plan in the making.
type drawing struct {
	rng  *rand.Rand
	o    Options
	plan *Plan

	stages  int
	commits int // in each stage, at most
	beside  int // of 100 changes, how many are outside the watched folders
	busy    int // files that a change touches, at most
	folders []string
	names   []string

	trees map[int]map[string]File // what is in each commit
	there []int                   // commits that the server has not forgotten
	heads []int                   // commits that the next ones may grow out of
	now   int64
	fresh uint64 // the seed of the next content

	partial bool // the server lacks files that are too large to be read
}

func (d *drawing) chance(percent int) bool { return d.rng.IntN(100) < percent }

func pick[T any](d *drawing, from []T) T { return from[d.rng.IntN(len(from))] }

// The folders beside the watched ones, some of which are close by in Git's order, and the names of files.
var (
	folders = []string{"docs", "src/main", "a", "zz", "charts/db/templates", "very/deep/down/the/tree", "r"}
	names   = []string{"a.yaml", "b.yaml", "c.yaml", "README.md", "a", "a-b", "a.b", "a0", "values.yaml", "A.YAML", "index"}
	odd     = []string{"with space.yaml", "quote\".yaml", "tab\t.yaml", "line\nbreak.yaml", "back\\slash.yaml", "ünï cödé.yaml",
		"\xff\xfe.yaml", "-dash", "*.yaml", ":(top)x", "a~", "\x01", " ", "日本語", "%2e", "#", strings.Repeat("long", 50), "\u202e.yaml"}
)

// shape decides how large the repository becomes and what is in it.
func (d *drawing) shape() {
	d.stages = 1 + d.rng.IntN(3)
	d.beside = pick(d, []int{0, 20, 50, 80, 95})
	switch n := d.rng.IntN(100); {
	case n < 3: // a long history
		d.stages, d.commits, d.busy = 1+d.rng.IntN(2), 100+d.rng.IntN(1200), 2
	case n < 8: // many files
		d.commits, d.busy = 1+d.rng.IntN(8), 20+d.rng.IntN(400)
	case n < 50:
		d.commits, d.busy = 1+d.rng.IntN(6), 1+d.rng.IntN(8)
	default:
		d.commits, d.busy = 1+d.rng.IntN(30), 1+d.rng.IntN(4)
	}
	if d.chance(3) { // which has no way to serve what comes later and is too large for itself
		d.partial, d.stages = true, 1
	}
	for _, watched := range d.o.Watched {
		d.folders = append(d.folders, watched+"-old", watched+".d", watched+"0", parent(watched))
	}
	d.folders = append(d.folders, "")
	d.folders = append(d.folders, folders...)
	d.rng.Shuffle(len(d.folders), func(i, j int) { d.folders[i], d.folders[j] = d.folders[j], d.folders[i] })
	d.folders = d.folders[:1+d.rng.IntN(len(d.folders))]
	d.names = slices.Clone(names)
	if d.chance(30) {
		d.names = append(d.names, odd...)
	}
	if d.busy > 20 {
		for i := range d.busy {
			d.names = append(d.names, fmt.Sprintf("file-%d.yaml", i))
		}
	}
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}

// stage draws the commits of a push, and where the branch is then.
func (d *drawing) stage(number int) {
	stage := Stage{}
	count := 1 + d.rng.IntN(d.commits)
	if number > 0 && d.chance(15) {
		count = 0 // only the branch moves
	}
	onTop := number > 0 && !d.plan.Stages[number-1].Deleted && d.chance(70)
	for i := range count {
		switch {
		case i == 0 && onTop:
			d.add(number, Tip)
		case len(d.heads) == 0 || d.chance(2):
			d.add(number) // a root
		case len(d.heads) > 1 && d.chance(12):
			d.merge(number)
		case d.chance(12):
			d.add(number, pick(d, d.there)) // somewhere
		default:
			d.add(number, d.heads[0])
		}
		if d.chance(10) && len(d.heads) > 1 {
			i := d.rng.IntN(len(d.heads))
			d.heads[0], d.heads[i] = d.heads[i], d.heads[0]
		}
	}
	stage.Tip = d.heads[0]
	if d.chance(8) || count == 0 {
		stage.Tip = pick(d, d.there) // by force, as a rule
	}
	stage.Deleted = d.chance(2)
	d.heads = append([]int{stage.Tip}, slices.DeleteFunc(d.heads, func(id int) bool { return id == stage.Tip })...)
	d.refs(&stage)
	d.storage(&stage)
	d.plan.Stages = append(d.plan.Stages, stage)
	if slices.ContainsFunc(stage.Maintenance, prunes) || len(stage.Shallow) > 0 {
		there := d.reachable()
		d.there = slices.DeleteFunc(d.there, func(id int) bool { return !there[id] })
		d.heads = slices.DeleteFunc(d.heads, func(id int) bool { return !there[id] })
	}
}

func (d *drawing) refs(stage *Stage) {
	for i := range d.rng.IntN(4) * d.rng.IntN(2) {
		name := pick(d, []string{"refs/heads/side-%d", "refs/tags/v%d", "refs/pull/%d/head", "refs/heads/mai%d", "refs/heads/main-%d"})
		stage.Refs = append(stage.Refs, Ref{fmt.Sprintf(name, 10*len(d.plan.Stages)+i), pick(d, d.there), d.chance(50)})
	}
}

// add draws a commit on top of others. It takes the place of its parents among the heads, except now and then.
func (d *drawing) add(stage int, parents ...int) {
	tree := map[string]File{}
	known := parents
	if len(parents) > 0 {
		if parents[0] == Tip {
			known = append([]int{d.plan.Stages[stage-1].Tip}, parents[1:]...)
		}
		tree = maps.Clone(d.trees[known[0]])
	}
	c := d.commit(stage, parents)
	if !d.chance(5) {
		d.change(tree)
	}
	d.finish(c, known, tree)
}

// merge draws a merge of two heads or more: what the others have on top, or the tree of one of them as it is, and now
// and then something that none of them has.
func (d *drawing) merge(stage int) {
	parents := slices.Clone(d.heads)
	d.rng.Shuffle(len(parents), func(i, j int) { parents[i], parents[j] = parents[j], parents[i] })
	if d.chance(75) {
		parents = parents[:2]
	}
	parents = parents[:min(len(parents), 12)]
	tree := maps.Clone(d.trees[parents[0]])
	switch d.rng.IntN(6) {
	case 0: // ours
	case 1:
		tree = maps.Clone(d.trees[pick(d, parents)])
	default:
		for _, other := range parents[1:] {
			for _, path := range slices.Sorted(maps.Keys(d.trees[other])) {
				if _, there := tree[path]; !there || d.chance(60) {
					put(tree, d.trees[other][path])
				}
			}
		}
	}
	if d.chance(15) {
		d.change(tree)
	}
	d.finish(d.commit(stage, parents), parents, tree)
}

func (d *drawing) commit(stage int, parents []int) Commit {
	d.now += pick(d, []int64{0, 1, 1, 60, 3600, 86400})
	at := d.now
	if d.chance(5) {
		at += d.rng.Int64N(200_000) - 100_000 // a clock that is wrong
	}
	c := Commit{ID: len(d.plan.Commits), Stage: stage, Parents: parents, At: at, Zone: "+0000", Author: "Dana DBA <dana@example.com>"}
	c.Message = fmt.Sprintf("change %d", c.ID)
	if d.chance(20) {
		c.Zone = pick(d, []string{"+0530", "-0800", "+1345", "-0030"})
		c.Message += pick(d, []string{"\n", "\n\nwith a body\n\nApproves: a@1\n", "\n\ntree 0\nparent 1\n", "\r\n", " ünï", "\nsecond line"})
		c.Author = pick(d, []string{"Ünï Cödé <u@example.com>", "<nobody@example.com>", "A <>", "a.b, Jr. <x y@z>", "\xe9t\xe9 <l@example.com>"})
	}
	if d.chance(3) {
		c.Encoding, c.Message = "ISO-8859-1", "\xe9t\xe9"
	}
	return c
}

// finish writes down what makes the tree of the first parent this one.
func (d *drawing) finish(c Commit, parents []int, tree map[string]File) {
	if d.partial { // git could not serve a folder of whose files it lacks some
		for path, f := range tree {
			if d.watched(path) {
				f.Content.Size = min(f.Content.Size, d.o.MaxSize)
				tree[path] = f
			}
		}
	}
	was := map[string]File{}
	if len(parents) > 0 {
		was = d.trees[parents[0]]
	}
	for _, path := range slices.Sorted(maps.Keys(was)) {
		if _, there := tree[path]; !there {
			c.Files = append(c.Files, File{Path: path})
		}
	}
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		if was[path] != tree[path] {
			c.Files = append(c.Files, tree[path])
		}
	}
	d.trees[c.ID] = tree
	d.plan.Commits = append(d.plan.Commits, c)
	d.there = append(d.there, c.ID)
	if !d.chance(15) { // or it is a fork, and both go on
		d.heads = slices.DeleteFunc(d.heads, func(id int) bool { return slices.Contains(parents, id) })
	}
	d.heads = append([]int{c.ID}, d.heads...)
}
