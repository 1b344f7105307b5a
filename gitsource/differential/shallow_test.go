package differential

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest/repoplan"
)

// Where a server's own history is cut off, what was brought before has come from there, however far back that is, and
// whatever else leads to the commits behind it.
func TestHistoryBeginsWhereTheServersDoes(t *testing.T) {
	s := startServers(t)
	for _, filters := range []bool{true, false} {
		for _, older := range []bool{false, true} {
			for _, reading := range []gitsource.Reading{gitsource.ReadPartially, gitsource.ReadPlainly} {
				for _, around := range []bool{false, true} {
					for _, level := range []int{2, 3, 10, 11} {
						name := fmt.Sprintf("filters %t older %t read %s around %t level %d", filters, older, ways[reading], around, level)
						t.Run(name, func(t *testing.T) {
							plan := cutAt(level, around)
							plan.Server.Older = older
							if filters {
								plan.Config = []string{"uploadpack.allowFilter=true"}
							}
							_, err := s.run(t.Context(), trial{
								plan: plan, reading: reading, maxSize: 1000, limit: 1000, watched: []string{"rotations"},
								steps: []step{
									{do: push},
									{do: snapshot, rev: repoplan.Tip, paths: []string{"rotations"}},
									{do: origins, rev: repoplan.Tip, paths: []string{"rotations/a.yaml"}},
								},
							}, "cut")
							require.NoError(t, err)
						})
					}
				}
			}
		}
	}
}

// cutAt returns a line of commits with a file that the first one brought, and the server's history cut off at a level,
// of which the tip is the first. Where something leads around the cut, the tip is a merge with the commit behind it.
func cutAt(level int, around bool) *repoplan.Plan {
	p := &repoplan.Plan{}
	last := level + 2
	for id := range last + 1 {
		c := repoplan.Commit{ID: id, At: 1_600_000_000 + int64(id), Zone: "+0000", Author: "Dana DBA <dana@example.com>", Message: "a change"}
		if id > 0 {
			c.Parents = []int{id - 1}
		}
		file := repoplan.File{Path: "docs/notes", Mode: repoplan.Regular, Content: repoplan.Content{Literal: fmt.Sprint(id)}}
		if id == 0 {
			file.Path = "rotations/a.yaml"
		}
		c.Files = []repoplan.File{file}
		p.Commits = append(p.Commits, c)
	}
	if around {
		p.Commits[last].Parents = append(p.Commits[last].Parents, last-level)
	}
	p.Stages = []repoplan.Stage{{Tip: last, Shallow: []int{last + 1 - level}}}
	return p
}
