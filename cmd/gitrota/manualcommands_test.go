package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Many commands of the manuals are run for real, with all that they need: those of the examples in a cluster, those of
// the others as the tests below this one do. Here every one of them is rehearsed: bash runs it as it stands, but each
// program that it calls writes down only how it was called. What was asked of gitrota, make and this repository's own
// programs then has to be something that they know.

// rehearsed are the programs that the manuals ask for. One that is not here would be news to the reader, too.
var rehearsed = []string{
	"age-keygen", "cat", "cp", "curl", "docker", "git", "gitrota", "go", "gofmt", "grep", "gpg", "kubectl", "make", "mkdir", "openssl", "sed", "sops",
	"sqlcmd", "ssh-keygen", "ssh-keyscan", "tr",
}

func TestCommandsInManualsAreThere(t *testing.T) {
	t.Parallel()
	asked := map[string]int{}
	for _, m := range manuals(t) {
		for _, s := range m.sections {
			for _, b := range s.blocks {
				var scripts []string
				switch b.kind {
				case "sh":
					scripts = []string{b.text}
				case "console":
					for _, step := range b.steps() {
						scripts = append(scripts, step.command)
					}
				}
				for _, script := range scripts {
					for _, call := range rehearse(t, script) {
						asked[call.name]++
						require.NoError(t, call.check(m), "%s:%d: %s %s", m.file, b.line, call.name, strings.Join(call.args, " "))
					}
				}
			}
		}
	}
	require.Greater(t, asked["gitrota"], 10, "they are found")
	require.Greater(t, asked["make"], 3)
}

// call is how a program was called.
type call struct {
	name string
	args []string
}

// rehearse lists the calls of a script.
func rehearse(t *testing.T, script string) (calls []call) {
	t.Helper()
	programs, dir := t.TempDir(), t.TempDir()
	record := filepath.Join(t.TempDir(), "calls")
	for _, name := range rehearsed {
		text := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\0' %s \"$#\" \"$@\" >> %q\n", name, record)
		require.NoError(t, os.WriteFile(filepath.Join(programs, name), []byte(text), 0o755))
	}
	for _, name := range []string{"id_ed25519", "token.txt", "identity.pub"} { // which the reader has
		writeFile(t, filepath.Join(dir, name), "")
	}
	for _, file := range intoFile.FindAllStringSubmatch(script, -1) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(file[1])), 0o755))
	}
	shell, err := exec.LookPath("bash")
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), shell, "-e", "-c", script)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + programs, "EXAMPLE=" + dir, "SERVER=sql1.example.com:1433"}
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, output)
	text, err := os.ReadFile(record)
	require.NoError(t, err, "it calls nothing: %s", script)
	for words := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"); len(words) > 1; {
		n, err := strconv.Atoi(words[1])
		require.NoError(t, err)
		calls = append(calls, call{words[0], words[2 : 2+n]})
		words = words[2+n:]
	}
	return calls
}

// intoFile is where a script writes what a program prints.
var intoFile = regexp.MustCompile(`> *([\w./-]+)`)

// check says what is wrong with a call, as far as this repository can tell.
func (c call) check(m manual) error {
	switch c.name {
	case "gitrota":
		return checkGitrota(c.args)
	case "make":
		makefile, err := os.ReadFile(filepath.Join(topLevel, "Makefile"))
		if err == nil && !bytes.Contains(makefile, []byte("\n"+c.args[0]+":")) {
			err = fmt.Errorf("the Makefile has no such target")
		}
		return err
	case "go":
		return checkGo(c.args)
	case "kubectl", "docker":
		return checkFiles(m, c.args)
	}
	return nil
}

// checkGitrota parses a command line and runs nothing.
func checkGitrota(args []string) error {
	root := newRoot()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if help, _ := cmd.Flags().GetBool("help"); help {
		return nil
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	if cmd == root || cmd.HasSubCommands() {
		return fmt.Errorf("it names no command")
	}
	return nil
}

// checkGo looks for the folders that are named and, of a program that is run, for its flags in its source.
func checkGo(args []string) error {
	for _, arg := range args {
		if folder := strings.TrimSuffix(arg, "..."); strings.HasPrefix(folder, "./") {
			if _, err := os.Stat(filepath.Join(topLevel, filepath.FromSlash(folder))); err != nil {
				return err
			}
		}
	}
	if len(args) < 2 || args[0] != "run" || !strings.HasPrefix(args[1], "./") {
		return nil
	}
	source, err := os.ReadFile(filepath.Join(topLevel, filepath.FromSlash(args[1]), "main.go"))
	if err != nil {
		return err
	}
	for _, arg := range args[2:] {
		if name, isFlag := strings.CutPrefix(arg, "-"); isFlag && !regexp.MustCompile(`flags\.\w+\("`+name+`"`).Match(source) {
			return fmt.Errorf("there is no flag -%s", name)
		}
	}
	return nil
}

// checkFiles looks for the files and folders of this repository that -f and -k name.
func checkFiles(m manual, args []string) error {
	for i, arg := range args[:len(args)-1] {
		if file := args[i+1]; (arg == "-f" || arg == "-k") && file != "-" && !filepath.IsAbs(file) {
			_, beside := os.Stat(filepath.Join(topLevel, filepath.FromSlash(m.folder()), file))
			_, above := os.Stat(filepath.Join(topLevel, file))
			if beside != nil && above != nil {
				return beside
			}
		}
	}
	return nil
}

func TestRehearsalsSeeWhatIsWrong(t *testing.T) {
	t.Parallel()
	check := func(script string) error {
		for _, call := range rehearse(t, script) {
			if err := call.check(manual{file: "examples/install/README.md"}); err != nil {
				return err
			}
		}
		return nil
	}
	require.Equal(t, []call{{"git", []string{"commit", "-m", "a  b", ""}}, {"gitrota", []string{"sync", "--wait"}}}, rehearse(t, "git commit -m 'a  b' '' && gitrota sync --wait"))
	for _, good := range []string{
		"gitrota validate rotations", "gitrota audit verify --agent-signers FILE", "gitrota sync --help", "make demo", "make demo KEEP=1",
		"go run ./cmd/bench -rows poll -quick", "go test ./... -run Name", "kubectl apply -f namespace.yaml", "kubectl apply -k examples/install", "cat identity.pub | kubectl apply -f -",
	} {
		require.NoError(t, check(good), good)
	}
	for _, bad := range []string{
		"gitrota", "gitrota audit", "gitrota valdate rotations", "gitrota validate", "gitrota validate --fast rotations", "gitrota rollback a b", "git pull && gitrota snyc",
		"make nothing", "go run ./cmd/nothing", "go test ./nothing/...", "go run ./cmd/bench -row poll", "kubectl apply -f nothing.yaml",
	} {
		require.Error(t, check(bad), bad)
	}
}
