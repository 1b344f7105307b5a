package gittest

import (
	"os"
	"path/filepath"
)

// As returns the same repository, for commits that say they are somebody else's. A later At keeps that.
func (r *Repo) As(name, email string) *Repo {
	other := *r
	other.env = append(append([]string(nil), r.env...),
		"GIT_AUTHOR_NAME="+name, "GIT_AUTHOR_EMAIL="+email, "GIT_COMMITTER_NAME="+name, "GIT_COMMITTER_EMAIL="+email)
	return &other
}

// Git runs any git command in the person's clone, and returns what it says. [Repo.Pull] goes before it.
func (r *Repo) Git(args ...string) string { return r.git(args...) }

// Put writes a file in the person's clone, and commits nothing.
func (r *Repo) Put(name, content string) {
	to := filepath.Join(r.work, name)
	r.server.must(os.MkdirAll(filepath.Dir(to), 0o755))
	r.server.must(os.WriteFile(to, []byte(content), 0o644))
	r.git("add", "--all")
}

// Pull puts the person's clone at the branch's tip.
func (r *Repo) Pull() { r.pull() }

// Force pushes what the person's clone holds, whatever is lost by it, and returns the new tip.
func (r *Repo) Force() string { return r.push("--force") }

// Fork makes a copy of the repository and of the person's clone, as they are now.
func (r *Repo) Fork(name string) *Repo {
	other := *r
	other.Name = name
	other.bare, other.work = filepath.Join(r.server.dir, name+".git"), filepath.Join(r.server.dir, ".work", name)
	r.server.must(os.CopyFS(other.bare, os.DirFS(r.bare)))
	r.server.must(os.CopyFS(other.work, os.DirFS(r.work)))
	other.git("remote", "set-url", "origin", other.bare)
	return &other
}

// Folder is where the server keeps the repository, which is a bare clone like any other.
func (r *Repo) Folder() string { return r.bare }

// Clone clones the repository into a folder of its own, with flags such as --bare, and returns the folder.
func (r *Repo) Clone(flags ...string) string {
	dir := filepath.Join(r.server.folder("clone"), r.Name)
	r.server.git("", nil, append(append([]string{"clone", "--quiet"}, flags...), "file://"+r.bare, dir)...)
	return dir
}
