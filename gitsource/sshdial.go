package gitsource

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

func newSSHWire(to remote, auth Auth) (*sshWire, error) {
	signer, err := parseIdentity(auth)
	if err != nil {
		return nil, err
	}
	known, err := knownhosts.NewDB(auth.KnownHostsFile)
	if err != nil {
		return nil, fmt.Errorf("reading known_hosts of the Git credentials: %w", err)
	}
	trust, err := auth.tlsConfig()
	if err != nil {
		return nil, err
	}
	proxy, err := parseProxy(auth.Proxy)
	if err != nil {
		return nil, err
	}
	return &sshWire{
		auth:    auth,
		dialer:  dialer{proxy: proxy, trust: trust},
		address: net.JoinHostPort(to.host, to.portOr("22")),
		user:    to.user, path: to.path, signer: signer, known: known,
	}, nil
}

// secrets returns what must not come back in an error's text.
func (w *sshWire) secrets() []string { return w.auth.secrets() }

// retire lets go of the connections that nobody uses, and keeps none of the others once their conversations end.
func (w *sshWire) retire() {
	w.mu.Lock()
	w.retired = true
	w.mu.Unlock()
	w.forget()
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

// dial connects to the server and shakes hands. The context ends both, by closing the connection: the handshake knows of
// none. It does not end the client that dial returns.
func (w *sshWire) dial(ctx context.Context) (*ssh.Client, error) {
	conn, err := w.dialer.dial(ctx, w.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	client, err := w.shakeHands(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return client, nil
}

func (w *sshWire) shakeHands(conn net.Conn) (*ssh.Client, error) {
	var stranger *Error
	known := w.known.HostKeyCallback()
	handshake, channels, requests, err := ssh.NewClientConn(conn, w.address, &ssh.ClientConfig{
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
		return nil, stranger
	}
	if err != nil {
		return nil, w.refused(err)
	}
	return ssh.NewClient(handshake, channels, requests), nil
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
