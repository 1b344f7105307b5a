package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
)

// hourly makes an agent poll so seldom that only a hint brings it to do so within a test.
var hourly = []string{"--interval", "1h"}

// url is where the agent's HTTP listener is.
func (p *agentProcess) url() string {
	p.w.Helper()
	p.w.eventually("the agent is ready", func() bool {
		if !listening.MatchString(p.log()) {
			return false
		}
		code, _ := p.get("/readyz")
		return code == http.StatusOK
	})
	return "http://" + listening.FindStringSubmatch(p.log())[1]
}

func TestSyncReturnsWhenACommitHasBeenHandled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	agent := w.agent(hourly...)
	at := agent.url()
	dana := w.clone()

	write := func(files map[string]string) {
		for name, text := range files {
			require.NoError(t, os.MkdirAll(filepath.Join(dana.dir, "rotations"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dana.dir, name), []byte(text), 0o644))
		}
		dana.git("add", ".")
		dana.git("commit", "--quiet", "-m", "Rotate")
	}
	sync := func(more ...string) (int, string) {
		command := w.start(append([]string{"sync", "--wait", "--agent", at, "--repo-dir", dana.dir}, more...)...)
		code := command.wait()
		return code, command.log()
	}

	write(map[string]string{"rotations/r.yaml": w.request("r", "db")})
	code, says := sync()
	require.Equal(t, 1, code)
	require.Contains(t, says, "is not on the branch that the agent reads, whose tip is ")
	require.Contains(t, says, "was it pushed")

	before := w.live("db")
	dana.git("push", "--quiet")
	code, says = sync()
	require.Equal(t, 0, code, says)
	require.NotEqual(t, before, w.live("db"))
	require.Equal(t, "Successful", w.status("r").phase(), "it is in Git when sync returns")
	require.Contains(t, says, w.namespace+"/r: Successful: ")
	require.True(t, strings.HasSuffix(says, "\nhandled\n"), says)

	code, says = sync()
	require.Equal(t, 0, code, says)
	require.Contains(t, says, w.namespace+"/r: Successful: ", "the commit has brought it")

	dana.git("pull", "--quiet")
	write(map[string]string{"rotations/denied.yaml": w.request("denied", "db", "apply: Sometimes"), "rotations/lost.yaml": w.request("lost", "no-such-database", "timeout: 2s")})
	dana.git("push", "--quiet")
	code, says = sync("--commit", strings.TrimSpace(dana.git("rev-parse", "HEAD")))
	require.Equal(t, 1, code, says)
	require.Contains(t, says, w.namespace+"/denied: Denied: ")
	require.Contains(t, says, w.namespace+"/lost: Failed: ")
	require.Equal(t, "Denied", w.status("denied").phase())
	require.True(t, strings.HasSuffix(says, "\nhandled, and not all went well\n"), says)

	dana.git("pull", "--quiet")
	pushed := strings.TrimSpace(dana.git("rev-parse", "HEAD"))
	write(map[string]string{"rotations/note.yaml": "kind: ConfigMap\n"})
	dana.git("push", "--quiet")
	rewritten := strings.TrimSpace(dana.git("rev-parse", "HEAD"))
	dana.git("push", "--quiet", "--force", "origin", pushed+":main")
	code, says = sync("--commit", rewritten)
	require.Equal(t, 1, code, says)
	require.Contains(t, says, "not rewritten since?")

	dana.git("reset", "--quiet", "--hard", pushed)
	w.faults("db", `{"logins":[{"error":18401}]}`)
	write(map[string]string{"rotations/waits.yaml": w.request("waits", "db", "timeout: 10m")})
	dana.git("push", "--quiet")
	code, says = sync()
	require.Equal(t, 0, code, says)
	require.Contains(t, says, w.namespace+"/waits: waits: ")
	require.Equal(t, "Pending", w.status("waits").phase())
	w.faults("db", "{}")

	w.git.Break(w.git.Stall)
	defer w.git.Break(nil)
	code, says = sync("--timeout", "3s")
	require.Equal(t, 1, code, says)
	require.Contains(t, says, "was not handled within 3s: the agent has not read the repository yet")
}

func TestSyncSaysWhatIsWrongWithHowItWasAsked(t *testing.T) {
	t.Parallel()
	nobody := httptest.NewServer(http.NotFoundHandler())
	defer nobody.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer page.Close()
	hash := strings.Repeat("a", 40)
	dir := t.TempDir()
	for _, test := range []struct {
		story string
		args  []string
		code  int
		says  string
	}{
		{"no agent", []string{"--agent", "http://127.0.0.1:1"}, 1, "kubectl -n gitrota port-forward deploy/gitrota 8080"},
		{"no agent to wait for", []string{"--wait", "--commit", hash, "--agent", "http://127.0.0.1:1"}, 1, "the agent cannot be reached at http://127.0.0.1:1: "},
		{"another server", []string{"--agent", nobody.URL}, 1, "answers HTTP 404 Not Found: is that the --listen address of an agent"},
		{"a web page", []string{"--agent", page.URL}, 1, "does not answer as an agent"},
		{"an agent that is no URL", []string{"--agent", "gitrota:8080"}, 2, "is not a URL such as http://127.0.0.1:8080"},
		{"a branch in place of a commit", []string{"--wait", "--commit", "main"}, 2, "git rev-parse main prints it"},
		{"a commit, and no wait", []string{"--commit", hash}, 2, "give --wait as well"},
		{"a folder that is no clone", []string{"--wait", "--repo-dir", dir}, 1, "give --commit HASH, or --repo-dir"},
	} {
		t.Run(test.story, func(t *testing.T) {
			got := gitrota(t, dir, nil, append([]string{"sync"}, test.args...)...)
			require.Equal(t, test.code, got.code, got.stderr)
			require.Contains(t, got.stderr, test.says)
		})
	}
}

func TestAWebhookHastensThePoll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	secret := t.TempDir()
	w.remember(credential.NewPassword("hook-token-1"))
	gittest.MountSecret(t, secret, map[string]string{"token": "hook-token-1"})
	agent := w.agent(append(hourly, "--webhook-listen", "127.0.0.1:0", "--webhook-secret", secret)...)
	agent.url()
	_, at, found := strings.Cut(agent.log(), `msg="listening for webhooks" address=`)
	require.True(t, found, agent.log())
	at, _, _ = strings.Cut(at, "\n")

	send := func(token string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+at+"/hook/gitlab", bytes.NewReader([]byte(`{"ref":"refs/heads/main"}`)))
		require.NoError(t, err)
		req.Header.Set("X-Gitlab-Token", token)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	require.Equal(t, http.StatusUnauthorized, send("guess"))
	require.Equal(t, http.StatusAccepted, send("hook-token-1"))
	require.Equal(t, "Successful", w.ended("r").phase())

	gittest.MountSecret(t, secret, map[string]string{"token": "hook-token-2"})
	require.Equal(t, http.StatusUnauthorized, send("hook-token-1"))
	w.repo.Commit(map[string]string{"rotations/second.yaml": w.request("second", "db")}, "Rotate db again")
	require.Equal(t, http.StatusAccepted, send("hook-token-2"))
	require.Equal(t, "Successful", w.ended("second").phase())
	require.NotContains(t, agent.log(), "hook-token")
}

func TestCredentialsThatChangeNeedNoRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	auth := t.TempDir()
	gittest.MountSecret(t, auth, map[string]string{"username": "gitrota", "password": "forge-token-1"})
	w.gitAuth = auth
	agent := w.agent()
	agent.url()
	w.git.ChangePassword("forge-token-2")
	w.eventually("the agent is refused", func() bool { return strings.Contains(agent.log(), "the server refused the credentials") })
	gittest.MountSecret(t, auth, map[string]string{"username": "gitrota", "password": "forge-token-2"})
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	command := w.start("sync", "--wait", "--agent", agent.url(), "--commit", w.repo.Head())
	require.Equal(t, 0, command.wait())
	require.Equal(t, "Successful", w.status("r").phase())
	w.git.ChangePassword("forge-token-1") // for those who look at the history afterwards
	require.NotContains(t, agent.log(), "forge-token")
}
