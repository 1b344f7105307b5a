package gittest

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// SSHFault is what goes wrong with a push over SSH, once the client has begun to send it.
type SSHFault int

// The faults. The zero value is none.
const (
	LoseSSHAnswer  SSHFault = iota + 1 // do what was asked for, and close the connection in place of the answer
	StallSSHAnswer                     // do what was asked for, and say nothing any more
	CutSSHPush                         // close the connection in the middle of what the client sends
)

// BreakSSH puts a fault before every push over SSH; 0 heals it.
func (s *Server) BreakSSH(fault SSHFault) {
	s.ssh.mu.Lock()
	defer s.ssh.mu.Unlock()
	s.ssh.fault = fault
}

// pushFault is a fault at work on one push.
type pushFault struct {
	kind  SSHFault
	began atomic.Bool // the client has begun to send
}

func (x *sshServer) faultOf(service string) *pushFault {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fault == 0 || service != "git-receive-pack" {
		return nil
	}
	return &pushFault{kind: x.fault}
}

// on returns what git reads from and writes to in place of the client.
func (f *pushFault) on(conn net.Conn, client io.ReadWriter) (io.Reader, io.Writer) {
	return readerFunc(func(p []byte) (int, error) {
			n, err := client.Read(p)
			if n > 0 && !f.began.Swap(true) && f.kind == CutSSHPush {
				conn.Close()
				return n / 2, errors.New("the connection is cut")
			}
			return n, err
		}), writerFunc(func(p []byte) (int, error) {
			if f.began.Load() {
				return len(p), nil
			}
			return client.Write(p)
		})
}

// end is called when git has done its work.
func (f *pushFault) end(conn net.Conn, done <-chan struct{}) {
	if !f.began.Load() {
		return // the client has asked for nothing
	}
	if f.kind == StallSSHAnswer {
		<-done
	}
	conn.Close()
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
