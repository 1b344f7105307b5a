package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// branch is the one that every client follows.
const branch = "main"

// What a client can be asked to do.
const (
	doPoll   = "poll"   // ask whether the branch has moved
	doRead   = "read"   // get the branch, with nothing to start from
	doUpdate = "update" // after a read: get what has changed since
	doTrace  = "trace"  // get the branch, with nothing to start from, and find the commit that brought oldRequest
	doWrite  = "write"  // commit a status
	doRest   = "rest"   // collect garbage, as a process that waits comes to do
)

// step is what a client is asked to do.
type step struct {
	Do     string
	Times  int           // for a poll
	Limit  time.Duration // after which a poll is not repeated again, or a write is given up
	Dirs   []string      // for a read by gitrota: the folders that it watches
	Number int           // for a write: of the status
}

// result is how it went.
type result struct {
	Cost  cost
	Times int    // that a poll was made
	Tip   string // hash of the commit that was read, or found
	Files int    // whose content the client holds then; git and go-git hold none
	Tries int    // that a write took; 0 when it was given up
}

// client is something that follows a branch, in one or many processes other than this one.
type client interface {
	do(context.Context, step) (result, error)
	folder() string // whatever it keeps on disk is there
	close()
}

// gitBinary is the git binary as a script would use it: one process for everything it does.
type gitBinary struct{ url, dir string }

func (g *gitBinary) folder() string { return g.dir }
func (g *gitBinary) close()         {}

func (g *gitBinary) do(ctx context.Context, s step) (result, error) {
	clone := filepath.Join(g.dir, "clone")
	switch s.Do {
	case doPoll:
		var total cost
		begun := time.Now()
		times := 0
		for times < s.Times && (times == 0 || time.Since(begun) < s.Limit) {
			_, c, err := runGit(ctx, g.dir, "ls-remote", "--quiet", g.url, "refs/heads/"+branch)
			if err != nil {
				return result{}, err
			}
			total.CPU += c.CPU
			times++
		}
		total.Time = time.Since(begun)
		return result{Cost: total, Times: times}, nil
	case doRead:
		_, c, err := runGit(ctx, g.dir, "clone", "--quiet", "--depth=1", "--no-checkout", "--branch="+branch, g.url, clone)
		if err != nil {
			return result{}, err
		}
		tip, _, err := runGit(ctx, clone, "rev-parse", "HEAD")
		return result{Cost: c, Tip: tip}, err
	case doTrace:
		_, c, err := runGit(ctx, g.dir, "clone", "--quiet", "--bare", "--single-branch", "--branch="+branch, g.url, clone)
		if err != nil {
			return result{}, err
		}
		found, search, err := runGit(ctx, clone, "log", "-1", "--format=%H", "--", oldRequest)
		c.Time, c.CPU = c.Time+search.Time, c.CPU+search.CPU
		return result{Cost: c, Tip: found}, err
	case doUpdate:
		_, c, err := runGit(ctx, clone, "fetch", "--quiet", "--depth=1", "origin", branch)
		if err != nil {
			return result{}, err
		}
		fetched, err := os.ReadFile(filepath.Join(clone, ".git", "FETCH_HEAD"))
		tip, _, _ := strings.Cut(string(fetched), "\t")
		return result{Cost: c, Tip: tip}, err
	}
	return result{}, fmt.Errorf("git is not asked to %s", s.Do)
}

// runGit runs one git command and returns what it printed and what it cost, with all processes that it started.
func runGit(ctx context.Context, dir string, args ...string) (string, cost, error) {
	return command(ctx, dir, nil, "git", args...)
}

func command(ctx context.Context, dir string, env []string, name string, args ...string) (string, cost, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(gitEnvironment(dir), env...)
	// All that the command has started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var printed, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &problems
	begun := time.Now()
	err := cmd.Run()
	if err != nil {
		return "", cost{}, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(problems.String()))
	}
	spent := cost{Time: time.Since(begun), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	return strings.TrimSpace(printed.String()), spent, nil
}

// gitEnvironment keeps this machine's configuration away. A git that tidies up does so at once and not behind one's
// back, so that it is measured too.
func gitEnvironment(home string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=gc.autoDetach", "GIT_CONFIG_VALUE_0=false",
		"GIT_AUTHOR_NAME=Dana DBA", "GIT_AUTHOR_EMAIL=dana@example.com",
		"GIT_COMMITTER_NAME=Dana DBA", "GIT_COMMITTER_EMAIL=dana@example.com",
	}
}
