package gittest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Repo is one branch of a repository on the server, and somebody who works on it. Copies of it, such as OnBranch
// returns, share one clone and must not be used at the same time.
type Repo struct {
	Name   string
	Branch string

	server *Server
	bare   string // the repository
	work   string // the person's clone
	env    []string
}

// NewRepo makes an empty repository, whose branch main does not exist until the first commit.
func (s *Server) NewRepo(name string) *Repo {
	r := &Repo{
		Name: name, Branch: "main", server: s,
		bare: filepath.Join(s.dir, name+".git"),
		work: filepath.Join(s.dir, ".work", name),
	}
	s.git("", nil, "init", "--quiet", "--bare", "--initial-branch=main", r.bare)
	s.git(r.bare, nil, "config", "http.receivepack", "true")
	s.git(r.bare, nil, "config", "uploadpack.allowFilter", "true")
	s.git("", nil, "init", "--quiet", "--initial-branch=main", r.work)
	s.git(r.work, nil, "remote", "add", "origin", r.bare)
	return r
}

// Server is where the repository is served.
func (r *Repo) Server() *Server { return r.server }

// URL is where the repository is served over HTTP.
func (r *Repo) URL() string { return r.server.URL + "/" + r.Name + ".git" }

// SSHURL is where the repository is served over SSH.
func (r *Repo) SSHURL() string { return "ssh://git@" + r.server.ssh.address() + "/" + r.Name + ".git" }

// OnBranch returns the same repository, for work on another branch.
func (r *Repo) OnBranch(name string) *Repo {
	other := *r
	other.Branch = name
	return &other
}

// Commit writes files and pushes them in one commit. It returns the commit's hash.
func (r *Repo) Commit(files map[string]string, message string) string {
	r.pull()
	for name, content := range files {
		to := filepath.Join(r.work, name)
		r.server.must(os.MkdirAll(filepath.Dir(to), 0o755))
		r.server.must(os.WriteFile(to, []byte(content), 0o644))
	}
	return r.commit(message)
}

// Link commits a symbolic link.
func (r *Repo) Link(name, target, message string) string {
	r.pull()
	r.server.must(os.Symlink(target, filepath.Join(r.work, name)))
	return r.commit(message)
}

// Delete removes files and pushes that.
func (r *Repo) Delete(message string, names ...string) string {
	r.pull()
	r.git(append([]string{"rm", "--quiet", "--"}, names...)...)
	return r.commit(message)
}

// Revert undoes a commit by another one and returns that.
func (r *Repo) Revert(hash string) string {
	r.pull()
	r.git("revert", "--no-edit", hash)
	return r.push()
}

// Merge merges another branch, as a forge merges a pull request, and returns the merge commit.
func (r *Repo) Merge(branch, message string) string {
	r.pull()
	r.git("merge", "--quiet", "--no-ff", "-m", message, "origin/"+branch)
	return r.push()
}

// Reset moves the branch to a commit by force, as somebody who rewrites history does.
func (r *Repo) Reset(hash string) {
	r.pull()
	r.git("reset", "--quiet", "--hard", hash)
	r.push("--force")
}

// Head returns the hash of the branch's tip, "" when there is none.
func (r *Repo) Head() string {
	return r.server.git(r.bare, nil, "for-each-ref", "--format=%(objectname)", "refs/heads/"+r.Branch)
}

// Files returns the paths of all files at the tip.
func (r *Repo) Files() []string {
	return lines(r.server.git(r.bare, nil, "ls-tree", "-r", "--name-only", r.Branch))
}

// Show returns the content of a file at the tip.
func (r *Repo) Show(name string) string {
	return r.server.git(r.bare, nil, "cat-file", "blob", r.Branch+":"+name)
}

// Blob returns Git's hash of a file's content.
func (r *Repo) Blob(name string) string {
	return strings.TrimSpace(r.server.git(r.bare, nil, "rev-parse", r.Branch+":"+name))
}

// Entry is one commit in a log.
type Entry struct {
	Hash, Author, Email, Subject string
	Message                      string            // all of it
	Trailers                     map[string]string // as git reads them; of several with one key, the last
	Files                        []string          // that it changed
}

// Log returns the commits of the branch, newest first.
func (r *Repo) Log() []Entry {
	var log []Entry
	for _, hash := range lines(r.server.git(r.bare, nil, "rev-list", r.Branch)) {
		show := func(format string) string {
			return r.server.git(r.bare, nil, "show", "--no-patch", "--format="+format, hash)
		}
		e := Entry{Hash: hash, Author: show("%an"), Email: show("%ae"), Subject: show("%s"), Message: show("%B")}
		e.Trailers = map[string]string{}
		for _, line := range lines(show("%(trailers:only,unfold)")) {
			if key, value, ok := strings.Cut(line, ": "); ok {
				e.Trailers[key] = value
			}
		}
		e.Files = lines(r.server.git(r.bare, nil, "diff-tree", "-r", "--root", "--no-commit-id", "--name-only", hash))
		log = append(log, e)
	}
	return log
}

// Check runs git fsck and fails where an object is not as git would have written it.
func (r *Repo) Check() { r.server.git(r.bare, nil, "fsck", "--strict", "--no-dangling") }

// Refuse makes the server turn down every push that comes over HTTP or SSH, with a message. "" lets them in again.
// The pushes of the Repo itself are not affected.
func (r *Repo) Refuse(message string) {
	hook := filepath.Join(r.bare, "hooks", "pre-receive")
	if message == "" {
		r.server.must(os.RemoveAll(hook))
		return
	}
	script := "#!/bin/sh\n[ -n \"$GITTEST_PERSON\" ] && exit 0\ncat >&2 <<'END'\n" + message + "\nEND\nexit 1\n"
	r.server.must(os.MkdirAll(filepath.Dir(hook), 0o755))
	r.server.must(os.WriteFile(hook, []byte(script), 0o755))
}

// Configure sets one of git's options in the repository on the server.
func (r *Repo) Configure(key, value string) { r.server.git(r.bare, nil, "config", key, value) }

func (r *Repo) commit(message string) string {
	r.git("add", "--all")
	r.git("commit", "--quiet", "--allow-empty", "-m", message)
	return r.push()
}

// pull puts the person's clone at the branch's tip, or at nothing where there is no such branch yet.
func (r *Repo) pull() {
	r.git("fetch", "--quiet", "--prune", "origin")
	at := "refs/remotes/origin/" + r.Branch
	if slices.Contains(lines(r.git("for-each-ref", "--format=%(refname)")), at) {
		r.git("checkout", "--quiet", "--force", "-B", r.Branch, at)
		r.git("clean", "-fdxq")
		return
	}
	if r.Head() == "" && len(lines(r.git("for-each-ref"))) == 0 {
		return
	}
	r.git("checkout", "--quiet", "--force", "-B", r.Branch) // a new branch grows out of wherever the clone is
}

// push pushes the clone's head and returns it. Where somebody else was quicker it does as people do: it puts the work on
// top of theirs and pushes again.
func (r *Repo) push(flags ...string) string {
	args := append(append([]string{"push", "--quiet"}, flags...), "origin", "HEAD:refs/heads/"+r.Branch)
	for range 10 {
		out, err := r.server.tryGit(r.work, r.person(), args...)
		if err == nil {
			return r.git("rev-parse", "HEAD")
		}
		if !slices.ContainsFunc(quicker, func(words string) bool { return strings.Contains(out, words) }) {
			break
		}
		r.git("fetch", "--quiet", "origin")
		r.git("rebase", "--quiet", "--rebase-merges", "refs/remotes/origin/"+r.Branch)
	}
	r.git(args...)
	return r.git("rev-parse", "HEAD")
}

// quicker are git's words where somebody else was, before the push or at the very same time.
var quicker = []string{"[rejected]", "cannot lock ref", "failed to update ref"}

func (r *Repo) git(args ...string) string {
	return r.server.git(r.work, r.person(), args...)
}

// person is the environment that tells the server's hooks who works here.
func (r *Repo) person() []string { return append([]string{"GITTEST_PERSON=1"}, r.env...) }

func lines(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return line == "" })
}
