// Package differential compares what package gitsource reads and writes with what the git binary says, on repositories
// that are drawn at random.
package differential

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
)

var (
	repositories = flag.Int("repositories", 200, "how many random repositories to read")
	seed         = flag.Uint64("seed", 1, "the seed of the first one")
	patience     = flag.Duration("patience", 20*time.Second, "for how long a failing repository is made smaller")
	workers      = flag.Int("workers", 3, "how many are read at the same time")
)

// tally is what many trials came to.
type tally struct {
	mu                                  sync.Mutex
	repositories, differences, calls    int
	fallbacks                           uint64
	overSSH, older, unfiltered, inWhole int
	began                               time.Time
}

func (t *tally) add(of trial, o outcome, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.repositories++
	t.calls += o.calls
	t.fallbacks += o.fallbacks
	for count, is := range map[*int]bool{
		&t.differences: err != nil, &t.overSSH: of.plan.Server.SSH, &t.older: of.plan.Server.Older,
		&t.unfiltered: !of.plan.Filters(), &t.inWhole: of.reading == gitsource.ReadPlainly,
	} {
		if is {
			*count++
		}
	}
}

// String is the one line that make fuzz-git prints.
func (t *tally) String() string {
	return fmt.Sprintf("fuzz-git: repositories=%d differences=%d fallbacks=%d calls=%d (over SSH %d, older protocol %d, no filters %d, "+
		"read as a whole %d; %s)", t.repositories, t.differences, t.fallbacks, t.calls, t.overSSH, t.older, t.unfiltered, t.inWhole,
		time.Since(t.began).Round(time.Second))
}

// What is read and written agrees with git, whatever the repository, its storage, the server and the wire.
func TestRandomRepositories(t *testing.T) {
	s := startServers(t)
	sum := &tally{began: time.Now()}
	seeds := make(chan uint64)
	var all sync.WaitGroup
	for range *workers {
		all.Go(func() {
			for seed := range seeds {
				trial := draw(seed)
				got, err := s.run(t.Context(), trial, fmt.Sprintf("r%d", seed))
				sum.add(trial, got, err)
				var found *difference
				if errors.As(err, &found) {
					trial, err = s.shrink(t.Context(), trial, found, *patience)
				}
				if err != nil {
					t.Errorf("seed %d: %.3000v\n%.6000v", seed, err, trial)
				}
			}
		})
	}
	for n := range uint64(*repositories) {
		seeds <- *seed + n
	}
	close(seeds)
	all.Wait()
	t.Log(sum)
}

// Where the two do not agree, that is found, and what is left of the repository shows why.
func TestADifferenceIsFoundAndMadeSmall(t *testing.T) {
	s := startServers(t)
	found := 0
	for seed := uint64(1); found < 3; seed++ {
		trial := draw(seed)
		trial.limit = trial.maxSize / 2 // files are too large for the agent of which git says that they are not
		_, err := s.run(t.Context(), trial, fmt.Sprintf("wrong%d", seed))
		var differs *difference
		if !errors.As(err, &differs) || !strings.HasPrefix(differs.about, "the file ") {
			continue
		}
		found++
		small, err := s.shrink(t.Context(), trial, differs, *patience)
		require.ErrorContains(t, err, "split it")
		require.Len(t, small.plan.Commits, 1, small)
		require.LessOrEqual(t, len(small.plan.Commits[0].Files), 2, small)
		require.Len(t, small.steps, 2, small)
	}
}

// While a trial shrinks, it keeps failing for the same reason, whatever becomes of names, hashes and numbers.
func TestWhatIsMadeSmallFailsForTheSameReason(t *testing.T) {
	kind := func(about, doing, failure string) string {
		return (&difference{about: about, got: errors.New(doing + " (main): the server refused the commit; the server says: " + failure)}).kind()
	}
	const (
		asked  = "looking for the commit that brought a/b.yaml of http://host/r1.git"
		fewer  = "looking for the commit that brought c of http://host/shrink-1-2.git"
		lacks  = `"could not fetch be00fe6d0fb0f05aaf57f34963e2f9f226c459fc from promisor remote"`
		others = `"could not fetch 97f8add2d888f4bf59362f8839deefa52f32cbea from promisor remote"`
		tips   = `"upload-pack: not our ref"`
	)
	require.Equal(t, kind("Origins", asked, lacks), kind("Origins", fewer, others))
	require.NotEqual(t, kind("Origins", asked, lacks), kind("Origins", asked, tips))
	require.NotEqual(t, kind("Origins", asked, lacks), kind("Snapshot", asked, lacks))
	require.Equal(t, (&difference{about: `Origins of "a"`, got: "1"}).kind(), (&difference{about: `Origins of "b/c"`, got: "2"}).kind())
}
