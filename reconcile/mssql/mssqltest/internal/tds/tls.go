package tds

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// StrictProtocol is what a TDS 8.0 client and server agree on in the TLS handshake.
const StrictProtocol = "tds/8.0"

// HandshakeStrict starts TLS at once, as TDS 8.0 does, and stays in it.
func (c *Conn) HandshakeStrict(ctx context.Context, certificate *tls.Certificate) error {
	conn := tls.Server(c.socket, &tls.Config{
		Certificates: []tls.Certificate{*certificate},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{StrictProtocol},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	if conn.ConnectionState().NegotiatedProtocol != StrictProtocol {
		return fmt.Errorf("tds: client opened with TLS but did not ask for %s", StrictProtocol)
	}
	c.stream = conn
	return nil
}

// Handshake starts TLS inside TDS 7: the handshake travels in PRELOGIN packets, what follows on the bare socket.
func (c *Conn) Handshake(ctx context.Context, certificate *tls.Certificate) error {
	wrapped := &handshake{Conn: c.socket, wrapping: true}
	conn := tls.Server(wrapped, &tls.Config{
		Certificates: []tls.Certificate{*certificate},
		MinVersion:   tls.VersionTLS12,
		// A TLS 1.3 server sends tickets after the handshake, where neither side can tell whether they are wrapped.
		MaxVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	wrapped.wrapping = false
	c.stream = conn
	return nil
}

// EndTLS goes on in plain text, as TDS 7 does after a login for which encryption was off.
func (c *Conn) EndTLS() { c.stream = c.socket }

// handshake carries TLS records in PRELOGIN packets for as long as wrapping is set.
type handshake struct {
	net.Conn
	wrapping bool
	rest     int // bytes of the current packet that were not yet read
}

func (h *handshake) Read(p []byte) (int, error) {
	if !h.wrapping {
		return h.Conn.Read(p)
	}
	for h.rest == 0 {
		var header [headerSize]byte
		if _, err := io.ReadFull(h.Conn, header[:]); err != nil {
			return 0, err
		}
		size := int(binary.BigEndian.Uint16(header[2:]))
		if PacketType(header[0]) != PacketPrelogin || size < headerSize {
			return 0, fmt.Errorf("tds: packet of type %#x in the TLS handshake", header[0])
		}
		h.rest = size - headerSize
	}
	n, err := h.Conn.Read(p[:min(len(p), h.rest)])
	h.rest -= n
	return n, err
}

func (h *handshake) Write(p []byte) (int, error) {
	if !h.wrapping {
		return h.Conn.Write(p)
	}
	if _, err := h.Conn.Write(packets(PacketPrelogin, 0, DefaultPacketSize, p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
