package mssqltest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// A Server is a running stand-in. Its methods may be called by several goroutines at once.
type Server struct {
	options     Options
	policy      passwordPolicy
	version     [4]byte
	listener    net.Listener
	certificate *tls.Certificate
	master      *master
	errors      *errorLog
	started     time.Time
	plan        faultPlan
	counters    counters

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu          sync.Mutex
	connections map[net.Conn]bool
	sessions    map[int]*session // by session id
	groups      []*Group
}

// Start starts a server and returns once it accepts connections. With an SAPassword that does not meet the policy, a
// first start fails with what SQL Server's setup says, as the container would.
func Start(options Options) (*Server, error) {
	o := options.withDefaults()
	version, err := parseVersion(o.Version)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options:     o,
		policy:      o.policy(),
		version:     version,
		started:     o.Now().UTC(),
		counters:    newCounters(),
		connections: map[net.Conn]bool{},
		sessions:    map[int]*session{},
	}
	s.plan.set(o.Faults)
	if s.errors, err = openErrorLog(o.DataDir); err != nil {
		return nil, fmt.Errorf("starting SQL Server stand-in: %w", err)
	}
	if s.master, err = openMaster(o.DataDir, s.setup); err != nil {
		return nil, errors.Join(fmt.Errorf("starting SQL Server stand-in: %w", err), s.errors.close())
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting SQL Server stand-in: %w", err), s.errors.close())
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if o.Group != nil {
		if err := o.Group.Join(s); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.log("spid26s", "SQL Server is now ready for client connections. This is an informational message; no user action is required.")
	s.running.Go(s.accept)
	return s, nil
}

// setup makes the catalog of a first start.
func (s *Server) setup() (*catalog, error) {
	password := s.options.SAPassword.Reveal()
	var refused *tsql.Error
	if errors.As(s.policy.check("sa", password), &refused) {
		text := "ERROR: Unable to set system administrator password: " + refused.Text + "."
		s.log("spid29s", text)
		return nil, errors.New(text)
	}
	return newCatalog(password, s.now()), nil
}

func (s *Server) listen() (err error) {
	if s.listener, err = net.Listen("tcp", s.options.Addr); err != nil {
		return err
	}
	if s.certificate = s.options.Certificate; s.certificate == nil {
		s.certificate, err = selfMade()
	}
	if err != nil {
		return errors.Join(err, s.listener.Close())
	}
	return nil
}

// accept serves connections until the listener is closed.
func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of file descriptors, say: some connection will end
			continue
		}
		if !s.remember(conn) {
			conn.Close()
			return
		}
		s.running.Go(func() {
			defer s.forget(conn)
			s.serve(conn)
		})
	}
}

// remember keeps conn for Close; it returns false where that has been called already.
func (s *Server) remember(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.connections[conn] = true
	return true
}

func (s *Server) forget(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, conn)
}

// Close ends all sessions, as killing the process would, and waits until everything it started has ended. What
// was answered before is in DataDir. Calling it again does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		s.running.Wait()
		return nil
	}
	s.cancel()
	for conn := range s.connections {
		conn.Close()
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.running.Wait()
	return errors.Join(err, s.errors.close())
}

// Addr is the address that the server listens on, as "127.0.0.1:40123".
func (s *Server) Addr() string { return s.listener.Addr().String() }

// CertificatePEM is the certificate that the server shows, for a client to trust.
func (s *Server) CertificatePEM() []byte { return chainPEM(s.certificate) }

// CertificateDER is that certificate alone, for a client to pin.
func (s *Server) CertificateDER() []byte { return s.certificate.Certificate[0] }

// SetFaults replaces the faults that are in force; what they have been applied to is counted from zero again. The
// zero value ends them.
func (s *Server) SetFaults(f Faults) { s.plan.set(f) }

// now is the server's time; its zone is UTC, as in a container.
func (s *Server) now() time.Time { return s.options.Now().UTC() }

func (s *Server) log(source, line string) {
	s.errors.write(s.now(), source, line)
	s.options.Log.Info(line, "source", source)
}

// notice is e as the client gets it.
func (s *Server) notice(e *tsql.Error) tds.Notice {
	return tds.Notice{Number: s.options.Flavour.number(e.Number), State: e.State, Class: e.Class, Text: e.Text, Server: s.options.ServerName, Line: max(e.Line, 1)}
}

// parseVersion turns "16.0.4175.1" into the four bytes of a login's answer.
func parseVersion(version string) (out [4]byte, err error) {
	parts := strings.Split(version, ".")
	if len(parts) < 3 {
		return out, fmt.Errorf("version %q is not of the form 16.0.4175.1", version)
	}
	var numbers [3]uint64
	for i := range numbers {
		if numbers[i], err = strconv.ParseUint(parts[i], 10, 16); err != nil {
			return out, fmt.Errorf("version %q is not of the form 16.0.4175.1: %w", version, err)
		}
	}
	return [4]byte{byte(numbers[0]), byte(numbers[1]), byte(numbers[2] >> 8), byte(numbers[2])}, nil
}
