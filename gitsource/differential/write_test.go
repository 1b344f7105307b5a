package differential

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest/repoplan"
)

// write lets the agent write something, and compares the branch afterwards with what git says should be there. While
// it writes, somebody may push.
func (r *reader) write(ctx context.Context, s step, tip string) error {
	var files map[string][]byte
	var trouble error
	seen, asked := "", false
	got, err := r.git.Write(ctx, s.paths, func(now *gitsource.Snapshot) (*gitsource.Change, error) {
		if s.racing() && !asked && r.built.Stages < len(r.trial.plan.Stages) {
			if trouble = r.push(); trouble == nil {
				tip, trouble = r.oracle.head()
			}
		}
		seen, asked = now.Revision, true
		files = drawWrite(s, now.Files)
		return &gitsource.Change{Subject: "status", Files: files}, trouble
	})
	if trouble != nil {
		return trouble
	}
	if tip == "" && !r.trial.create {
		if !errors.Is(err, gitsource.ErrBranchNotFound) {
			return differs("Write without a branch", err, gitsource.ErrBranchNotFound)
		}
		return nil
	}
	if err := r.oracle.refresh(); err != nil {
		return err
	}
	now, headErr := r.oracle.head()
	if headErr != nil {
		return headErr
	}
	before, readErr := r.oracle.entries(tip)
	if readErr != nil {
		return readErr
	}
	r.wrote = slices.AppendSeq(r.wrote, maps.Keys(files))
	want, clash := wanted(before, files)
	switch {
	case clash && (err == nil || now != tip):
		return differs("Write of what cannot be there", result(now, err), "an error")
	case clash:
		return nil
	case err != nil:
		return differs("Write", err, fmt.Sprintf("%d files written", len(files)))
	case asked && seen != tip:
		return differs("what Write built on", seen, tip)
	}
	if err := r.written(tip, now, want); err != nil {
		return err
	}
	if now == "" {
		return nil // nothing was to be written into a branch that is not there
	}
	return r.sameFiles(got, now, s.paths)
}

// written compares the branch after a write with what should be there.
func (r *reader) written(tip, now string, want map[string]entry) error {
	after, err := r.oracle.entries(now)
	if err != nil {
		return err
	}
	if !maps.Equal(byPath(after), want) {
		return differs("the tree after Write", byPath(after), want)
	}
	if now == tip {
		return nil
	}
	line, err := r.oracle.git("rev-list", "--parents", "-1", now)
	if err != nil {
		return err
	}
	if line != strings.TrimSpace(now+" "+tip) {
		return differs("the commit of Write and its parents", line, now+" "+tip)
	}
	if r.shallow() {
		return nil // of which git fsck complains
	}
	if out, err := r.oracle.git("-c", "core.commitGraph=false", "fsck", "--connectivity-only", "--no-dangling", "--no-progress", now); err != nil {
		return differs("git fsck after Write", fmt.Sprint(out, err), "nothing")
	}
	return nil
}

// shallow reports whether the server has forgotten what is behind some commits.
func (r *reader) shallow() bool {
	return slices.ContainsFunc(r.trial.plan.Stages, func(stage repoplan.Stage) bool { return len(stage.Shallow) > 0 })
}

func byPath(entries []entry) map[string]entry {
	all := map[string]entry{}
	for _, e := range entries {
		all[e.path] = e
	}
	return all
}

// drawWrite draws what is written below the one folder of the step: new files, changed ones, and deleted ones.
func drawWrite(s step, before []gitsource.File) map[string][]byte {
	rng := rand.New(rand.NewPCG(s.draw, 5))
	folder := s.paths[0]
	var there []string
	for _, f := range before {
		if strings.HasPrefix(f.Path, folder+"/") && !strings.Contains(f.Path, "\\") {
			there = append(there, f.Path)
		}
	}
	files := map[string][]byte{}
	for range 1 + rng.IntN(4) {
		path := folder + "/" + []string{"n.yaml", "demo/n.yaml", "demo/m.yaml", "x/y/z.yaml", "a", "demo"}[rng.IntN(6)]
		if len(there) > 0 && rng.IntN(2) == 0 {
			path = there[rng.IntN(len(there))]
		}
		clash := false
		for other := range files {
			clash = clash || strings.HasPrefix(other, path+"/") || strings.HasPrefix(path, other+"/")
		}
		if clash {
			continue
		}
		files[path] = fmt.Appendf(nil, "written %d\n", rng.IntN(1000))
		if rng.IntN(4) == 0 {
			files[path] = nil
		}
	}
	return files
}

// wanted returns the tree in which files are written over what was before, and whether that cannot be done.
func wanted(before []entry, files map[string][]byte) (tree map[string]entry, clash bool) {
	tree = byPath(before)
	for path, content := range files {
		for name := range tree {
			clash = clash || strings.HasPrefix(path, name+"/") || strings.HasPrefix(name, path+"/")
		}
		was, there := byPath(before)[path]
		if there && (was.mode == repoplan.Link || was.mode == repoplan.Module) {
			clash = true
		}
		if content == nil {
			delete(tree, path)
			continue
		}
		mode := repoplan.Regular
		if there {
			mode = was.mode
		}
		tree[path] = entry{path, mode, blobHash(content)}
	}
	return tree, clash
}

func blobHash(content []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...))
	return hex.EncodeToString(sum[:])
}
