// Package gittest is a real Git server for tests and demos: bare repositories in a folder, served by git itself over
// HTTP (git http-backend) and SSH, with the ways in which a forge can be in the way: logins, TLS with a CA of its own,
// hooks that refuse, and faults. It listens on 127.0.0.1 only and needs the git binary.
//
// The people who work with a repository are played by [Repo], whose every action is a real git command in a clone.
// Their git is told nothing by the machine's own configuration.
//
// A method that cannot do its work fails the test; without a test, it panics.
package gittest

import (
	"crypto/subtle"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// TB is what a server needs of a *testing.T.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Options says how the server wants to be talked to. The zero value is plain HTTP that lets everybody in.
type Options struct {
	Username, Password string     // HTTP basic authentication, if there is a Username
	BearerToken        string     // HTTP bearer authentication, if not ""
	GitHubApp          *GitHubApp // HTTP basic authentication with this App's tokens, if not nil
	ClientCert         bool       // with TLS: only for clients that show the certificate of AuthDir
	TLS                bool       // HTTPS, with a certificate of the server's own CA
	SSH                bool       // SSH as well
}

// Server serves the repositories in one folder. It is safe for concurrent use.
type Server struct {
	URL string // http://127.0.0.1:port or https://127.0.0.1:port

	dir    string
	opts   Options
	http   *httptest.Server
	ssh    *sshServer
	client clientCert // with Options.ClientCert
	fail   func(format string, args ...any)
	done   chan struct{}

	traffic counters

	mu       sync.Mutex
	fault    Fault
	requests int
	last     []func() // run by Close
	older    bool
}

// NewServer starts a server that ends with the test.
func NewServer(t TB, opts Options) *Server {
	t.Helper()
	s, err := start(t.TempDir(), opts, t.Fatalf)
	if err != nil {
		t.Fatalf("starting a Git server: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a server that keeps its repositories in dir, until Close.
func Start(dir string, opts Options) (*Server, error) {
	return start(dir, opts, func(format string, args ...any) { panic(fmt.Sprintf(format, args...)) })
}

func start(dir string, opts Options, fail func(string, ...any)) (*Server, error) {
	programs, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("asking git where its programs are: %w", err)
	}
	s := &Server{dir: dir, opts: opts, fail: fail, done: make(chan struct{})}
	backend := &cgi.Handler{
		// Not by way of git, which would be one more process for every request.
		Path: filepath.Join(strings.TrimSpace(string(programs)), "git-http-backend"),
		Env:  append(gitEnv(), "GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=served"),
		// Where git says that a client went away.
		Stderr: discard{},
	}
	s.http = httptest.NewUnstartedServer(s.guard(backend))
	s.http.Listener = counted{s.http.Listener, &s.traffic}
	if opts.ClientCert {
		if s.client, s.http.TLS, err = newClientCert(); err != nil {
			return nil, err
		}
	}
	if opts.TLS {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	s.URL = s.http.URL
	if opts.SSH {
		if s.ssh, err = startSSH(s); err != nil {
			s.http.Close()
			return nil, err
		}
	}
	return s, nil
}

// Close ends the server and every connection to it.
func (s *Server) Close() {
	close(s.done)
	if s.ssh != nil {
		s.ssh.close()
	}
	s.http.CloseClientConnections()
	s.http.Close()
	for _, do := range s.last {
		do()
	}
}

func (s *Server) atEnd(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = append(s.last, do)
}

// Requests returns how many HTTP requests have come in.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// SpeakOlder makes the server speak the older versions of Git's protocol only, as one does that does not know of
// version 2, or does not hear of it.
func (s *Server) SpeakOlder() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.older = true
}

// CA returns the PEM certificate that a client must trust to talk to a server with TLS.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// AuthDir writes what a client needs into a new folder, laid out like a mounted Secret: username, password,
// bearerToken, the keys of a GitHub App, tls.crt, tls.key and ca.crt for HTTP, or identity and known_hosts for SSH. It returns the folder, "" when nothing is
// needed.
func (s *Server) AuthDir(overSSH bool) string {
	values := map[string]string{}
	switch {
	case overSSH:
		values["identity"], values["known_hosts"] = string(s.ssh.identity), s.KnownHosts()
	case s.opts.BearerToken != "":
		values["bearerToken"] = s.opts.BearerToken
	case s.opts.Username != "":
		values["username"], values["password"] = s.opts.Username, s.opts.Password
	}
	if app := s.opts.GitHubApp; app != nil && !overSSH {
		values["githubAppID"], values["githubAppInstallationID"] = app.ID, app.Installation
		values["githubAppPrivateKey"], values["githubAppBaseURL"] = app.PrivateKey(), app.URL
	}
	if s.opts.TLS && !overSSH {
		values["ca.crt"] = string(s.CA())
	}
	if s.opts.ClientCert && !overSSH {
		values["tls.crt"], values["tls.key"] = s.client.cert, s.client.key
	}
	if len(values) == 0 {
		return ""
	}
	dir, err := os.MkdirTemp(s.dir, ".auth-")
	s.must(err)
	for key, value := range values {
		s.must(os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600))
	}
	return dir
}

// guard counts, checks the login, and lets the fault have its way.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		fault, older := s.fault, s.older
		s.mu.Unlock()
		if older {
			r.Header.Del("Git-Protocol")
		}
		if !s.letIn(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "bad credentials", http.StatusUnauthorized)
			return
		}
		if fault != nil {
			fault(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ChangePassword makes the password of Options another one.
func (s *Server) ChangePassword(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Password = password
}

func (s *Server) letIn(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	if s.opts.GitHubApp != nil {
		user, password, _ := r.BasicAuth()
		return user == "x-access-token" && s.opts.GitHubApp.valid(password)
	}
	if s.opts.BearerToken != "" {
		return same(r.Header.Get("Authorization"), "Bearer "+s.opts.BearerToken)
	}
	if s.opts.Username != "" {
		user, password, _ := r.BasicAuth()
		return same(user, s.opts.Username) && same(password, s.opts.Password)
	}
	return true
}

func (s *Server) must(err error) {
	if err != nil {
		s.fail("the Git server of the test: %v", err)
	}
}

// gitEnv is the environment of every git process: nothing of this machine's configuration, and a fixed identity.
func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Dana DBA", "GIT_AUTHOR_EMAIL=dana@example.com",
		"GIT_COMMITTER_NAME=Dana DBA", "GIT_COMMITTER_EMAIL=dana@example.com",
	}
}

// Command prepares a git command in dir, which is told nothing by the machine's own configuration.
func Command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, gitEnv()
	return cmd
}

// git runs one git command in dir and returns its output without the last line break.
func (s *Server) git(dir string, env []string, args ...string) string {
	out, err := s.tryGit(dir, env, args...)
	if err != nil {
		s.fail("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// tryGit is git for a command that may fail.
func (s *Server) tryGit(dir string, env []string, args ...string) (string, error) {
	cmd := Command(dir, args...)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
