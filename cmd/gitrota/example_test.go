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

// example is a folder of examples, and somebody who follows its README.md with a clone of the repository. What stands
// behind the fence of a block says what he does with it:
//
//	sh       he runs it with bash, in the clone; it has to succeed
//	console  he runs the line behind "$ ", and sees the lines below it, in which ... stands for anything
//
// All other blocks are to be read.
type example struct {
	w      *world
	readme string
	dir    string     // the clone
	env    []string   // his environment, besides that of the test
	ahead  []*section // what is still to be followed
}

// section is what stands below a heading of README.md.
type section struct {
	title  string
	blocks []block
}

type block struct{ kind, text string }

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
	e := &example{w: w, readme: string(text), dir: clone, ahead: sections(string(text))}
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
		if b.kind == "sh" {
			e.run(b.text)
			continue
		}
		for _, step := range strings.Split("\n"+b.text, "\n$ ")[1:] {
			command, promised, _ := strings.Cut(step, "\n")
			require.Regexp(e.w.T, looksLike(promised), e.run(command), "what README.md says that this prints: %s", command)
		}
	}
}

// run returns what a script prints.
func (e *example) run(script string) string {
	e.w.Helper()
	ctx, cancel := context.WithTimeout(e.w.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = e.dir, append(os.Environ(), e.env...)
	cmd.WaitDelay = time.Second // for what it has started, and nobody has ended
	output, err := cmd.CombinedOutput()
	require.NoError(e.w.T, err, "%s\n%s", script, output)
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.w.output.Write(output)
	return string(output)
}

// sections lists those of a text in Markdown that have something to run.
func sections(text string) (list []*section) {
	current := &section{}
	var open *block // the block that the line is in
	for line := range strings.Lines(text) {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		title, isHeading := strings.CutPrefix(line, "## ")
		switch {
		case isFence && open == nil:
			open = &block{kind: fence}
		case isFence:
			if open.kind == "sh" || open.kind == "console" {
				current.blocks = append(current.blocks, *open)
			}
			open = nil
		case open != nil:
			open.text += line
		case isHeading:
			current = &section{title: strings.TrimSpace(title)}
			list = append(list, current)
		}
	}
	return slices.DeleteFunc(list, func(s *section) bool { return len(s.blocks) == 0 })
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
