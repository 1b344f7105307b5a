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
	"sync"
	"sync/atomic"
	"time"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// pause is how long each of the others waits between two pushes, at most. They are people and scripts who are busy,
// not an attack: with none, whoever is slower than they would never get a word in.
const pause = 2 * time.Second

// bot writes one status, or gives up after a while, and returns in how many tries: 0 when it has given up.
type bot func(ctx context.Context, number int, limit time.Duration) (tries int, err error)

// written is what became of the statuses of one bot.
type written struct {
	done          int
	times         []time.Duration
	tries         int
	others        int64 // pushes of the others meanwhile
	lost, doubled int
}

// writes lets gitrota, and then a script, write statuses to a branch that others push to all the time, and counts in
// the history what has become of them.
func writes(ctx context.Context, w *world) ([]section, error) {
	repo := w.server.NewRepo("busy")
	repo.Import(gittest.Batch{Message: "begin", Files: secrets(10, w.perFolder)})
	repo.Repack()
	clients, err := w.three(repo)
	if err != nil {
		return nil, err
	}
	defer clients.close()
	byGitrota := func(ctx context.Context, number int, limit time.Duration) (int, error) {
		r, err := clients[ofGitrota].do(ctx, step{Do: doWrite, Number: number, Limit: limit})
		return r.Tries, err
	}
	byScript, err := w.script(ctx, w.url(repo))
	if err != nil {
		return nil, err
	}
	s := section{title: fmt.Sprintf("%d statuses written, %d others push", w.writes, w.writers)}
	took := row{name: "time for each", unit: asTime}
	slowest := row{name: "time, slowest", unit: asTime}
	tries := row{name: "tries for each", unit: asCount}
	others := row{name: "others' pushes meanwhile", unit: asCount}
	lost := row{name: "lost", unit: asCount}
	doubled := row{name: "doubled", unit: asCount}
	for column, write := range [3]bot{ofGitrota: byGitrota, ofGit: byScript} {
		if write == nil {
			continue
		}
		did, err := w.written(ctx, repo, columns[column], write)
		if err != nil {
			return nil, err
		}
		if did.done == 0 {
			return nil, fmt.Errorf("%s wrote nothing in %s", columns[column], w.writing)
		}
		if did.done < w.writes {
			s.notes = append(s.notes, fmt.Sprintf("%s has written %d in %s, and was stopped", columns[column], did.done, w.writing))
		}
		took.values[column] = float64(median(did.times, func(d time.Duration) time.Duration { return d }))
		slowest.values[column] = float64(slices.Max(did.times))
		tries.values[column] = float64(did.tries) / float64(did.done)
		others.values[column] = float64(did.others) / float64(did.done)
		lost.values[column], doubled.values[column] = float64(did.lost), float64(did.doubled)
	}
	for _, r := range []*row{&took, &slowest, &tries, &others, &lost, &doubled} {
		r.values[ofGoGit] = notMeasured
	}
	s.rows = []row{took, slowest, tries, others, lost.atMost(0, "0"), doubled.atMost(0, "0")}
	s.notes = append(s.notes, "git: fetch, commit, push in a loop until the push is taken")
	return []section{s}, nil
}

// written lets a bot write among the others.
func (w *world) written(ctx context.Context, repo *gittest.Repo, name string, write bot) (did written, err error) {
	w.progress("%s writes %d statuses while %d others push", name, w.writes, w.writers)
	others, pushes, stop, err := w.others(ctx, repo, name)
	if err != nil {
		return did, err
	}
	begun := time.Now()
	for number := range w.writes {
		from := time.Now()
		tries, err := write(ctx, number, w.writing-time.Since(begun))
		if err != nil {
			stop()
			return did, err
		}
		if tries == 0 {
			break
		}
		did.times = append(did.times, time.Since(from))
		did.tries += tries
		did.done++
	}
	did.others = pushes.Load()
	stop()
	if err := others(); err != nil {
		return did, err
	}
	did.lost, did.doubled, err = w.inHistory(ctx, repo, name, did.done)
	return did, err
}

// others are people who push to the branch until they are told to stop, each from a clone of their own. wait returns
// when they have, with the first error.
func (w *world) others(ctx context.Context, repo *gittest.Repo, phase string) (wait func() error, pushes *atomic.Int64, stop func(), err error) {
	done := make(chan struct{})
	var group sync.WaitGroup
	failures := make(chan error, w.writers)
	pushes = &atomic.Int64{}
	for i := range w.writers {
		dir, err := w.folder("person")
		if err != nil {
			return nil, nil, nil, err
		}
		if _, _, err := runGit(ctx, dir, "clone", "--quiet", repo.URL(), "."); err != nil {
			return nil, nil, nil, err
		}
		group.Go(func() {
			defer os.RemoveAll(dir)
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				case <-time.After(rand.N(pause)):
				}
				if err := push(ctx, dir, fmt.Sprintf("notes/%s-%d.md", phase, i), strconv.Itoa(n)); err != nil {
					failures <- err
					return
				}
				pushes.Add(1)
			}
		})
	}
	wait = func() error {
		group.Wait()
		close(failures)
		return <-failures
	}
	return wait, pushes, sync.OnceFunc(func() { close(done) }), nil
}

// push commits a file and pushes, again and again until nobody was quicker.
func push(ctx context.Context, dir, name, content string) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(content+"\n"), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"add", name}, {"commit", "--quiet", "-m", "note " + content}} {
		if _, _, err := runGit(ctx, dir, args...); err != nil {
			return err
		}
	}
	for {
		if _, _, err := runGit(ctx, dir, "push", "--quiet", "origin", "HEAD:"+branch); err == nil {
			return nil
		}
		if _, _, err := runGit(ctx, dir, "pull", "--quiet", "--rebase", "origin", branch); err != nil {
			return err
		}
	}
}

// The script of somebody who needs no agent. It prints its tries.
const script = `
tries=0
while :; do
	tries=$((tries + 1))
	git fetch --quiet origin main && git reset --quiet --hard FETCH_HEAD &&
		mkdir -p "$(dirname "$FILE")" && printf '%s' "$CONTENT" >"$FILE" && git add "$FILE" &&
		git commit --quiet -m "$MESSAGE" && git push --quiet origin HEAD:main && break
done 2>/dev/null
echo $tries`

func (w *world) script(ctx context.Context, url string) (bot, error) {
	dir, err := w.folder("script")
	if err != nil {
		return nil, err
	}
	if _, _, err := runGit(ctx, dir, "clone", "--quiet", url, "."); err != nil {
		return nil, err
	}
	return func(ctx context.Context, number int, limit time.Duration) (int, error) {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		s := newStatus("git", number)
		printed, _, err := command(limited, dir, []string{
			"FILE=" + s.path, "CONTENT=" + s.content, "MESSAGE=" + s.subject + "\n\n" + idTrailer + ": " + s.id,
		}, "sh", "-c", script)
		switch {
		case err != nil && limited.Err() != nil:
			return 0, ctx.Err()
		case err != nil:
			return 0, err
		}
		return strconv.Atoi(printed)
	}, nil
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
