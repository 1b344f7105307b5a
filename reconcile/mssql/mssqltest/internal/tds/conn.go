package tds

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A PacketType is the first byte of a packet's header (2.2.3.1.1).
type PacketType byte

// The packet types that a client sends, and Reply, which the server answers with.
const (
	PacketBatch       PacketType = 0x01
	PacketRPC         PacketType = 0x03
	PacketReply       PacketType = 0x04
	PacketAttention   PacketType = 0x06
	PacketTransaction PacketType = 0x0E
	PacketLogin       PacketType = 0x10
	PacketPrelogin    PacketType = 0x12
)

const (
	headerSize        = 8
	statusEOM         = 0x01
	statusReset       = 0x08
	statusResetKeepTx = 0x10

	// DefaultPacketSize is in force until the login has agreed on another.
	DefaultPacketSize = 4096
	minPacketSize     = 512
	maxPacketSize     = 32767

	// MaxMessage caps one request. Nothing that rotates a password comes near it.
	MaxMessage = 16 << 20

	// writeTimeout ends a session whose client does not read its answers.
	writeTimeout = 30 * time.Second
)

// ErrMessageTooLong says that a client sent a request of more than MaxMessage bytes.
var ErrMessageTooLong = errors.New("tds: request is longer than 16 MiB")

// A Message is one request, its packets joined.
type Message struct {
	Type  PacketType
	Reset bool // the session is to be reset first, as a pool asks before it hands the connection out again
	Data  []byte
}

// Conn frames messages on a connection. One goroutine may read while another writes.
type Conn struct {
	socket     *socket  // the network, with what was peeked from it
	stream     net.Conn // what packets travel over: the socket, or TLS on it
	packetSize int
	spid       uint16
}

// NewConn frames messages on c.
func NewConn(c net.Conn) *Conn {
	s := &socket{Conn: c, buffered: bufio.NewReader(c)}
	return &Conn{socket: s, stream: s, packetSize: DefaultPacketSize}
}

// socket is a network connection from which one can peek.
type socket struct {
	net.Conn
	buffered *bufio.Reader
}

func (s *socket) Read(p []byte) (int, error) { return s.buffered.Read(p) }

// StartsWithTLS waits for the client's first byte and reports whether it opens a TLS handshake, as in TDS 8.0.
func (c *Conn) StartsWithTLS() (bool, error) {
	first, err := c.socket.buffered.Peek(1)
	if err != nil {
		return false, err
	}
	return first[0] == 0x16, nil
}

// SetPacketSize sets the size of the packets that are sent, bounded to what TDS allows, and returns it.
func (c *Conn) SetPacketSize(size uint32) int {
	c.packetSize = int(min(max(size, minPacketSize), maxPacketSize))
	return c.packetSize
}

// SetSPID sets the session id that the server's packets carry.
func (c *Conn) SetSPID(spid uint16) { c.spid = spid }

// Read returns the next message.
func (c *Conn) Read() (Message, error) {
	var m Message
	for first := true; ; first = false {
		var header [headerSize]byte
		if _, err := io.ReadFull(c.stream, header[:]); err != nil {
			return Message{}, err
		}
		size := int(binary.BigEndian.Uint16(header[2:])) - headerSize
		if size < 0 {
			return Message{}, fmt.Errorf("tds: packet says that it is %d bytes long", size+headerSize)
		}
		kind, status := PacketType(header[0]), header[1]
		if first {
			m.Type, m.Reset = kind, status&(statusReset|statusResetKeepTx) != 0
		} else if m.Type != kind {
			return Message{}, fmt.Errorf("tds: packet of type %#x inside a message of type %#x", kind, m.Type)
		}
		if len(m.Data)+size > MaxMessage {
			return Message{}, ErrMessageTooLong
		}
		start := len(m.Data)
		m.Data = append(m.Data, make([]byte, size)...)
		if _, err := io.ReadFull(c.stream, m.Data[start:]); err != nil {
			return Message{}, err
		}
		if status&statusEOM != 0 {
			return m, nil
		}
	}
}

// Reply sends data as one answer.
func (c *Conn) Reply(data []byte) error {
	if err := c.socket.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.stream.Write(packets(PacketReply, c.spid, c.packetSize, data))
	return err
}

// packets cuts data into packets of at most size bytes.
func packets(kind PacketType, spid uint16, size int, data []byte) []byte {
	room := size - headerSize
	out := make([]byte, 0, len(data)+headerSize*(len(data)/room+1))
	for id := byte(1); ; id++ {
		part := data[:min(room, len(data))]
		data = data[len(part):]
		var status byte
		if len(data) == 0 {
			status = statusEOM
		}
		out = append(out, byte(kind), status)
		out = binary.BigEndian.AppendUint16(out, uint16(len(part)+headerSize))
		out = binary.BigEndian.AppendUint16(out, spid)
		out = append(out, id, 0)
		out = append(out, part...)
		if len(data) == 0 {
			return out
		}
	}
}
