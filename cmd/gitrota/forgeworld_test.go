package main

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os/exec"
	"strings"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/gitsource/forge/forgetest"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
)

const statusBranch = "gitrota-status"

// forgeWorld is a world whose repository is on a real Gitea, with a main branch that takes pull requests only. Dana
// proposes and merges, and erin and frank review. The agent is told by webhooks alone that something has happened.
type forgeWorld struct {
	*world
	hosted                   *forgetest.Repo
	robot, dana, erin, frank *forgetest.User
	auth, guardrails         string // the folder with the robot's credentials, and the guardrails' file
}

// newForgeWorld puts a world's repository on a forge. The guardrails are a file's name.
func newForgeWorld(inner *world, guardrails string) *forgeWorld {
	t := inner.T
	t.Helper()
	w := &forgeWorld{world: inner, auth: t.TempDir(), guardrails: guardrails}
	f := forgetest.Start(t)
	w.robot, w.dana, w.erin, w.frank = f.User(t, "gitrota-robot"), f.User(t, "dana"), f.User(t, "erin"), f.User(t, "frank")
	w.hosted = f.NewRepo(t, f.User(t, "acme"), forgetest.RepoOptions{Protected: true, Writers: []*forgetest.User{w.robot, w.dana, w.erin, w.frank}})
	w.histories = append(w.histories, w.address(w.robot))
	w.remember(credential.NewPassword(w.robot.Token))
	gittest.MountSecret(t, w.auth, map[string]string{"username": w.robot.Name, "password": w.robot.Token})
	return w
}

// address is the repository's URL with somebody's credentials.
func (w *forgeWorld) address(user *forgetest.User) string {
	return strings.Replace(w.hosted.URL, "://", "://"+user.Name+":"+user.Token+"@", 1)
}

// flags are those that say what to read and how to judge it.
func (w *forgeWorld) flags() []string {
	return []string{
		"--repo", w.hosted.URL, "--git-auth", w.auth, "--status-branch", statusBranch, "--forge", "gitea", "--guardrails", w.guardrails,
		"--kubeconfig", w.cluster.ServiceAccountKubeconfig(w.T, "gitrota", "gitrota"),
	}
}

// hooked starts an agent that hears of changes by webhooks, and polls of itself once in an hour.
func (w *forgeWorld) hooked(more ...string) *agentProcess {
	w.Helper()
	secret := w.TempDir()
	w.remember(credential.NewPassword("hook-token-1"))
	gittest.MountSecret(w.T, secret, map[string]string{"token": "hook-token-1"})
	args := append([]string{"agent", "--interval", "1h", "--listen", "127.0.0.1:0", "--webhook-listen", "127.0.0.1:0", "--webhook-secret", secret}, w.flags()...)
	p := w.start(append(args, more...)...)
	p.url()
	_, at, found := strings.Cut(p.log(), `msg="listening for webhooks" address=`)
	require.True(w.T, found, p.log())
	at, _, _ = strings.Cut(at, "\n")
	w.hosted.Webhook(w.T, "http://"+at+"/hook/gitea", "hook-token-1")
	return p
}

// written is a file on the branch with the statuses; empty if it is not there.
func (w *forgeWorld) written(file string) string {
	w.Helper()
	var found struct {
		Content string `json:"content"`
	}
	path := "/repos/" + w.hosted.Owner.Name + "/" + w.hosted.Name + "/contents/" + file + "?ref=" + url.QueryEscape(statusBranch)
	if w.dana.Ask(http.MethodGet, path, nil, &found) != nil {
		return ""
	}
	text, err := base64.StdEncoding.DecodeString(found.Content)
	require.NoError(w.T, err)
	return string(text)
}

func (w *forgeWorld) status(request string) status {
	w.Helper()
	var s status
	require.NoError(w.T, yaml.Unmarshal([]byte(w.written(w.statusPath(request))), &s))
	return s
}

// is waits until a request is in a phase, and returns its status.
func (w *forgeWorld) is(request, phase string) status {
	w.Helper()
	w.eventually(request+" is "+phase, func() bool { return w.status(request).phase() == phase })
	return w.status(request)
}

// propose is review for a new branch with one file.
func (w *forgeWorld) propose(branch, file, content string, approving ...*forgetest.User) forge.PullRequest {
	w.Helper()
	w.hosted.Push(w.T, w.dana, branch, map[string]string{file: content}, "Change "+file)
	return w.review(branch, approving...)
}

// review opens dana's pull request for a branch, lets people approve of it, and merges it.
func (w *forgeWorld) review(branch string, approving ...*forgetest.User) forge.PullRequest {
	w.Helper()
	number := w.hosted.Propose(w.T, w.dana, branch, "Merge "+branch)
	w.merge(number, approving...)
	found, err := w.client().Find(w.Context(), number)
	require.NoError(w.T, err)
	return found
}

func (w *forgeWorld) merge(number int, approving ...*forgetest.User) {
	w.Helper()
	for _, user := range approving {
		w.hosted.Review(w.T, user, number, forgetest.Approve)
	}
	w.hosted.Merge(w.T, w.dana, number, forgetest.Merge)
}

// client is dana's of the forge.
func (w *forgeWorld) client() *forge.Client {
	w.Helper()
	client, err := forge.Open(forge.Options{Kind: forge.Gitea, URL: w.hosted.URL, Auth: gitsource.Auth{BearerToken: credential.NewPassword(w.dana.Token)}})
	require.NoError(w.T, err)
	return client
}

// proposals are the pull requests of gitrota's for a request.
func (w *forgeWorld) proposals(request string) []forge.PullRequest {
	w.Helper()
	list, err := w.client().ByBranch(w.Context(), "gitrota/"+w.namespace+"/"+request, "main")
	require.NoError(w.T, err)
	return list
}

// there reports whether the repository has a branch.
func (w *forgeWorld) there(branch string) bool {
	w.Helper()
	text, err := exec.Command("git", "ls-remote", "--heads", w.address(w.robot), branch).CombinedOutput()
	require.NoError(w.T, err, string(text))
	return len(text) > 0
}

// plan is what gitrota plan says.
func (w *forgeWorld) plan() string {
	w.Helper()
	told := gitrota(w.T, w.TempDir(), nil, append([]string{"plan"}, w.flags()...)...)
	require.Equal(w.T, 0, told.code, told.stderr)
	return told.stdout
}

// clone is what somebody has who works with the repository, or looks into it.
func (w *forgeWorld) clone(user *forgetest.User) string {
	w.Helper()
	dir := w.TempDir()
	text, err := exec.Command("git", "clone", "--quiet", w.address(user), dir).CombinedOutput()
	require.NoError(w.T, err, string(text))
	return dir
}
