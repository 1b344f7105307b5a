package gitsource

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/gitrota/gitrota/gitsource/protocol"
)

// sshWire runs a Git service on the remote over SSH, with the key and the host keys that it was given and nothing
// else: no agent, no ~/.ssh, no ssh_config, no proxy from the environment.
//
// A connection outlives the conversation that it was made for: the next one is a new session on it, and no handshake.
// It serves one conversation at a time, so that a context that ends, which closes it, ends no other.
type sshWire struct {
	auth    Auth
	dialer  dialer
	address string // host:port
	user    string
	path    string
	signer  ssh.Signer
	known   *knownhosts.HostKeyDB

	doubtAfter, proofWithin time.Duration // 0 means sshDoubtAfter and sshProofWithin

	mu      sync.Mutex
	idle    []*sshIdle
	retired bool // keeps no connection any more
}

// open starts the service, on a connection that is there if there is one. Closing the connection is what makes the
// context count: a session knows of none.
func (w *sshWire) open(ctx context.Context, of service) (conversation, error) {
	for client := w.take(ctx); client != nil; client = w.take(ctx) {
		if c, err := w.start(ctx, client, of, true); err == nil {
			return c, nil
		}
		// Whatever is wrong with it, the new connection will say better.
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	client, err := w.dial(ctx)
	if err != nil {
		return nil, brokenOff{err}
	}
	return w.start(ctx, client, of, false)
}

// start runs the service in a session of its own and reads what the server begins with. Afterwards the connection is
// the conversation's; after an error it is closed.
func (w *sshWire) start(ctx context.Context, client *ssh.Client, of service, kept bool) (conversation, error) {
	c := &sshConversation{wire: w, client: client, kept: kept, said: &syncHead{head: headOf{max: maxWords}}}
	c.stop = context.AfterFunc(ctx, func() { client.Close() })
	err := c.start(of, quote(w.path))
	if err == nil {
		c.hello, err = readGreeting(c.stdout, of, c.words)
	}
	if err != nil {
		c.broken = true
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *sshConversation) start(of service, path string) error {
	session, err := c.client.NewSession()
	if err != nil {
		return err
	}
	session.Stderr = c.said
	if c.stdin, err = session.StdinPipe(); err != nil {
		return err
	}
	stdout, err := session.StdoutPipe()
	if err != nil {
		return err
	}
	c.stdout = &watched{from: stdout, broken: &c.broken}
	c.session = session
	if of.v2 {
		// No answer is waited for: the greeting will tell.
		variable := struct{ Name, Value string }{"GIT_PROTOCOL", protocol.Version}
		if _, err := session.SendRequest("env", false, ssh.Marshal(variable)); err != nil {
			return err
		}
	}
	return session.Start(of.program + " " + path)
}

// quote makes one word of a path for the shell at the other end.
func quote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// sshConversation is one command on one connection.
type sshConversation struct {
	wire    *sshWire
	client  *ssh.Client
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  io.Reader
	said    *syncHead
	hello   *greeting
	stop    func() bool
	kept    bool
	asked   bool
	broken  bool // the connection cannot be used again
}

func (c *sshConversation) greeting() *greeting { return c.hello }

func (c *sshConversation) warm() bool { return c.kept }

func (c *sshConversation) ask(_ context.Context, request []byte) (io.Reader, error) {
	c.asked = true
	// A server that refuses may stop reading in the middle and say why: that is worth more than the broken pipe.
	if _, err := c.stdin.Write(request); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if c.hello.v2 != nil {
		return c.stdout, nil // there may be more to ask
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
	if c.stdin != nil && (!c.asked || c.hello.v2 != nil) {
		_, _ = io.WriteString(c.stdin, "0000") // a polite goodbye: nothing more is wanted
	}
	if c.session != nil {
		c.session.Close()
	}
	if c.stop() && !c.broken {
		c.wire.keep(c.client)
		return
	}
	c.client.Close()
}

// watched notes when reading fails.
type watched struct {
	from   io.Reader
	broken *bool
}

func (r *watched) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		*r.broken, err = true, brokenOff{err}
	}
	return n, err
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
