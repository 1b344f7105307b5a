package mssqltest

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
)

// serve takes a connection from its first byte to its end.
func (s *Server) serve(raw net.Conn) {
	faults := s.plan.get()
	if faults.RefuseConnections {
		if tcp, ok := raw.(*net.TCPConn); ok {
			tcp.SetLinger(0) // so that the client gets a reset, not an orderly end
		}
		return
	}
	if faults.Silent {
		io.Copy(io.Discard, raw)
		return
	}
	raw = &distant{Conn: raw, server: s}
	raw.SetDeadline(time.Now().Add(handshakeDeadline))
	conn := tds.NewConn(raw)
	encrypted, loginOnly, err := s.negotiate(conn)
	if err != nil {
		s.options.Log.Debug("connection ended before its login", "client", raw.RemoteAddr(), "err", err)
		return
	}
	request, err := readLogin(conn)
	if err != nil {
		s.options.Log.Debug("connection ended before its login", "client", raw.RemoteAddr(), "err", err)
		return
	}
	if loginOnly {
		conn.EndTLS()
	}
	session := s.logon(conn, request, client{addr: raw.RemoteAddr(), encrypted: encrypted && !loginOnly})
	if session == nil {
		return
	}
	defer s.end(session)
	raw.SetDeadline(time.Time{})
	session.run(raw)
}

// negotiate agrees on encryption. loginOnly says that it ends with the login.
func (s *Server) negotiate(conn *tds.Conn) (encrypted, loginOnly bool, err error) {
	strict, err := conn.StartsWithTLS()
	if err != nil {
		return false, false, err
	}
	if strict {
		if err := conn.HandshakeStrict(s.ctx, s.certificate); err != nil {
			return false, false, err
		}
	}
	m, err := conn.Read()
	if err != nil {
		return false, false, err
	}
	if m.Type != tds.PacketPrelogin {
		return false, false, fmt.Errorf("message of type %#x in place of a PRELOGIN", m.Type)
	}
	asked, err := tds.ParsePrelogin(m.Data)
	if err != nil {
		return false, false, err
	}
	answer := s.options.Encryption.answer(asked)
	if strict {
		answer = tds.EncryptOn
	}
	if err := conn.Reply(tds.Prelogin(s.version, answer)); err != nil || strict {
		return strict, false, err
	}
	if answer == tds.EncryptNotSupported {
		return false, false, nil
	}
	// A client that was told that encryption is required and has none ends the connection, and so the handshake.
	return true, answer == tds.EncryptOff, conn.Handshake(s.ctx, s.certificate)
}

// answer is what a server with this option says to a client that asks for asked (2.2.6.5).
func (e Encryption) answer(asked tds.Encryption) tds.Encryption {
	wanted := asked == tds.EncryptOn || asked == tds.EncryptRequired
	switch {
	case e == EncryptionUnsupported:
		return tds.EncryptNotSupported
	case wanted:
		return tds.EncryptOn
	case e == EncryptionForced:
		return tds.EncryptRequired
	default:
		return asked // off or not supported
	}
}

func readLogin(conn *tds.Conn) (tds.Login, error) {
	m, err := conn.Read()
	if err != nil {
		return tds.Login{}, err
	}
	if m.Type != tds.PacketLogin {
		return tds.Login{}, fmt.Errorf("message of type %#x in place of a LOGIN7", m.Type)
	}
	return tds.ParseLogin(m.Data)
}
