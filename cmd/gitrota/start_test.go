package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

// gitrota runs the command in a folder to its end.
func gitrota(t *testing.T, dir string, environment []string, args ...string) result {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), asGitrota+"=1", "HOME=/nonexistent", "KUBECONFIG="), environment...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		require.True(t, errors.As(err, &exit), "%v", err)
		require.NoError(t, ctx.Err(), "gitrota %s did not end: %s", strings.Join(args, " "), &stderr)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestAWrongStartEndsAtOnceAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) { writeFile(t, filepath.Join(dir, name), content) }
	write("both/username", "gitrota")
	write("both/password", "forge-token-1")
	write("both/bearerToken", "forge-token-2")
	write("half/username", "gitrota")
	write("token/username", "gitrota")
	write("token/password", "forge-token-1")
	write("no-keys/readme.txt", "the keys are elsewhere")
	write("odd-key/wrong.agekey", "AGE-SECRET-KEY-1CANARY\n")
	nobody := api.NewConfig()
	nobody.Clusters["nobody"] = &api.Cluster{Server: "https://127.0.0.1:1"}
	nobody.Contexts["nobody"] = &api.Context{Cluster: "nobody"}
	nobody.CurrentContext = "nobody"
	kubeconfig := filepath.Join(dir, "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*nobody, kubeconfig))

	agent := func(more ...string) []string {
		return append([]string{"agent", "--repo", "https://git.example.com/rotations.git", "--kubeconfig", kubeconfig}, more...)
	}
	for _, tc := range []struct {
		name        string
		args        []string
		environment string
		code        int
		says        string // on standard error
	}{
		{"an unknown command", []string{"agnet"}, "", 2, "gitrota: unknown command \"agnet\" for \"gitrota\"\nRun 'gitrota --help' for usage.\n"},
		{"an unknown flag", agent("--intervall", "5s"), "", 2, "gitrota: unknown flag: --intervall\nRun 'gitrota agent --help' for usage.\n"},
		{"an argument too many", agent("now"), "", 2, "gitrota: unknown command \"now\" for \"gitrota agent\"\n"},
		{"no repository", []string{"agent", "--kubeconfig", kubeconfig}, "", 2, "gitrota: --repo is missing: the URL of the repository with the rotation requests\n"},
		{"a repository that is no URL", []string{"agent", "--repo", "rotations", "--kubeconfig", kubeconfig}, "", 2, "gitrota: --repo: "},
		{"a log format that does not exist", agent("--log-format", "xml"), "", 2, "gitrota: --log-format \"xml\": use text or json\n"},
		{"an interval without a unit", agent("--interval", "60"), "", 2, "gitrota: invalid argument \"60\" for \"--interval\" flag: time: missing unit in duration \"60\"\n"},
		{"an interval without a unit in the environment", agent(), "GITROTA_INTERVAL=60", 2, "gitrota: the environment variable GITROTA_INTERVAL: invalid argument \"60\" for \"--interval\" flag"},
		{"an interval that is too short", agent("--interval", "100ms"), "", 2, "gitrota: --interval 100ms is too short: the forge would not like it; use 1s or more\n"},
		{"statuses among the manifests", agent("--status-path", "rotations/status"), "", 2, "gitrota: --path \"rotations\" and --status-path \"rotations/status\" overlap: what gitrota writes must not be what it reads\n"},
		{"statuses on the watched branch, by name", agent("--status-branch", "main"), "", 2, "gitrota: --status-branch \"main\" is --branch: leave it out, or name a branch that is gitrota's alone\n"},
		{"a path out of the repository", agent("--path", "../secrets"), "", 2, "gitrota: --path \"../secrets\" is not a folder inside the repository: use a plain relative path such as rotations/production\n"},
		{"Git credentials that are not there", agent("--git-auth", filepath.Join(dir, "nowhere")), "", 2, "gitrota: --git-auth: reading the Git credentials: stat " + filepath.Join(dir, "nowhere") + ": no such file or directory\n"},
		{"Git credentials of two kinds", agent("--git-auth", filepath.Join(dir, "both")), "", 2, "the Git credentials hold both a username or password and a bearerToken: keep one of the two\n"},
		{"half of the Git credentials", agent("--git-auth", filepath.Join(dir, "half")), "", 2, "the Git credentials need both username and password; "},
		{"Git credentials without encryption", []string{"agent", "--repo", "http://git.example.com/rotations.git", "--kubeconfig", kubeconfig, "--git-auth", "token"}, "", 2, "refusing to send credentials to http://git.example.com/rotations.git without encryption: use https://, or allow it with --allow-plain-http\n"},
		{"a folder without age keys", agent("--sops-keys", filepath.Join(dir, "no-keys")), "", 2, "gitrota: --sops-keys: reading the age keys: " + filepath.Join(dir, "no-keys") + " holds no file whose name ends in .agekey\n"},
		{"an age key that is none", agent("--sops-keys", filepath.Join(dir, "odd-key")), "", 2, "wrong.agekey: line 1 is not an age identity (AGE-SECRET-KEY-…)\n"},
		{"webhooks without a secret", agent("--webhook-listen", "127.0.0.1:0"), "", 2, "gitrota: --webhook-listen and --webhook-secret need one another: "},
		{"a webhooks' secret without a token", agent("--webhook-listen", "127.0.0.1:0", "--webhook-secret", filepath.Join(dir, "no-keys")), "", 2, "gitrota: --webhook-secret: the webhooks' secret in " + filepath.Join(dir, "no-keys") + " holds neither the key token"},
		{"a signing key that is not there", agent("--signing-key", filepath.Join(dir, "no-keys")), "", 2, "gitrota: --signing-key: reading the signing key: " + filepath.Join(dir, "no-keys") + " holds neither identity, an SSH private key, nor git.asc"},
		{"signers that are none", agent("--request-signers", filepath.Join(dir, "no-keys")), "", 2, "gitrota: --request-signers: reading the allowed signers: " + filepath.Join(dir, "no-keys", "readme.txt") + ":1: no public key after the principals \"the\"\n"},
		{"an address that is none", agent("--listen", "127.0.0.1:http-alternative"), "", 2, "gitrota: --listen: "},
		{"a kubeconfig that is not there", append(agent(), "--kubeconfig", filepath.Join(dir, "nowhere")), "", 1, "gitrota: no cluster to work on: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var environment []string
			if tc.environment != "" {
				environment = []string{tc.environment}
			}
			got := gitrota(t, dir, environment, tc.args...)
			require.Equal(t, tc.code, got.code, got.stderr)
			require.Contains(t, got.stderr, tc.says)
			require.Empty(t, got.stdout)
			require.NotContains(t, got.stderr, "forge-token")
			require.NotContains(t, got.stderr, "CANARY")
		})
	}
}

func TestARepositoryThatCannotBeReadEndsTheStart(t *testing.T) {
	t.Parallel()
	kubeconfig := kubetest.Start(t).Kubeconfig
	server := gittest.NewServer(t, gittest.Options{Username: "gitrota", Password: "forge-token-1"})
	repo := server.NewRepo("rotations")
	repo.Commit(map[string]string{"README.md": "Our rotations.\n"}, "Begin")
	wrong := t.TempDir()
	writeFile(t, filepath.Join(wrong, "username"), "gitrota")
	writeFile(t, filepath.Join(wrong, "password"), "forge-token-2")

	refused := repo.URL() + " (main): the server refused the credentials: HTTP 401 Unauthorized: check username and password or bearerToken, and that they may read and write this repository"
	for _, tc := range []struct{ name, url, branch, auth, says string }{
		{"a branch that does not exist", repo.URL(), "mian", server.AuthDir(false), repo.URL() + ` (mian): the branch does not exist: the repository has no branch "mian": push it, or name another one`},
		{"a repository that does not exist", server.URL + "/rotation.git", "main", server.AuthDir(false), server.URL + "/rotation.git (main): the repository does not exist, or the credentials may not see it: HTTP 404 Not Found"},
		{"a wrong password", repo.URL(), "main", wrong, refused},
		{"no password", repo.URL(), "main", "", refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := gitrota(t, "", nil, "agent", "--kubeconfig", kubeconfig, "--repo", tc.url, "--branch", tc.branch, "--git-auth", tc.auth)
			require.Equal(t, 1, got.code, got.stderr)
			require.Contains(t, got.stderr, "gitrota: asking for the head of "+tc.says)
			require.NotContains(t, got.stderr, "forge-token")
		})
	}
}

func TestEnvironmentVariablesStandForFlagsAndAFlagWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.remember(credential.NewPassword("forge-token-1"))
	environment := []string{
		"GITROTA_REPO=" + w.repo.URL(), "GITROTA_BRANCH=nowhere", "GITROTA_GIT_AUTH=" + w.gitAuth, "GITROTA_SOPS_KEYS=" + w.sopsKeys,
		"GITROTA_KUBECONFIG=" + w.cluster.ServiceAccountKubeconfig(t, "gitrota", "gitrota"), "GITROTA_ONCE=true", "GITROTA_LOG_FORMAT=json",
		"GITROTA_STATUS_PATH=reports/rotation", "GITROTA_AUTHOR_NAME=Rota",
	}
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "no-such-database")}, "Rotate nothing")

	got := gitrota(t, "", environment, "agent")
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stderr, "(nowhere): the branch does not exist")

	got = gitrota(t, "", environment, "agent", "--branch", "main")
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stderr, "gitrota: not every request ended well: 1 failed or denied, 0 problems in manifests")
	require.Contains(t, got.stderr, `"level":"INFO","msg":"rotation ends"`)
	require.Contains(t, w.files(), "reports/rotation/"+w.namespace+"/r.yaml")
	require.Equal(t, "Rota", w.repo.Log()[0].Author)
}

func TestHelpNamesEveryFlag(t *testing.T) {
	t.Parallel()
	for command, words := range map[string][]string{
		"":         {"agent", "sync", "validate", "rollback", "version", "GITROTA_STATUS_PATH", "A flag wins."},
		"sync":     {"gitrota sync --wait", "--commit string", "--timeout duration", "--agent string", "--repo-dir string", "kubectl -n gitrota port-forward deploy/gitrota 8080", "The exit code of sync --wait is 0"},
		"validate": {"gitrota validate PATH", "gitrota validate rotations", "The exit code is 0"},
		"agent": {
			"--repo string", "--branch string", "--path string", "--status-path string", "--interval duration", "--kubeconfig string",
			"--git-auth string", "--allow-plain-http", "--sops-keys string", "--once", "--webhook-listen string", "--webhook-secret string", "--listen string", "--author-name string", "--author-email string",
			"--log-format string", "--verbose", "known_hosts", "SIGTERM",
		},
	} {
		got := gitrota(t, "", nil, strings.Fields(command+" --help")...)
		require.Equal(t, 0, got.code, got.stderr)
		require.Empty(t, got.stderr)
		for _, word := range words {
			require.Contains(t, got.stdout, word)
		}
	}
}

func TestAGitServerThatIsDownIsWaitedForAndTheProbesSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databases("db")
	w.remember(credential.NewPassword("forge-token-1"))
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	w.git.Break(func(rw http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(rw, "we are down", http.StatusServiceUnavailable)
	})
	agent := w.agent()
	requires := func(path string, code int, text string) {
		t.Helper()
		gotCode, body := agent.get(path)
		require.Equal(t, code, gotCode)
		require.Equal(t, text+"\n", body)
	}

	w.eventually("it has asked twice", func() bool {
		_, metrics := agent.get("/metrics")
		return metric(metrics, `gitrota_polls_total{result="error"}`) >= 2
	})
	require.Equal(t, 1, strings.Count(agent.log(), "the repository cannot be read"), "and spoken of it once")
	requires("/healthz", http.StatusOK, "ok")
	requires("/readyz", http.StatusServiceUnavailable, "the repository was not read yet")
	w.git.Break(gittest.Cut)
	asked := w.git.Requests()
	w.eventually("it goes on asking when there is no answer at all", func() bool { return w.git.Requests() > asked })
	w.git.Break(nil)

	w.eventually("r is Successful", func() bool { return w.status("r").phase() == "Successful" })
	requires("/readyz", http.StatusOK, "ok")
	agent.requireIdle(0)
	_, metrics := agent.get("/metrics")
	for _, line := range []string{
		`gitrota_requests_ended\{phase="Successful"\} 1`,
		`gitrota_polls_total\{result="error"\} [1-9]`, `gitrota_polls_total\{result="success"\} [1-9]`, `gitrota_last_poll_success_timestamp_seconds 1`,
		`gitrota_rotations_running 0`, `gitrota_requests_unfinished 0`, `gitrota_journal_pending 0`, `gitrota_journal_oldest_age_seconds 0`, `gitrota_manifest_problems 0`, `gitrota_git_fallback_reads_total 0`,
		`gitrota_step_duration_seconds_count\{result="done",step="apply"\} 1`, `go_goroutines \d`, `process_open_fds \d`,
	} {
		require.Regexp(t, "(?m)^"+line, metrics)
	}
	for _, password := range []credential.Password{w.live("db").Password, w.previous("db").Password, credential.NewPassword("forge-token-1")} {
		for _, form := range credential.Forms(password) {
			require.NotContains(t, metrics, form)
		}
	}
	require.Equal(t, 0, agent.terminate())
}

func TestAnAgentThatIsToldToEndInARotationEndsAndTheNextOneGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	w.annotatePod("db", "stop-delay", "1h")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	agent := w.agent()
	w.eventually("its pod goes", func() bool { return strings.Contains(agent.log(), `step="evict db-0"`) })

	require.Equal(t, 0, agent.terminate())
	require.NotNil(t, w.pod("db").DeletionTimestamp, "the agent has ended, and did not wait for the pod")
	require.Equal(t, "Progressing", w.status("r").phase(), "what is known by then is written")
	require.Equal(t, 1, w.passwordChanges("db"))

	w.annotatePod("db", "stop-delay", "0s")
	require.Equal(t, 0, w.once())
	w.requireOneRotation("r")
}
