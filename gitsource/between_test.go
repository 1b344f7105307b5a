package gitsource

import (
	"fmt"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/require"
)

// Who pushes twice within a second, or has a clock that is wrong, is told of in the order in which it happened.
func TestChildrenAreListedBeforeTheirParents(t *testing.T) {
	for name, clock := range map[string]func(int) int{
		"in the same second":     func(int) int { return 1_600_000_000 },
		"by a clock that is set": func(n int) int { return 1_600_000_000 - 60*n },
	} {
		t.Run(name, func(t *testing.T) {
			objects := newObjects(nil)
			commit := func(n int, parents ...plumbing.Hash) plumbing.Hash {
				raw := "tree " + emptyTree.String() + "\n"
				for _, parent := range parents {
					raw += "parent " + parent.String() + "\n"
				}
				person := fmt.Sprintf("Dana <dana@example.com> %d +0000", clock(n))
				return objects.add(plumbing.CommitObject, []byte(raw+"author "+person+"\ncommitter "+person+fmt.Sprintf("\n\nchange %d\n", n)))
			}
			since := commit(0)
			tip, want := since, []string{}
			for n := 1; n <= 20; n++ {
				tip = commit(n, tip)
				want = append([]string{fmt.Sprint("change ", n)}, want...)
			}
			list, is, err := stored{store: objects}.between(tip, since)
			require.NoError(t, err)
			require.True(t, is)
			var got []string
			for _, c := range list {
				got = append(got, c.Subject)
			}
			require.Equal(t, want, got)
		})
	}
}
