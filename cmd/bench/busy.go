package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// pause is how long each of the others waits between two pushes, at most. Eight of them push some three times a second
// then. Without a pause they would measure who gets the processor, and not who loses a race.
const pause = 5 * time.Second

// crowd is people who push to the branch until they go home, each from a clone of their own.
type crowd struct {
	pushes atomic.Int64 // that were taken
	home   chan struct{}
	people errgroup.Group
}

// crowd sets people to work, who write files named after the occasion.
func (w *world) crowd(ctx context.Context, repo *gittest.Repo, occasion string) (*crowd, error) {
	var clones []string
	for range w.writers {
		dir, err := w.folder("person")
		if err != nil {
			return nil, err
		}
		if _, _, err := runGit(ctx, dir, "clone", "--quiet", repo.URL(), "."); err != nil {
			return nil, err
		}
		clones = append(clones, dir)
	}
	c := &crowd{home: make(chan struct{})}
	for person, dir := range clones {
		c.people.Go(func() error {
			defer os.RemoveAll(dir)
			return c.work(ctx, dir, fmt.Sprintf("notes/%s-%d.md", occasion, person))
		})
	}
	return c, nil
}

func (c *crowd) work(ctx context.Context, dir, file string) error {
	for n := 0; ; n++ {
		select {
		case <-c.home:
			return nil
		case <-time.After(rand.N(pause)):
		}
		if err := push(ctx, dir, file, strconv.Itoa(n)); err != nil {
			return err
		}
		c.pushes.Add(1)
	}
}

// leave returns when everybody has gone home, with the error of the first who could not work.
func (c *crowd) leave() error {
	close(c.home)
	return c.people.Wait()
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
