package forgetest

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// RepoOptions say how a repository is made. The zero value is one whose branch main everybody may push to.
type RepoOptions struct {
	Writers           []*User // who may push besides the owner, and whose reviews count
	Protected         bool    // main takes merged pull requests only
	RequiredApprovals int     // for a merge into main, with Protected
}

// Repo is a repository of the forge, with one commit on its branch main.
type Repo struct {
	Owner *User
	Name  string
	URL   string // for git, without credentials

	forge *Forge
}

// NewRepo makes a repository of its owner's, under a name of its own.
func (f *Forge) NewRepo(t TB, owner *User, options RepoOptions) *Repo {
	t.Helper()
	f.mu.Lock()
	f.repos++
	name := fmt.Sprintf("repo-%d", f.repos)
	f.mu.Unlock()
	r := &Repo{Owner: owner, Name: name, URL: fmt.Sprintf("%s/%s/%s.git", f.URL, owner.Name, name), forge: f}
	owner.must(t, http.MethodPost, "/user/repos", map[string]any{"name": name, "auto_init": true, "default_branch": "main", "readme": "Default"}, nil)
	for _, writer := range options.Writers {
		owner.must(t, http.MethodPut, r.api("/collaborators/"+writer.Name), map[string]any{"permission": "write"}, nil)
	}
	if options.Protected {
		owner.must(t, http.MethodPost, r.api("/branch_protections"), map[string]any{
			"rule_name": "main", "enable_push": false, "required_approvals": options.RequiredApprovals,
		}, nil)
	}
	return r
}

// api is a path of Gitea's API below the repository.
func (r *Repo) api(path string) string { return "/repos/" + r.Owner.Name + "/" + r.Name + path }

// Push commits files to a branch, as a user and with real git, and returns the hash. A branch that is not there begins
// at main. A file without content is removed.
func (r *Repo) Push(t TB, as *User, branch string, files map[string]string, message string) string {
	t.Helper()
	hash, err := r.TryPush(as, branch, files, message)
	if err != nil {
		t.Fatalf("%s pushes to %s: %v", as.Name, branch, err)
	}
	return hash
}

// TryPush is [Repo.Push], and returns what git and the forge say to a push that is refused.
func (r *Repo) TryPush(as *User, branch string, files map[string]string, message string) (string, error) {
	dir, err := os.MkdirTemp("", "forgetest-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	git := func(args ...string) (string, error) { return as.git(dir, args...) }
	if _, err := git("clone", "-q", as.signIn(r.URL), "."); err != nil {
		return "", err
	}
	if _, err := git("checkout", "-q", "-B", branch, "origin/"+branch); err != nil {
		if _, err := git("checkout", "-q", "-b", branch, "origin/main"); err != nil {
			return "", err
		}
	}
	for name, content := range files {
		if err := write(filepath.Join(dir, filepath.FromSlash(name)), content); err != nil {
			return "", err
		}
	}
	for _, step := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", message}, {"push", "-q", "origin", branch}} {
		if _, err := git(step...); err != nil {
			return "", err
		}
	}
	return git("rev-parse", "HEAD")
}

func write(path, content string) error {
	if content == "" {
		return os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// Reset makes a branch be at a commit, whatever was there, as git push --force does.
func (r *Repo) Reset(t TB, as *User, branch, commit string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "forgetest-")
	if err == nil {
		defer os.RemoveAll(dir)
		_, err = as.git(dir, "clone", "-q", as.signIn(r.URL), ".")
	}
	if err == nil {
		_, err = as.git(dir, "push", "-q", "--force", "origin", commit+":refs/heads/"+branch)
	}
	if err != nil {
		t.Fatalf("%s resets %s: %v", as.Name, branch, err)
	}
}

// Head returns the hash of a branch's tip.
func (r *Repo) Head(t TB, branch string) string {
	t.Helper()
	var found struct {
		Commit struct {
			ID string `json:"id"`
		} `json:"commit"`
	}
	r.Owner.must(t, http.MethodGet, r.api("/branches/"+url.PathEscape(branch)), nil, &found)
	return found.Commit.ID
}

// signIn puts the user's name and token into a URL, for one command.
func (u *User) signIn(to string) string {
	return strings.Replace(to, "://", "://"+u.Name+":"+u.Token+"@", 1)
}

// git runs a command as the user, whose git is told nothing by the machine's own configuration.
func (u *User) git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME="+u.Name, "GIT_AUTHOR_EMAIL="+u.Email, "GIT_COMMITTER_NAME="+u.Name, "GIT_COMMITTER_EMAIL="+u.Email)
	output, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(output))
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.ReplaceAll(text, u.Token, "<token>"))
	}
	return text, nil
}
