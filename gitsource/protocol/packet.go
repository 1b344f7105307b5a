package protocol

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A packet is four hexadecimal digits of length, which count themselves, and the payload. Lengths below four mark the
// end of something.
const (
	flushPacket = "0000" // ends a message
	delimPacket = "0001" // ends a section of a message
	lengthSize  = 4
	maxPacket   = 65520
)

type kind int

const (
	data kind = iota
	flush
	delim
)

// ErrMalformed is in the errors about what is not the protocol.
var ErrMalformed = errors.New("the answer is not Git's protocol")

// ServerError is what a server says in place of an answer.
type ServerError struct{ Words string }

func (e *ServerError) Error() string { return "the server says: " + e.Words }

// maxWords bounds the words of a server.
const maxWords = 8000

func saidBy(words []byte) error {
	return &ServerError{Words: strings.TrimSpace(string(words[:min(len(words), maxWords)]))}
}

// packets reads packets one by one. It holds at most one of them, whatever the server sends.
type packets struct {
	from    io.Reader
	head    [lengthSize]byte
	payload []byte
}

// length reads the beginning of a packet and returns the size of its payload.
func (p *packets) length() (kind, int, error) {
	if _, err := io.ReadFull(p.from, p.head[:]); err != nil {
		// Every message ends with a mark: before it there is no good end.
		return 0, 0, unexpected(err)
	}
	n, err := strconv.ParseUint(string(p.head[:]), 16, 32)
	switch {
	case err != nil || n > maxPacket || n == 2 || n == 3:
		return 0, 0, fmt.Errorf("%w: a packet begins with %q", ErrMalformed, p.head[:])
	case n == 0:
		return flush, 0, nil
	case n == 1:
		return delim, 0, nil
	}
	return data, int(n) - lengthSize, nil
}

// next reads a packet. Its payload is valid until the next call.
func (p *packets) next() (kind, []byte, error) {
	k, n, err := p.length()
	if err != nil || k != data {
		return k, nil, err
	}
	if cap(p.payload) < n {
		p.payload = make([]byte, n)
	}
	p.payload = p.payload[:n]
	if _, err := io.ReadFull(p.from, p.payload); err != nil {
		return 0, nil, unexpected(err)
	}
	return data, p.payload, nil
}

// line reads a packet that is text, without its line break. A packet that begins with ERR is the server's last word.
func (p *packets) line() (kind, string, error) {
	k, payload, err := p.next()
	if err != nil || k != data {
		return k, "", err
	}
	text := strings.TrimSuffix(string(payload), "\n")
	if words, ok := strings.CutPrefix(text, "ERR "); ok {
		return 0, "", saidBy([]byte(words))
	}
	return data, text, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// request collects the packets of a request.
type request struct{ strings.Builder }

func (r *request) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(r, "%04x%s\n", len(text)+lengthSize+1, text)
}

// command begins a request. A server takes no option that it did not offer.
func (c Capabilities) command(name string) *request {
	r := &request{}
	r.line("command=%s", name)
	if c.Has("agent", "") {
		r.line("agent=git/gitrota")
	}
	if c.Has("object-format", "") {
		r.line("object-format=sha1")
	}
	r.WriteString(delimPacket)
	return r
}

func (r *request) end() []byte {
	r.WriteString(flushPacket)
	return []byte(r.String())
}
