package gittest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Batch is one commit of many that are made at once.
type Batch struct {
	Message string
	Files   map[string]string // new content by path; the other files stay
}

// Import puts commits on top of the branch, one on the other, and returns their hashes. It is for repositories that
// are too large for Commit: git fast-import takes a second for tens of thousands of files. Nothing is pushed, so that
// no hook runs.
func (r *Repo) Import(commits ...Batch) []string {
	var stream bytes.Buffer
	tip := r.Head()
	for i, c := range commits {
		fmt.Fprintf(&stream, "commit refs/heads/%s\nmark :%d\n", r.Branch, i+1)
		fmt.Fprintf(&stream, "committer Dana DBA <dana@example.com> %d +0000\ndata %d\n%s\n", time.Now().Unix(), len(c.Message), c.Message)
		if i == 0 && tip != "" {
			fmt.Fprintf(&stream, "from %s\n", tip)
		}
		for _, name := range slices.Sorted(maps.Keys(c.Files)) {
			fmt.Fprintf(&stream, "M 100644 inline %s\ndata %d\n%s\n", name, len(c.Files[name]), c.Files[name])
		}
		fmt.Fprintf(&stream, "\nget-mark :%d\n", i+1)
	}
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Env, cmd.Stdin = r.bare, gitEnv(), &stream
	var problems strings.Builder
	cmd.Stderr = &problems
	hashes, err := cmd.Output()
	if err != nil {
		r.server.fail("git fast-import: %v\n%s", err, problems.String())
	}
	return lines(string(hashes))
}

// Repack puts all objects into one pack, as forges do now and then. What no branch leads to is dropped.
func (r *Repo) Repack() { r.server.git(r.bare, nil, "repack", "-a", "-d", "--quiet") }

// RepackWith is Repack with more of git's options.
func (r *Repo) RepackWith(options ...string) {
	r.server.git(r.bare, nil, append([]string{"repack", "-a", "-d", "-f", "--quiet"}, options...)...)
}

// Point moves the branch on the server to a commit that is there, without a push.
func (r *Repo) Point(hash string) {
	r.server.git(r.bare, nil, "update-ref", "refs/heads/"+r.Branch, hash)
}

// AddRefs makes references with full names, such as refs/tags/v1, that all point to the branch's tip. They must be
// new. They are written as git pack-refs would leave them, because one file for each takes git minutes.
func (r *Repo) AddRefs(names ...string) {
	r.server.git(r.bare, nil, "pack-refs", "--all")
	packed := lines(r.server.git(r.bare, nil, "for-each-ref", "--format=%(refname) %(objectname)"))
	tip := r.Head()
	for _, name := range names {
		packed = append(packed, name+" "+tip)
	}
	slices.Sort(packed)
	file := bytes.NewBufferString("# pack-refs with: sorted\n")
	for _, line := range packed {
		name, hash, _ := strings.Cut(line, " ")
		fmt.Fprintf(file, "%s %s\n", hash, name)
	}
	r.server.must(os.WriteFile(filepath.Join(r.bare, "packed-refs"), file.Bytes(), 0o644))
}
