package gittest

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
)

// Graft commits another repository's commit at a path, as git submodule does, and returns the hash.
func (r *Repo) Graft(name, commit, message string) string {
	r.pull()
	r.git("update-index", "--add", "--cacheinfo", "160000,"+commit+","+name)
	r.git("commit", "--quiet", "-m", message)
	return r.push()
}

// DeleteBranch deletes the branch on the server.
func (r *Repo) DeleteBranch() { r.server.git(r.bare, nil, "update-ref", "-d", "refs/heads/"+r.Branch) }

// Orphan replaces the branch by one with a single commit, which shares nothing with what was there, and drops that from
// the server.
func (r *Repo) Orphan(files map[string]string, message string) string {
	r.DeleteBranch()
	r.server.git(r.bare, nil, "gc", "--quiet", "--prune=now")
	return r.Import(Batch{Message: message, Files: files})[0]
}

// Raw returns a commit as git stores it.
func (r *Repo) Raw(commit string) string {
	// Not git, which cuts the last line break.
	return r.server.git(r.bare, nil, "cat-file", "commit", commit) + "\n"
}

// NewSHA256Repo makes a repository whose objects have longer names, with one commit.
func (s *Server) NewSHA256Repo(name string) *Repo {
	r := s.NewRepo(name)
	for _, dir := range []string{r.bare, r.work} {
		s.must(os.RemoveAll(dir))
	}
	s.git("", nil, "init", "--quiet", "--bare", "--object-format=sha256", "--initial-branch=main", r.bare)
	s.git("", nil, "init", "--quiet", "--object-format=sha256", "--initial-branch=main", r.work)
	s.git(r.work, nil, "remote", "add", "origin", r.bare)
	r.Commit(map[string]string{"a": "a"}, "first")
	return r
}

// OnFetch applies a fault to the requests that ask for objects or references, and to no other.
func OnFetch(f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// Within lets an answer through up to so many bytes and then does what the fault does.
func Within(bytes int, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		cut := &cutWriter{ResponseWriter: w, left: bytes}
		next.ServeHTTP(cut, r)
		if cut.left < 0 {
			_ = http.NewResponseController(w).Flush()
			f(w, r, next)
		}
	}
}

// OnlyTheTip is a fault that sends nothing that is asked for by name, but for the branch's tip.
func (r *Repo) OnlyTheTip(w http.ResponseWriter, req *http.Request, next http.Handler) {
	body, err := io.ReadAll(req.Body)
	r.server.must(err)
	for line := range strings.Lines(string(body)) {
		if _, hash, ok := strings.Cut(line, "want "); ok && strings.TrimSpace(hash) != r.Head() {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			_, _ = io.WriteString(w, "0021ERR upload-pack: not our ref\n")
			return
		}
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	next.ServeHTTP(w, req)
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if w.left < 0 {
		return 0, io.ErrClosedPipe
	}
	n := min(len(p), w.left)
	if n < len(p) {
		w.left = -1
	} else {
		w.left -= n
	}
	written, err := w.ResponseWriter.Write(p[:n])
	if err == nil && w.left < 0 {
		err = io.ErrClosedPipe
	}
	return written, err
}
