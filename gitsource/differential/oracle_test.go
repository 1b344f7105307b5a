package differential

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// clone is a full clone of a repository, or the repository itself, and says what git says of it.
type clone struct {
	dir   string
	from  string     // where a clone comes from; "" for the repository itself
	mu    sync.Mutex // of the process
	batch *exec.Cmd  // git cat-file --batch
	ask   io.WriteCloser
	hear  *bufio.Reader
}

// entry is a file, a link or a submodule in a tree.
type entry struct {
	path, mode, hash string
}

func (c *clone) git(args ...string) (string, error) {
	cmd := gittest.Command(c.dir, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// refresh makes a clone anew of what there is now.
func (c *clone) refresh() error {
	c.close()
	if c.from == "" {
		return nil
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	out, err := gittest.Command("", "clone", "--quiet", "--mirror", c.from, c.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("git clone: %w: %s", err, out)
	}
	return nil
}

// close ends git cat-file, which goes on seeing what was there when it began. The clone can be used again.
func (c *clone) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.batch != nil {
		c.ask.Close()
		_ = c.batch.Wait()
		c.batch = nil
	}
}

func (c *clone) has(hash string) bool {
	_, err := c.object(hash)
	return err == nil
}

// head returns the branch's tip, "" where there is no branch.
func (c *clone) head() (string, error) {
	return c.git("for-each-ref", "--format=%(objectname)", "refs/heads/main")
}

// entries lists what is in a commit, nothing where there is none.
func (c *clone) entries(rev string) ([]entry, error) {
	if rev == "" {
		return nil, nil
	}
	out, err := c.git("ls-tree", "-r", "-z", "--full-tree", rev)
	if err != nil {
		return nil, err
	}
	var all []entry
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		about, path, ok := strings.Cut(line, "\t")
		if words := strings.Fields(about); ok && len(words) == 3 {
			all = append(all, entry{path, words[0], words[2]})
		}
	}
	return all, nil
}

// object returns the content of an object.
func (c *clone) object(hash string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.batch == nil {
		c.batch = gittest.Command(c.dir, "cat-file", "--batch")
		var err error
		if c.ask, err = c.batch.StdinPipe(); err != nil {
			return nil, err
		}
		out, err := c.batch.StdoutPipe()
		if err != nil {
			return nil, err
		}
		c.hear = bufio.NewReader(out)
		if err := c.batch.Start(); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(c.ask, hash+"\n"); err != nil {
		return nil, err
	}
	line, err := c.hear.ReadString('\n')
	if err != nil {
		return nil, err
	}
	words := strings.Fields(line)
	if len(words) != 3 {
		return nil, fmt.Errorf("git cat-file: %s", line)
	}
	size, err := strconv.Atoi(words[2])
	if err != nil {
		return nil, err
	}
	content := make([]byte, size+1)
	if _, err := io.ReadFull(c.hear, content); err != nil {
		return nil, err
	}
	return content[:size], nil
}

// whole reports whether a commit is there with everything that is behind it.
func (c *clone) whole(rev string) bool {
	_, err := c.git("rev-list", "--objects", "--quiet", rev)
	return err == nil
}

// changed returns the last commit up to rev that changed a path, as git log finds it, "" when there is none.
func (c *clone) changed(rev, path string) (string, error) {
	return c.git("--literal-pathspecs", "log", "-1", "--format=%H", rev, "--", path)
}

// landed returns the one on the line of first parents with which a path became what it is.
func (c *clone) landed(rev, path string) (string, error) {
	return c.git("--literal-pathspecs", "log", "-1", "--first-parent", "--format=%H", rev, "--", path)
}

func (c *clone) between(rev, since string) ([]string, error) {
	if behind, err := c.contains(rev, since); err != nil || !behind {
		return nil, err
	}
	out, err := c.git("rev-list", rev, "^"+since)
	return strings.Fields(out), err
}

func (c *clone) contains(rev, commit string) (bool, error) {
	_, err := c.git("merge-base", "--is-ancestor", commit, rev)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}
