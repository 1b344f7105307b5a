package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// sshWire runs a Git service on the remote over SSH, with the key and the host keys that it was given and nothing
// else: no agent, no ~/.ssh, no ssh_config, no proxy from the environment.
type sshWire struct {
	address string // host:port
	user    string
	path    string
	signer  ssh.Signer
	known   *knownhosts.HostKeyDB
}

func newSSHWire(to remote, auth Auth) (*sshWire, error) {
	signer, err := parseIdentity(auth)
	if err != nil {
		return nil, err
	}
	known, err := knownhosts.NewDB(auth.KnownHostsFile)
	if err != nil {
		return nil, fmt.Errorf("reading known_hosts of the Git credentials: %w", err)
	}
	return &sshWire{
		address: net.JoinHostPort(to.host, to.portOr("22")),
		user:    to.user, path: to.path, signer: signer, known: known,
	}, nil
}

// parseIdentity reads the private key. Its errors never quote the key.
func parseIdentity(auth Auth) (ssh.Signer, error) {
	pem := []byte(auth.Identity.Reveal())
	signer, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return signer, nil
	case !errors.As(err, &locked):
		return nil, errors.New("the key identity of the Git credentials is not an SSH private key in PEM")
	case auth.Password.IsZero():
		return nil, errors.New("the SSH identity of the Git credentials has a passphrase: put it under the key password")
	}
	if signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(auth.Password.Reveal())); err != nil {
		return nil, errors.New("the key password of the Git credentials is not the passphrase of the SSH identity")
	}
	return signer, nil
}

// open dials the server and starts the service. Closing the connection is what makes the context count: neither the
// handshake nor a session knows of contexts.
func (w *sshWire) open(ctx context.Context, service string) (conversation, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", w.address)
	if err != nil {
		return nil, err
	}
	c := &sshConversation{conn: conn, said: &syncHead{head: headOf{max: maxWords}}}
	c.stop = context.AfterFunc(ctx, func() { conn.Close() })

	if err := w.start(c, service); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (w *sshWire) start(c *sshConversation, service string) error {
	var stranger *Error
	known := w.known.HostKeyCallback()
	handshake, channels, requests, err := ssh.NewClientConn(c.conn, w.address, &ssh.ClientConfig{
		User:              w.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(w.signer)},
		HostKeyAlgorithms: w.known.HostKeyAlgorithms(w.address),
		HostKeyCallback: func(host string, at net.Addr, key ssh.PublicKey) error {
			err := known(host, at, key)
			if err != nil {
				stranger = w.unknownHost(key, err)
			}
			return err
		},
	})
	if stranger != nil {
		return stranger
	}
	if err != nil {
		return w.refused(err)
	}
	c.client = ssh.NewClient(handshake, channels, requests)
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

// refused explains why a handshake failed.
func (w *sshWire) refused(err error) error {
	var none *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &none) && none.What == "host key":
		return &Error{Kind: ErrHostKey, Detail: fmt.Sprintf("%s offers keys of the types %s only, and known_hosts has %s; %s",
			w.address, strings.Join(none.RequestedAlgorithms, ", "), w.pinned(), w.howToTrust())}
	case strings.Contains(err.Error(), "unable to authenticate"):
		return &Error{Kind: ErrAuth, Detail: fmt.Sprintf("%s does not accept the SSH key %s for the user %s: add it there, "+
			"with the right to write", w.address, ssh.FingerprintSHA256(w.signer.PublicKey()), w.user)}
	}
	return err
}

// unknownHost describes a host key that is not the one on file.
func (w *sshWire) unknownHost(key ssh.PublicKey, err error) *Error {
	offered := fmt.Sprintf("%s offers the %s key %s", w.address, key.Type(), ssh.FingerprintSHA256(key))
	var revoked *xknownhosts.RevokedError
	if errors.As(err, &revoked) {
		return &Error{Kind: ErrHostKey, Detail: offered + ", which known_hosts revokes"}
	}
	return &Error{Kind: ErrHostKey, Detail: fmt.Sprintf("%s, and known_hosts has %s; %s", offered, w.pinned(), w.howToTrust())}
}

// pinned lists what known_hosts has for the server.
func (w *sshWire) pinned() string {
	var keys []string
	for _, key := range w.known.HostKeys(w.address) {
		keys = append(keys, key.Type()+" "+ssh.FingerprintSHA256(key))
	}
	slices.Sort(keys)
	if len(keys) == 0 {
		return "none for this host"
	}
	return strings.Join(keys, ", ")
}

func (w *sshWire) howToTrust() string {
	host, port, _ := net.SplitHostPort(w.address)
	return fmt.Sprintf("if the server's owner confirms that key, put the line of ssh-keyscan -p %s %s into known_hosts", port, host)
}

// quote makes one word of a path for the shell at the other end.
func quote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// sshConversation is one command on one connection.
type sshConversation struct {
	conn    net.Conn
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
	if c.client != nil {
		c.client.Close()
	}
	c.conn.Close()
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
