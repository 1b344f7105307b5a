package gittest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshServer runs git for clients that come with the one key it accepts.
type sshServer struct {
	server   *Server
	listener net.Listener
	identity []byte // the client's private key in PEM
	allowed  ssh.PublicKey

	mu     sync.Mutex
	hosts  []ssh.Signer
	silent bool
	conns  map[net.Conn]struct{}
	wg     sync.WaitGroup
}

func startSSH(s *Server) (*sshServer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "gittest")
	if err != nil {
		return nil, err
	}
	client, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	host, err := newHostKey(ssh.KeyAlgoED25519)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	x := &sshServer{
		server: s, listener: counted{listener, &s.traffic}, hosts: []ssh.Signer{host},
		identity: pem.EncodeToMemory(block), allowed: client.PublicKey(),
		conns: map[net.Conn]struct{}{},
	}
	x.wg.Go(x.accept)
	return x, nil
}

func newHostKey(kind string) (ssh.Signer, error) {
	var private crypto.Signer
	var err error
	switch kind {
	case ssh.KeyAlgoRSA:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case ssh.KeyAlgoECDSA256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

// KnownHosts returns the lines of a known_hosts file for the server's present host keys.
func (s *Server) KnownHosts() string {
	var lines strings.Builder
	for _, key := range s.HostKeys() {
		lines.WriteString(knownhosts.Line([]string{s.SSHAddress()}, key) + "\n")
	}
	return lines.String()
}

// SSHAddress is where the SSH server listens, host:port.
func (s *Server) SSHAddress() string { return s.ssh.address() }

// HostKeys returns the server's present host keys.
func (s *Server) HostKeys() []ssh.PublicKey {
	s.ssh.mu.Lock()
	defer s.ssh.mu.Unlock()
	var keys []ssh.PublicKey
	for _, host := range s.ssh.hosts {
		keys = append(keys, host.PublicKey())
	}
	return keys
}

// NewHostKey makes the SSH server another one, as far as its clients can tell. It has one key of each of the types, or
// an Ed25519 key.
func (s *Server) NewHostKey(types ...string) {
	if len(types) == 0 {
		types = []string{ssh.KeyAlgoED25519}
	}
	var hosts []ssh.Signer
	for _, kind := range types {
		host, err := newHostKey(kind)
		s.must(err)
		hosts = append(hosts, host)
	}
	s.ssh.mu.Lock()
	defer s.ssh.mu.Unlock()
	s.ssh.hosts = hosts
}

// CutSSH closes every connection over SSH, as a restart or a firewall does.
func (s *Server) CutSSH() {
	s.ssh.mu.Lock()
	defer s.ssh.mu.Unlock()
	for conn := range s.ssh.conns {
		conn.Close()
	}
}

// SilenceSSH makes the SSH server accept connections and say nothing.
func (s *Server) SilenceSSH() {
	s.ssh.mu.Lock()
	defer s.ssh.mu.Unlock()
	s.ssh.silent = true
}

func (x *sshServer) address() string { return x.listener.Addr().String() }

func (x *sshServer) close() {
	x.listener.Close()
	x.mu.Lock()
	for conn := range x.conns {
		conn.Close()
	}
	x.mu.Unlock()
	x.wg.Wait()
}

func (x *sshServer) accept() {
	for {
		conn, err := x.listener.Accept()
		if err != nil {
			return
		}
		x.mu.Lock()
		x.conns[conn] = struct{}{}
		hosts, silent := x.hosts, x.silent
		x.mu.Unlock()
		x.wg.Go(func() {
			x.serve(conn, hosts, silent)
			conn.Close()
			x.mu.Lock()
			delete(x.conns, conn)
			x.mu.Unlock()
		})
	}
}

func (x *sshServer) serve(conn net.Conn, hosts []ssh.Signer, silent bool) {
	if silent {
		_, _ = io.Copy(io.Discard, conn)
		return
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), x.allowed.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	for _, host := range hosts {
		config.AddHostKey(host)
	}
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		x.wg.Go(func() { x.session(channel, requests) })
	}
}

// session runs the one command that a client asks for, if it is one of git's two services.
func (x *sshServer) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	env := gitEnv()
	for req := range requests {
		var variable struct{ Name, Value string }
		if req.Type == "env" && ssh.Unmarshal(req.Payload, &variable) == nil && variable.Name == "GIT_PROTOCOL" {
			x.server.mu.Lock()
			heard := !x.server.older
			x.server.mu.Unlock()
			if heard {
				env = append(env, variable.Name+"="+variable.Value)
			}
			_ = req.Reply(heard, nil)
			continue
		}
		var ask struct{ Command string }
		if req.Type != "exec" || ssh.Unmarshal(req.Payload, &ask) != nil {
			_ = req.Reply(false, nil)
			continue
		}
		_ = req.Reply(true, nil)
		go ssh.DiscardRequests(requests)
		status := struct{ Code uint32 }{x.run(channel, ask.Command, env)}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
}

func (x *sshServer) run(channel ssh.Channel, command string, env []string) uint32 {
	service, path, _ := strings.Cut(command, " ")
	if service != "git-upload-pack" && service != "git-receive-pack" {
		_, _ = io.WriteString(channel.Stderr(), "this server does nothing but git\n")
		return 1
	}
	repo := filepath.Join(x.server.dir, filepath.Clean("/"+strings.Trim(path, "'")))
	cmd := exec.Command("git", strings.TrimPrefix(service, "git-"), repo)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return 1
	}
	// Not cmd.Stdin: Wait would then wait for a client that keeps its side open.
	go func() {
		_, _ = io.Copy(stdin, channel)
		stdin.Close()
	}()
	if cmd.Wait() != nil {
		return 1
	}
	return 0
}
