package gitsource

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// sshWire runs a Git service on the remote over SSH, with the key and the host keys that it was given and nothing
// else: no agent, no ~/.ssh, no ssh_config, no proxy from the environment.
type sshWire struct {
	auth    Auth
	dialer  dialer
	address string // host:port
	user    string
	path    string
	signer  ssh.Signer
	known   *knownhosts.HostKeyDB
}

// open dials the server and starts the service. Closing the connection is what makes the context count: a session knows
// of none.
func (w *sshWire) open(ctx context.Context, service string) (conversation, error) {
	client, err := w.dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &sshConversation{client: client, said: &syncHead{head: headOf{max: maxWords}}}
	c.stop = context.AfterFunc(ctx, func() { client.Close() })

	if err := w.start(c, service); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (w *sshWire) start(c *sshConversation, service string) error {
	session, err := c.client.NewSession()
	if err != nil {
		return err
	}
	session.Stderr = c.said
	if c.stdin, err = session.StdinPipe(); err != nil {
		return err
	}
	if c.stdout, err = session.StdoutPipe(); err != nil {
		return err
	}
	c.session = session
	return session.Start(service + " " + quote(w.path))
}

// quote makes one word of a path for the shell at the other end.
func quote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// sshConversation is one command on one connection.
type sshConversation struct {
	client  *ssh.Client
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  io.Reader
	said    *syncHead
	stop    func() bool
	asked   bool
}

func (c *sshConversation) advertisement() io.Reader { return c.stdout }

func (c *sshConversation) ask(_ context.Context, request []byte) (io.Reader, error) {
	c.asked = true
	// A server that refuses may stop reading in the middle and say why: that is worth more than the broken pipe.
	if _, err := c.stdin.Write(request); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := c.stdin.Close(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return c.stdout, nil
}

// words waits for the command to end, so that what it said is complete. It is called when the protocol broke off.
func (c *sshConversation) words() string {
	c.stdin.Close()
	_, _ = io.Copy(io.Discard, c.stdout)
	_ = c.session.Wait()
	return c.said.String()
}

func (c *sshConversation) close() {
	if c.stdin != nil && !c.asked {
		_, _ = io.WriteString(c.stdin, "0000") // a polite goodbye: nothing is wanted
	}
	c.client.Close()
	c.stop()
}

// refusal sorts what a server says instead of speaking Git.
func refusal(words string) error {
	lower := strings.ToLower(words)
	for _, missing := range []string{"not found", "does not exist", "not appear to be a git repository", "could not be found", "no such"} {
		if strings.Contains(lower, missing) {
			return &Error{Kind: ErrRepositoryNotFound, Server: words}
		}
	}
	for _, denied := range []string{"denied", "not allowed", "read only", "read-only", "unauthorized", "not permitted"} {
		if strings.Contains(lower, denied) {
			return &Error{Kind: ErrAuth, Server: words}
		}
	}
	return &Error{Kind: ErrRejected, Server: words}
}

// syncHead is a headOf that one goroutine may write while another reads it.
type syncHead struct {
	mu   sync.Mutex
	head headOf
}

func (s *syncHead) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head.Write(p)
}

func (s *syncHead) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.head.text)
}
