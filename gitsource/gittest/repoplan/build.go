package repoplan

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// Built is a repository that a plan becomes, stage by stage.
type Built struct {
	Plan   *Plan
	Dir    string         // the bare repository
	Hashes map[int]string // of the commits that are there, by their IDs
	Stages int            // how many were pushed
}

// Init makes the repository, with nothing in it.
func (p *Plan) Init(dir string) (*Built, error) {
	var config strings.Builder
	config.WriteString("[core]\nrepositoryformatversion = 0\nbare = true\nfsync = none\n[http]\nreceivepack = true\n[gc]\nauto = 0\n" +
		"[receive]\nautogc = false\n[maintenance]\nauto = false\n[pack]\nthreads = 1\n[advice]\ngraftFileDeprecated = false\n")
	for _, setting := range p.Config {
		key, value, _ := strings.Cut(setting, "=")
		last := strings.LastIndexByte(key, '.')
		section, sub, _ := strings.Cut(key[:last], ".")
		if sub != "" {
			section += fmt.Sprintf(" %q", sub)
		}
		fmt.Fprintf(&config, "[%s]\n%s = %s\n", section, key[last+1:], value)
	}
	for _, folder := range []string{"objects/info", "objects/pack", "refs/heads"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"HEAD": "ref: refs/heads/main\n", "config": config.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return &Built{Plan: p, Dir: dir, Hashes: map[int]string{}}, nil
}

// Push puts the next stage onto the server.
func (b *Built) Push() error {
	number := b.Stages
	b.Stages++
	stage := b.Plan.Stages[number]
	tip := ""
	if b.startsAtTip(number) {
		out, err := b.Git("for-each-ref", "--format=%(objectname)", "refs/heads/main")
		if err != nil {
			return err
		}
		tip = strings.TrimSpace(out)
	}
	stream, ids := b.stream(number, tip)
	args := []string{"-c", "fastimport.unpackLimit=1", "fast-import", "--quiet", "--force"}
	if b.Plan.Loose {
		args[1] = "fastimport.unpackLimit=1000000"
	}
	cmd := gittest.Command(b.Dir, args...)
	cmd.Stdin = bytes.NewReader(stream)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("git fast-import: %w\n%s\n%s", err, problems.String(), stream[:min(len(stream), 2000)])
	}
	for i, hash := range strings.Fields(string(out)) {
		b.Hashes[ids[i]] = hash
	}
	return b.store(stage)
}

// Git runs git in the repository and returns what it prints.
func (b *Built) Git(args ...string) (string, error) {
	cmd := gittest.Command(b.Dir, args...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, problems.String())
	}
	return string(out), nil
}

func (b *Built) startsAtTip(stage int) bool {
	for _, c := range b.Plan.Commits {
		if c.Stage == stage && len(c.Parents) > 0 && c.Parents[0] == Tip {
			return true
		}
	}
	return false
}

// stream is a stage as git fast-import reads it, and the commits whose hashes it prints.
func (b *Built) stream(stage int, tip string) (stream []byte, ids []int) {
	var s bytes.Buffer
	name := func(id int) string {
		if id == Tip {
			return tip
		}
		if hash, there := b.Hashes[id]; there {
			return hash
		}
		return fmt.Sprintf(":%d", id+1)
	}
	data := func(bytes []byte) { fmt.Fprintf(&s, "data %d\n%s\n", len(bytes), bytes) }
	for _, c := range b.Plan.Commits {
		if c.Stage != stage {
			continue
		}
		ids = append(ids, c.ID)
		if len(c.Parents) == 0 {
			s.WriteString("reset refs/heads/main\n\n")
		}
		fmt.Fprintf(&s, "commit refs/heads/main\nmark :%d\nauthor %s %d %s\ncommitter %s %d %s\n",
			c.ID+1, c.Author, c.At, c.Zone, c.Author, c.At, c.Zone)
		if c.Encoding != "" {
			fmt.Fprintf(&s, "encoding %s\n", c.Encoding)
		}
		data([]byte(c.Message))
		for i, parent := range c.Parents {
			fmt.Fprintf(&s, "%s %s\n", map[bool]string{true: "from", false: "merge"}[i == 0], name(parent))
		}
		for _, f := range c.Files {
			switch f.Mode {
			case Gone:
				fmt.Fprintf(&s, "D %s\n", quoted(f.Path))
			case Module:
				fmt.Fprintf(&s, "M %s %s %s\n", f.Mode, f.Content.commit(), quoted(f.Path))
			default:
				fmt.Fprintf(&s, "M %s inline %s\n", f.Mode, quoted(f.Path))
				data(f.Content.Bytes())
			}
		}
		fmt.Fprintf(&s, "\nget-mark :%d\n", c.ID+1)
	}
	to := b.Plan.Stages[stage]
	if to.Deleted {
		fmt.Fprintf(&s, "reset refs/heads/main\nfrom %040d\n\n", 0)
	} else {
		fmt.Fprintf(&s, "reset refs/heads/main\nfrom %s\n\n", name(to.Tip))
	}
	for _, ref := range to.Refs {
		if short, isTag := strings.CutPrefix(ref.Name, "refs/tags/"); ref.Annotated && isTag {
			fmt.Fprintf(&s, "tag %s\nfrom %s\ntagger T <t@example.com> 1700000000 +0000\ndata 2\nt\n", short, name(ref.Commit))
			continue
		}
		fmt.Fprintf(&s, "reset %s\nfrom %s\n\n", ref.Name, name(ref.Commit))
	}
	return s.Bytes(), ids
}

// quoted writes a path as git does where it has unusual characters.
func quoted(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(path) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
