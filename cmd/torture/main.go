//go:debug x509negativeserial=1

// Command torture looks for what tests cannot foresee: it runs real agents on a real control plane, with SQL Server
// stand-ins of every kind that gitrota serves, disturbs them at random, and has an oracle of its own say whether a promise
// was broken: `make torture`.
//
// What happens in an episode is made from a seed: which databases there are, who asks for which rotations, and what goes
// wrong when, as agents that are killed or stopped for a while, two of them at once, an API server, an etcd or a Git server
// that is away, Secrets that are deleted or overwritten, pods and servers that go, force-pushes (plan.go). Then everything
// heals and has to come to rest by itself.
//
// The oracle shares no code with what rotates. It reads the stand-ins' own files, every version of every Secret from the
// API server, and Git with the git binary (facts.go, vault.go, history.go). While an episode goes on, whatever password a
// server accepts has to be in the keeper. At its end (oracle.go): the auth Secrets open the servers, nothing is staged or
// paused, every request has one end and no end was ever rewritten, no rotation ran twice or cost more failed logins than
// promised, no password is found in logs, Git or events, and `gitrota audit verify` proves the history.
//
// A violation is printed with its seed, and the episode's logs and states are kept in a folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

func main() {
	episodes := flag.Int("episodes", 10, "how many")
	seed := flag.Uint64("seed", 1, "of the first one; the others follow")
	workers := flag.Int("workers", 3, "how many episodes at once")
	folder := flag.String("folder", ".build/torture-violations", "where violated episodes leave what is known of them")
	agent := flag.String("agent", ".build/gitrota", "the agent's binary")
	flag.Parse()
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // who kills an API server need not hear of it
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal is not caught any more
	total, err := torture(ctx, *agent, *folder, *seed, *episodes, *workers)
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
	}
	fmt.Println(total)
	if err != nil || total.violations > 0 {
		os.Exit(1)
	}
}

// tally is the outcome of many episodes.
type tally struct{ episodes, violations, rotations, kills, stops, samples int }

func (t tally) String() string {
	return fmt.Sprintf("torture: episodes=%d violations=%d rotations=%d kills=%d stops=%d samples=%d",
		t.episodes, t.violations, t.rotations, t.kills, t.stops, t.samples)
}

func (t *tally) add(e *episode, violations []string, f facts) {
	t.episodes++
	if len(violations) > 0 {
		t.violations++
	}
	for _, d := range f.databases {
		t.rotations += len(f.rotations(d))
	}
	for _, s := range e.plan.Steps {
		switch s.Do {
		case killAgent, killAPI, killEtcd:
			t.kills++
		case stopAgent, stopAPI, stopEtcd:
			t.stops++
		}
	}
	t.samples += e.vault.samples
}

// torture plays the episodes of so many seeds, some of them at once in one cluster.
func torture(ctx context.Context, agent, folder string, seed uint64, episodes, workers int) (total tally, err error) {
	if folder, err = filepath.Abs(folder); err != nil {
		return total, err
	}
	if agent, err = filepath.Abs(agent); err != nil {
		return total, err
	}
	c, err := startCluster(ctx, agent, folder)
	if err != nil {
		return total, err
	}
	defer func() { err = errors.Join(err, c.Down()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began, seeds := time.Now(), make(chan uint64)
	var mu sync.Mutex
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for seed := range seeds {
				e, violations, f, failed := playSeed(ctx, c, seed)
				mu.Lock()
				if failed != nil {
					err = errors.Join(err, failed)
					cancel()
				} else {
					total.add(e, violations, f)
					if len(violations) > 0 {
						fmt.Print(e.report(violations))
					}
					fmt.Printf("episode %d of %d, seed %d: %s; %d violated so far\n",
						total.episodes, episodes, seed, time.Since(began).Round(time.Second), total.violations)
				}
				mu.Unlock()
			}
		})
	}
	for n := range episodes {
		select {
		case seeds <- seed + uint64(n):
		case <-ctx.Done():
		}
	}
	close(seeds)
	running.Wait()
	return total, err
}

// playSeed plays one episode, and leaves its folder behind where something is wrong.
func playSeed(ctx context.Context, c *cluster, seed uint64) (e *episode, violations []string, f facts, err error) {
	if e, err = newEpisode(ctx, c, newPlan(seed)); err != nil {
		return e, nil, f, err
	}
	violations, f, err = e.play(ctx)
	if err == nil && len(violations) > 0 {
		err = e.keep(violations, f)
	}
	err = errors.Join(err, e.close())
	if err == nil && len(violations) == 0 {
		err = os.RemoveAll(e.folder)
	}
	return e, violations, f, err
}
