package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

const upUsage = `devforge up

Standard output gets one line when the forge is ready: ready url=URL admin=NAME token=TOKEN
The token may do everything. Standard error gets what Gitea says.

It listens on 127.0.0.1 alone, keeps everything in a folder of its own, and is there until its standard input ends, or
until SIGINT or SIGTERM: then it ends Gitea and removes the folder. However a program dies that started it with a pipe
for standard input, nothing is left behind. As root, it runs Gitea, which refuses to be root, as nobody.
`

// startTimeout is how long Gitea may take to start. It takes two seconds on an idle machine.
const startTimeout = 3 * time.Minute

// up runs a forge until it is told to end, and returns the exit status.
func up(args []string) int {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), upUsage) }
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || flags.NArg() > 0 {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := serve(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "devforge:", err)
		return 1
	}
	return 0
}

// serve runs Gitea until ctx ends.
func serve(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "devforge-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Gitea is given a socket that listens already: no other program can take its port, and nobody has to wait for it.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer socket.Close()
	as, err := unprivileged()
	if err != nil {
		return err
	}
	if err := install(dir, listener.Addr().(*net.TCPAddr).Port, as); err != nil {
		return fmt.Errorf("preparing the folder of Gitea: %w", err)
	}

	// The kernel ends Gitea when the thread ends that started it.
	runtime.LockOSThread()
	web := command(dir, as, "web")
	web.ExtraFiles = []*os.File{socket}
	web.Env = append(web.Env, "LISTEN_FDS=1")
	web.Stdout, web.Stderr = os.Stderr, os.Stderr
	if err := web.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- web.Wait() }()
	defer func() {
		_ = syscall.Kill(-web.Process.Pid, syscall.SIGKILL) // with the git processes that it has started
		<-ended
	}()

	url := "http://" + listener.Addr().String()
	token, err := makeReady(ctx, dir, as, url, ended)
	if err != nil {
		return err
	}
	fmt.Printf("ready url=%s admin=%s token=%s\n", url, admin, token)
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		ended <- nil // for the one who waits at the end
		return fmt.Errorf("gitea has ended: %v", err)
	}
}

// command is one of Gitea's, in a process group of its own.
func command(dir string, as *syscall.Credential, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(dir, "devforge"), append(args, "--config", filepath.Join(dir, "app.ini"))...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "USER=" + username(as), "GITEA_WORK_DIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: as}
	return cmd
}

const admin = "forgeadmin"

var tokens = regexp.MustCompile(`Access token was successfully created\.\.\. (\w+)`)

// makeReady waits until Gitea answers, makes the administrator, and returns its token.
func makeReady(ctx context.Context, dir string, as *syscall.Credential, url string, ended chan error) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	go func() {
		select {
		case err := <-ended:
			ended <- err
			cancel()
		case <-ctx.Done():
		}
	}()
	for !healthy(ctx, url) {
		select {
		case <-ctx.Done():
			return "", errors.New("gitea did not start")
		case <-time.After(50 * time.Millisecond):
		}
	}
	create := command(dir, as, "admin", "user", "create", "--admin", "--username", admin, "--email", admin+"@example.com",
		"--password", rand.Text(), "--must-change-password=false", "--access-token", "--access-token-scopes", "all")
	said, err := create.CombinedOutput()
	token := tokens.FindSubmatch(said)
	if err != nil || token == nil {
		return "", fmt.Errorf("making the administrator: %w: %s", err, said)
	}
	return string(token[1]), nil
}

func healthy(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/healthz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}
