package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// example is a folder of examples, and somebody who follows its README.md with a clone of the repository: who runs what
// the blocks say, and compares what is printed with what they promise.
type example struct {
	w      *world
	readme string
	dir    string     // the clone
	env    []string   // his environment, besides that of the test
	ahead  []*section // what is still to be followed
}

// newExample is a world for the one who follows an example, with an agent that is hinted at every push. Its namespace is
// for README.md to make.
func newExample(t *testing.T, name, namespace string, agent ...string) *example {
	t.Helper()
	w := newWorldIn(t, vacant(t, namespace))
	return follower(w, name, w.clone().dir, "GITROTA_AGENT="+w.agent(append(hourly, agent...)...).url())
}

// follower is somebody with a clone and an environment who follows an example.
func follower(w *world, name, clone string, env ...string) *example {
	w.Helper()
	folder, err := filepath.Abs(filepath.Join(topLevel, "examples", name))
	require.NoError(w.T, err)
	text, err := os.ReadFile(filepath.Join(folder, "README.md"))
	require.NoError(w.T, err)
	e := &example{w: w, readme: string(text), dir: clone, ahead: followed(string(text))}
	e.env = append(commands(w.T, w.cluster), append(env, "EXAMPLE="+folder, "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")...)
	w.T.Cleanup(func() {
		for _, s := range e.ahead {
			require.Fail(w.T, "a section of README.md was not followed", s.title)
		}
	})
	return e
}

// vacant makes sure that a namespace is not there, which an earlier run may have left.
func vacant(t *testing.T, namespace string) string {
	t.Helper()
	cluster := kubetest.Start(t)
	cluster.Kubectl(t, "delete", "namespace", namespace, "--ignore-not-found")
	t.Cleanup(func() {
		_, err := cluster.Run(context.Background(), nil, "delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
		require.NoError(t, err)
	})
	return namespace
}

// follow does what the next section of README.md says that says to do something.
func (e *example) follow(title string) {
	e.w.Helper()
	require.NotEmpty(e.w.T, e.ahead, "%s: README.md has ended", title)
	next := e.ahead[0]
	require.Equal(e.w.T, title, next.title, "the next section")
	e.ahead = e.ahead[1:]
	for _, b := range next.blocks {
		follow(e.w.T, b, e.run)
	}
}

// run returns what a script prints.
func (e *example) run(script string) string {
	e.w.Helper()
	output := bash(e.w.T, e.dir, e.env, script)
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.w.output.WriteString(output)
	return output
}

// follow runs the commands of a block and compares what they print with what it promises.
func follow(t *testing.T, b block, run func(script string) string) {
	t.Helper()
	if b.kind == "sh" {
		run(b.text)
		return
	}
	for _, s := range b.steps() {
		require.Regexp(t, looksLike(s.promised), run(s.command), "what README.md says that this prints: %s", s.command)
	}
}

// step is a command of a console, and what it is promised to print.
type step struct{ command, promised string }

func (b block) steps() []step {
	var steps []step
	for _, text := range strings.Split("\n"+b.text, "\n$ ")[1:] {
		command, promised, _ := strings.Cut(text, "\n")
		steps = append(steps, step{command, promised})
	}
	return steps
}

// bash runs a script, which has to succeed, and returns what it prints.
func bash(t *testing.T, dir string, env []string, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.WaitDelay = time.Second // for what it has started, and nobody has ended
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, output)
	return string(output)
}

// followed lists the sections of a text in Markdown that have something to run, without what is to be read.
func followed(text string) []*section {
	var list []*section
	for _, s := range markdown(text) {
		s.blocks = slices.DeleteFunc(s.blocks, func(b block) bool { return b.kind != "sh" && b.kind != "console" })
		if len(s.blocks) > 0 {
			list = append(list, s)
		}
	}
	return list
}

// looksLike is the pattern of an output in README.md.
func looksLike(text string) *regexp.Regexp {
	pattern := "^"
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		if line == "...\n" {
			pattern += `(.*\n)*`
			continue
		}
		pattern += strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, ".*")
	}
	return regexp.MustCompile(strings.TrimSuffix(pattern, "\n") + `\n?$`)
}

func TestTheOutputInAReadmeIsCompared(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		readme, output string
		same           bool
	}{
		{"handled\n", "handled\n", true},
		{"handled\n", "handled", true},
		{"handled\n", "not handled\n", false},
		{"handled\n", "handled\nbadly\n", false},
		{"at ..., handled\n", "at 12:00, handled\n", true},
		{"at ...\n", "at 12:00,\nhandled\n", false},
		{"first\n...\nlast\n", "first\nsecond\nthird\nlast\n", true},
		{"first\n...\nlast\n", "first\nlast\n", true},
		{"first\n...\n", "second\n", false},
		{"(a) [b]\n", "(a) [b]\n", true},
		{"", "", true},
	} {
		require.Equal(t, tc.same, looksLike(tc.readme).MatchString(tc.output), "%q %q", tc.readme, tc.output)
	}
}
