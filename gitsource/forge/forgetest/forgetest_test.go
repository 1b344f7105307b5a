package forgetest

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// helperEnv makes the test binary the program that is killed.
const helperEnv = "FORGETEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "" {
		os.Exit(m.Run())
	}
	f, err := Up(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println("up " + f.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
	panic("told to")
}

func TestNothingIsLeftBehindHoweverAProgramEnds(t *testing.T) {
	for name, end := range map[string]func(*exec.Cmd, io.Closer){
		"killed":   func(cmd *exec.Cmd, _ io.Closer) { _ = cmd.Process.Kill() },
		"panicked": func(_ *exec.Cmd, stdin io.Closer) { _ = stdin.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			tmp, err := os.MkdirTemp("", "forgetest-") // which anybody may enter, unlike a test's own folder
			require.NoError(t, err)
			require.NoError(t, os.Chmod(tmp, 0o755))
			t.Cleanup(func() { _ = os.RemoveAll(tmp) })
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), helperEnv+"=1", "TMPDIR="+tmp)
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			var url string
			for lines := bufio.NewScanner(stdout); url == "" && lines.Scan(); {
				url, _ = strings.CutPrefix(lines.Text(), "up ")
			}
			require.True(t, strings.HasPrefix(url, "http://127.0.0.1:"), url)
			require.Equal(t, "devforge", folders(t, tmp))

			end(cmd, stdin)
			_ = cmd.Wait()
			require.Eventually(t, func() bool { return folders(t, tmp) == "" && !listens(url) }, downTimeout, 50*time.Millisecond)
		})
	}
}

func TestDownEndsTheForge(t *testing.T) {
	f, err := Up(t.Context())
	require.NoError(t, err)
	require.True(t, listens(f.URL))
	require.NoError(t, f.Down())
	require.False(t, listens(f.URL))
	require.NoError(t, f.Down(), "a second time")
}

func TestAWebhookComesSigned(t *testing.T) {
	type call struct{ event, signature, body string }
	calls := make(chan call, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls <- call{r.Header.Get("X-Gitea-Event"), r.Header.Get("X-Gitea-Signature"), string(body)}
	}))
	t.Cleanup(server.Close)
	f := Start(t)
	repo := f.NewRepo(t, f.User(t, "acme"), RepoOptions{Protected: true, RequiredApprovals: 1, Writers: []*User{f.User(t, "alice")}})
	repo.Webhook(t, server.URL, "a secret")
	head := repo.Push(t, f.User(t, "alice"), "rotate", map[string]string{"a.yaml": "a: 1\n"}, "rotate")
	select {
	case got := <-calls:
		require.Equal(t, "push", got.event)
		require.Contains(t, got.body, head)
		mac := hmac.New(sha256.New, []byte("a secret"))
		mac.Write([]byte(got.body))
		require.Equal(t, hex.EncodeToString(mac.Sum(nil)), got.signature)
	case <-time.After(patience):
		require.Fail(t, "no webhook came")
	}
}

// folders names what is in a folder, without the part that makes it unique.
func folders(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		name, _, _ := strings.Cut(entry.Name(), "-")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func listens(url string) bool {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}
