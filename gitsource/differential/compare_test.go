package differential

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest/repoplan"
)

// sameFiles compares a snapshot with what git lists.
func (r *reader) sameFiles(got *gitsource.Snapshot, rev string, dirs []string) error {
	if got.Revision != rev {
		return differs("the snapshot's revision", got.Revision, rev)
	}
	want, err := r.files(rev, dirs)
	if err != nil {
		return err
	}
	if !slices.IsSortedFunc(got.Files, func(a, b gitsource.File) int { return strings.Compare(a.Path, b.Path) }) {
		return differs("the snapshot's order", pathsOf(got.Files), "sorted")
	}
	if !slices.Equal(pathsOf(got.Files), pathsOf(want)) {
		return differs("the snapshot's paths", pathsOf(got.Files), pathsOf(want))
	}
	for i, f := range got.Files {
		w := want[i]
		if f.Blob != w.Blob || string(f.Content) != string(w.Content) || (f.Content == nil) != (w.Problem != "") || !strings.Contains(f.Problem, w.Problem) {
			return differs(fmt.Sprintf("the file %q", f.Path), file(f), file(w))
		}
	}
	return nil
}

func pathsOf(files []gitsource.File) []string {
	paths := []string{}
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	return paths
}

func file(f gitsource.File) string {
	return fmt.Sprintf("%s, %d bytes beginning with %.60q, problem %q", f.Blob, len(f.Content), f.Content, f.Problem)
}

// files returns what git lists under dirs, with the beginnings of problems.
func (r *reader) files(rev string, dirs []string) ([]gitsource.File, error) {
	entries, err := r.oracle.entries(rev)
	if err != nil {
		return nil, err
	}
	var all []gitsource.File
	for _, e := range entries {
		link := e.mode == repoplan.Link || e.mode == repoplan.Module
		onTheWay := link && slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(dir, e.path+"/") })
		if !within(e.path, dirs) && !onTheWay {
			continue
		}
		f := gitsource.File{Path: e.path, Blob: e.hash}
		if e.mode != repoplan.Module {
			if f.Content, err = r.oracle.object(e.hash); err != nil {
				return nil, err
			}
		}
		switch {
		case !utf8.ValidString(e.path) || strings.ContainsFunc(e.path, unicode.IsControl):
			f.Path, f.Problem = strconv.Quote(e.path), "rename it"
		case e.mode == repoplan.Link:
			f.Problem = "symbolic link"
		case e.mode == repoplan.Module:
			f.Problem = "submodule"
		case int64(len(f.Content)) > r.trial.maxSize:
			f.Problem = "split it"
		case strings.HasPrefix(string(f.Content), "version https://git-lfs"):
			f.Problem = "Git LFS"
		}
		if f.Problem != "" {
			f.Content = nil
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b gitsource.File) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// sameCommits compares a list of commits with what git lists, the order only as far as it is promised.
func (r *reader) sameCommits(got []gitsource.Commit, want []string) error {
	hashes := []string{}
	for _, c := range got {
		hashes = append(hashes, c.Hash)
		if err := r.sameCommit(c); err != nil {
			return err
		}
	}
	slices.Sort(hashes)
	sorted := slices.Sorted(slices.Values(want))
	if !slices.Equal(hashes, sorted) {
		return differs("the commits in between", hashes, sorted)
	}
	return nil
}

// sameCommit compares what is said of a commit with its object.
func (r *reader) sameCommit(got gitsource.Commit) error {
	raw, err := r.oracle.object(got.Hash)
	if err != nil {
		return differs("a commit", got.Hash, err)
	}
	if string(got.Raw) != string(raw) {
		return differs("the commit "+got.Hash, string(got.Raw), string(raw))
	}
	_, rest, _ := strings.Cut(string(raw), "\ncommitter ")
	line, _, _ := strings.Cut(rest, "\n")
	at := strings.Fields(line[strings.LastIndexByte(line, '>')+1:])
	seconds, err := strconv.ParseInt(at[0], 10, 64)
	if err != nil {
		return err
	}
	if !got.Time.Equal(time.Unix(seconds, 0)) {
		return differs("the time of "+got.Hash, got.Time, time.Unix(seconds, 0))
	}
	return nil
}

// trace compares who brought or took away paths with what git log says.
func (r *reader) trace(ctx context.Context, s step, rev string, gone func(error) bool) error {
	entries, err := r.oracle.entries(rev)
	if err != nil {
		return err
	}
	var paths []string
	for _, path := range s.paths {
		there := slices.ContainsFunc(entries, func(e entry) bool { return e.path == path })
		// git log of a path that is a folder is about what is in there.
		folder := slices.ContainsFunc(append(r.trial.plan.Paths(), r.wrote...), func(p string) bool { return strings.HasPrefix(p, path+"/") })
		if there && s.do == origins || !there && s.do == removals && !folder {
			paths = append(paths, path)
		}
	}
	want := map[string][2]string{}
	for _, path := range paths {
		by, err := r.oracle.changed(rev, path)
		if err != nil {
			return err
		}
		with, err := r.oracle.landed(rev, path)
		if err != nil {
			return err
		}
		if by != "" {
			want[path] = [2]string{by, with}
		}
	}
	if s.do == removals { // paths that were never there are not asked for
		paths = slices.DeleteFunc(paths, func(path string) bool { return want[path][0] == "" })
	}
	if len(paths) == 0 {
		return nil
	}
	call := r.git.Origins
	if s.do == removals {
		call = r.git.Removals
	}
	got, err := call(ctx, rev, paths...)
	if err != nil {
		if gone(err) {
			return nil
		}
		return differs(string(s.do), err, want)
	}
	for _, path := range paths {
		o, found := got[path]
		if !found || o.Hash != want[path][0] || o.Landed.Hash != want[path][1] {
			return differs(fmt.Sprintf("%s of %q", s.do, path), [2]string{o.Hash, o.Landed.Hash}, want[path])
		}
		if err := r.sameCommit(o.Commit); err != nil {
			return err
		}
	}
	return nil
}
