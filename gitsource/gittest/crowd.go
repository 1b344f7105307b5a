package gittest

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
)

// Crowd is people who push to one branch all the time, each with git in a clone of their own, and try again when they
// lose a race against one another or anybody else.
type Crowd struct {
	leave chan struct{}
	all   sync.WaitGroup

	mu     sync.Mutex
	pushed []string
}

// NewCrowd starts n people. Each makes one commit after the other, which changes no file, with the subject "person
// <who>, <count>".
func (r *Repo) NewCrowd(n int) *Crowd {
	c := &Crowd{leave: make(chan struct{})}
	for who := range n {
		clone := r.server.folder(fmt.Sprintf("person-%d", who))
		r.server.git("", nil, "clone", "--quiet", "--branch", r.Branch, r.bare, clone)
		c.all.Go(func() { c.work(r, clone, who) })
	}
	return c
}

func (c *Crowd) work(r *Repo, clone string, who int) {
	for count := 0; ; {
		select {
		case <-c.leave:
			return
		default:
		}
		subject := fmt.Sprintf("person %d, %d", who, count)
		if !c.push(r, clone, subject) {
			continue
		}
		c.mu.Lock()
		c.pushed = append(c.pushed, subject)
		c.mu.Unlock()
		count++
	}
}

// push commits on top of the branch as it is, and reports whether that got in. It takes as few processes as can be, so
// that the branch moves as often as can be.
func (c *Crowd) push(r *Repo, clone, subject string) bool {
	git := func(args ...string) (string, bool) {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = clone, append(gitEnv(), "GITTEST_PERSON=1")
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err == nil
	}
	if _, ok := git("fetch", "--quiet", "origin", r.Branch); !ok {
		return false
	}
	commit, ok := git("commit-tree", "-p", "FETCH_HEAD", "-m", subject, "FETCH_HEAD^{tree}")
	if !ok {
		return false
	}
	_, ok = git("push", "--quiet", "origin", commit+":refs/heads/"+r.Branch)
	return ok
}

// Leave ends the pushing and returns the subjects of the commits that got in.
func (c *Crowd) Leave() []string {
	close(c.leave)
	c.all.Wait()
	return c.pushed
}
