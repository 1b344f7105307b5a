package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// maxRest is how many times as long as the last try took people rest after a push, at most: half of that on average. Of
// eight people one or two push at any moment then, on a slow machine as on a fast one. Without a rest they would measure
// who gets the processor, and not who loses a race.
const maxRest = 8

// crowd is people who push to the branch until they go home, each from a clone of their own.
type crowd struct {
	pushes  []atomic.Int64  // of each of them, that were taken
	taken   chan struct{}   // holds a token when one was since somebody looked
	took    atomic.Int64    // nanoseconds, of the last one
	working context.Context // ends when somebody could not work
	home    chan struct{}
	people  *errgroup.Group
}

// crowd sets people to work, who write files named after the occasion.
func (w *world) crowd(ctx context.Context, repo *gittest.Repo, occasion string) (*crowd, error) {
	var clones []string
	for range w.writers {
		dir, err := w.folder("person")
		if err != nil {
			return nil, err
		}
		if _, _, err := runGit(ctx, dir, "clone", "--quiet", "--bare", repo.URL(), "."); err != nil {
			return nil, err
		}
		clones = append(clones, dir)
	}
	c := &crowd{pushes: make([]atomic.Int64, w.writers), taken: make(chan struct{}, 1), home: make(chan struct{})}
	c.people, c.working = errgroup.WithContext(ctx)
	for person, dir := range clones {
		c.people.Go(func() error {
			defer os.RemoveAll(dir)
			return c.work(person, dir, fmt.Sprintf("notes/%s-%d.md", occasion, person))
		})
	}
	return c, nil
}

func (c *crowd) work(person int, dir, file string) error {
	for n := 0; ; n++ {
		took, err := push(c.working, dir, file, strconv.Itoa(n))
		if err != nil {
			return err
		}
		c.took.Store(int64(took))
		c.pushes[person].Add(1)
		select {
		case c.taken <- struct{}{}:
		default:
		}
		select {
		case <-c.home:
			return nil
		case <-time.After(rand.N(maxRest * took)):
		}
	}
}

// answer waits until the others have had their turn after some statuses, when before pushes were taken, and reports
// whether they had it before the context ended or one of them could not work. A bot that writes one status after the
// other without a break is quicker than people, and would race against nobody.
func (c *crowd) answer(ctx context.Context, before, statuses int) bool {
	for !answered(c.counts(), before, statuses) {
		select {
		case <-c.taken:
		case <-c.working.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
	// Right after a push all the others have to begin again. Nobody can choose to write at that moment.
	select {
	case <-time.After(rand.N(time.Duration(c.took.Load()) + 1)):
		return true
	case <-ctx.Done():
		return false
	}
}

// answered reports whether people have pushed more than before, and each of them his part of what makes one push for
// every status.
func answered(pushes []int, before, statuses int) bool {
	return total(pushes) > before && slices.Min(pushes) >= statuses/len(pushes)
}

// counts returns how many pushes of each were taken.
func (c *crowd) counts() []int {
	var counts []int
	for person := range c.pushes {
		counts = append(counts, int(c.pushes[person].Load()))
	}
	return counts
}

func total(pushes []int) int {
	sum := 0
	for _, n := range pushes {
		sum += n
	}
	return sum
}

// leave returns when everybody has gone home, with the error of the first who could not work.
func (c *crowd) leave() error {
	close(c.home)
	return c.people.Wait()
}

// committing makes a commit on top of what was fetched last, with as few processes as can be.
const committing = `printf 'commit refs/heads/mine\ncommitter Dana DBA <dana@example.com> now\ndata 4\nnote
from FETCH_HEAD^0\nM 100644 inline %s\ndata %d\n%s\n' "$FILE" "${#CONTENT}" "$CONTENT" |
git fast-import --quiet --force --date-format=now`

// push commits a file on top of the branch as it is and pushes, again and again until nobody was quicker. It returns how
// long the last try took.
func push(ctx context.Context, dir, file, content string) (time.Duration, error) {
	for {
		begun := time.Now()
		if _, _, err := runGit(ctx, dir, "fetch", "--quiet", "--no-auto-maintenance", "origin", branch); err != nil {
			return 0, err
		}
		if _, _, err := command(ctx, dir, []string{"FILE=" + file, "CONTENT=" + content}, "sh", "-c", committing); err != nil {
			return 0, err
		}
		if _, _, err := runGit(ctx, dir, "push", "--quiet", "origin", "mine:"+branch); err == nil || ctx.Err() != nil {
			return time.Since(begun), err
		}
	}
}

// inHistory counts the statuses that are not on the branch, and those that more than one commit has written.
func (w *world) inHistory(ctx context.Context, repo *gittest.Repo, name string, number int) (lost, doubled int, err error) {
	dir, err := w.folder("history")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	if _, _, err := runGit(ctx, dir, "clone", "--quiet", repo.URL(), "."); err != nil {
		return 0, 0, err
	}
	trailers, _, err := runGit(ctx, dir, "log", "--format=%(trailers:key="+idTrailer+",valueonly)")
	if err != nil {
		return 0, 0, err
	}
	commits := map[string]int{}
	for _, id := range strings.Fields(trailers) {
		commits[id]++
	}
	for n := range number {
		s := newStatus(name, n)
		content, err := os.ReadFile(filepath.Join(dir, s.path))
		if err != nil || string(content) != s.content || commits[s.id] == 0 {
			lost++
		}
		if commits[s.id] > 1 {
			doubled++
		}
	}
	return lost, doubled, nil
}
