package repoplan

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var options = Options{Watched: []string{"rotations"}, MaxSize: 2000}

func random(seed uint64) *Plan { return Random(rand.New(rand.NewPCG(seed, 0)), options) }

func TestASeedIsAlwaysTheSameRepository(t *testing.T) {
	for seed := range uint64(5) {
		var tips []string
		for _, name := range []string{"one.git", "another.git"} {
			plan := random(seed)
			built, err := plan.Init(filepath.Join(t.TempDir(), name))
			require.NoError(t, err)
			for range plan.Stages {
				require.NoError(t, built.Push(), plan)
			}
			tip, err := built.Git("for-each-ref")
			require.NoError(t, err)
			require.NotEmpty(t, tip, plan)
			tips = append(tips, tip)
		}
		require.Equal(t, tips[0], tips[1])
	}
}

// What git itself cannot serve says nothing about who reads it.
func TestWhatIsDrawnCanBeServedAndStaysSo(t *testing.T) {
	partial, missing := 0, 0
	for seed := range uint64(1000) {
		plan := random(seed)
		require.True(t, plan.CanBeServed(), plan)
		if plan.Stages[0].Partial == 0 {
			continue
		}
		partial++
		for smaller := range plan.Smaller() {
			require.True(t, smaller.CanBeServed(), smaller)
		}
		built, err := plan.Init(filepath.Join(t.TempDir(), fmt.Sprintf("%d.git", seed)))
		require.NoError(t, err)
		require.NoError(t, built.Push(), plan)
		lacks, err := built.Git("rev-list", "--objects", "--all", "--missing=print")
		require.NoError(t, err)
		missing += strings.Count(lacks, "?")
	}
	require.NotZero(t, partial)
	require.NotZero(t, missing, "no partial clone is partial")
}

// What is never drawn is not tested by whoever draws.
func TestEverythingIsDrawn(t *testing.T) {
	seen := map[string]int{}
	note := func(what string, is bool) {
		if is {
			seen[what]++
		} else {
			seen[what] += 0
		}
	}
	for seed := range uint64(400) {
		p := random(seed)
		note("SSH", p.Server.SSH)
		note("an older protocol", p.Server.Older)
		note("only tips by name", p.Server.TipOnly)
		note("no filters", !p.Filters())
		note("loose objects", p.Loose)
		note("a long history", len(p.Commits) > 300)
		for _, stage := range p.Stages {
			note("a deleted branch", stage.Deleted)
			note("alternates", stage.Alternates)
			note("a partial clone", stage.Partial > 0)
			note("a shallow repository", len(stage.Shallow) > 0)
			note("tags", slices.ContainsFunc(stage.Refs, func(r Ref) bool { return r.Annotated && strings.HasPrefix(r.Name, "refs/tags/") }))
			for _, words := range []string{"--write-bitmap-index", "multi-pack-index", "commit-graph", "--depth=250", "gc ", "pack-refs"} {
				note(words, slices.ContainsFunc(stage.Maintenance, func(line string) bool { return strings.Contains(line, words) }))
			}
		}
		roots := 0
		for _, c := range p.Commits {
			if len(c.Parents) == 0 {
				roots++
			}
			note("a push on top of the tip", len(c.Parents) > 0 && c.Parents[0] == Tip)
			note("a merge", len(c.Parents) == 2)
			note("an octopus", len(c.Parents) > 3)
			note("a wide change", len(c.Files) > 100)
			note("no change", len(c.Files) == 0)
			for _, f := range c.Files {
				note("mode "+f.Mode, true)
				note("an empty file", f.Mode == Regular && f.Content.Literal == "" && f.Content.Size == 0)
				note("a file that is too large", f.Content.Size > options.MaxSize)
				note("a name that is not UTF-8", strings.Contains(f.Path, "\xff"))
				note("an edited file", f.Content.Edit > 0)
			}
		}
		note("two roots", roots > 1)
	}
	for what, times := range seen {
		require.NotZero(t, times, what)
	}
}

func TestAPlanThatFailsBecomesAsSmallAsItCan(t *testing.T) {
	// What fails is a plan in which some merge and some link are left.
	fails := func(p *Plan) bool {
		merge, link := false, false
		for _, c := range p.Commits {
			merge = merge || len(c.Parents) > 1
			link = link || slices.ContainsFunc(c.Files, func(f File) bool { return f.Mode == Link })
		}
		return merge && link
	}
	shrunk := 0
	for seed := range uint64(60) {
		plan := random(seed)
		if !fails(plan) {
			continue
		}
		before := plan.String()
		for again := true; again; {
			again = false
			for smaller := range plan.Smaller() {
				if smaller.String() != plan.String() && fails(smaller) {
					plan, again = smaller, true
					break
				}
			}
		}
		require.LessOrEqual(t, len(plan.Commits), 4, plan) // two roots, their merge, and one with the link
		require.Len(t, plan.Stages, 1)
		require.Equal(t, before, random(seed).String())
		shrunk++
	}
	require.NotZero(t, shrunk)
}
