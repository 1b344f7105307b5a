// Package protocol has the messages of version 2 of Git's wire protocol, as far as reading one branch needs them: what
// a server can do, the commands ls-refs and fetch, and their answers. It knows nothing of connections: requests are
// bytes, answers are read from an [io.Reader].
//
// Version 2 is what makes a poll cheap. In the older versions, which are go-git's (package packp), a server begins
// every conversation with a list of all its references; here the client speaks first and asks for one.
//
// An answer may come from anybody. Whatever it holds, reading it neither panics nor takes memory that grows with what
// the server claims.
package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Version asks a server for version 2, in the HTTP header Git-Protocol or in the environment variable GIT_PROTOCOL.
const Version = "version=2"

// ErrOlder says that the server answers in an older version of the protocol.
var ErrOlder = errors.New("the server does not speak version 2 of Git's protocol")

// maxCapabilities bounds what a server may be able to do.
const maxCapabilities = 256

// Capabilities is what a server can do: commands and options, and what it says about each.
type Capabilities map[string]string

// Has reports whether the server has a command, and that with a feature, unless feature is "".
func (c Capabilities) Has(command, feature string) bool {
	value, ok := c[command]
	if !ok || feature == "" {
		return ok
	}
	for word := range strings.FieldsSeq(value) {
		if word == feature {
			return true
		}
	}
	return false
}

// SHA1 reports whether the server names objects by their SHA-1, as it does unless it says otherwise.
func (c Capabilities) SHA1() bool {
	format, ok := c["object-format"]
	return !ok || format == "sha1"
}

// ReadCapabilities reads the beginning of a conversation, with or without the line that a server over HTTP begins
// with. Where the server speaks an older version, the error is ErrOlder, and from is at the beginning of its list of
// references.
func ReadCapabilities(from *bufio.Reader) (Capabilities, error) {
	if err := skipService(from); err != nil {
		return nil, err
	}
	// No more may be waited for than what an older server is certain to send: that is a mark of four bytes at least,
	// and a line that is longer than this one if there is a line.
	const hello = "000eversion 2\n"
	if start, err := from.Peek(lengthSize); err != nil {
		return nil, unexpected(err)
	} else if !bytes.Equal(start, []byte(hello[:lengthSize])) {
		return nil, ErrOlder
	}
	if start, err := from.Peek(len(hello)); err != nil {
		return nil, unexpected(err)
	} else if string(start) != hello {
		return nil, ErrOlder
	}
	_, _ = from.Discard(len(hello))
	p := &packets{from: from}
	all := Capabilities{}
	for {
		switch k, line, err := p.line(); {
		case err != nil:
			return nil, err
		case k == flush:
			return all, nil
		case k == delim || len(all) >= maxCapabilities:
			return nil, fmt.Errorf("%w: the list of capabilities does not end", ErrMalformed)
		default:
			name, value, _ := strings.Cut(line, "=")
			all[name] = value
		}
	}
}

// skipService skips "# service=git-upload-pack" and the mark after it.
func skipService(from *bufio.Reader) error {
	// A server without references may send one mark, and then wait.
	if start, err := from.Peek(lengthSize); err != nil {
		return unexpected(err)
	} else if string(start) == flushPacket {
		return nil
	}
	if start, err := from.Peek(lengthSize + 1); err != nil || start[lengthSize] != '#' {
		return nil
	}
	p := &packets{from: from}
	if _, _, err := p.next(); err != nil {
		return err
	}
	if mark, err := from.Peek(lengthSize); err == nil && string(mark) == flushPacket {
		_, _ = from.Discard(lengthSize)
	}
	return nil
}

// ListRefs asks for the references whose names begin with prefix. There may be longer ones beside the one that is
// meant.
func (c Capabilities) ListRefs(prefix string) []byte {
	r := c.command("ls-refs")
	if prefix != "" {
		r.line("ref-prefix %s", prefix)
	}
	return r.end()
}

// ReadRefs reads the answer to [Capabilities.ListRefs] and calls each with every reference, until each returns false: then the
// rest of the answer is left unread.
func ReadRefs(from io.Reader, each func(name string, hash plumbing.Hash) bool) error {
	p := &packets{from: from}
	for {
		k, line, err := p.line()
		switch {
		case err != nil:
			return err
		case k == flush:
			return nil
		case k == delim:
			return fmt.Errorf("%w: a list of references in sections", ErrMalformed)
		}
		hash, rest, _ := strings.Cut(line, " ")
		name, _, _ := strings.Cut(rest, " ")
		if !plumbing.IsHash(hash) || name == "" {
			return fmt.Errorf("%w: %q is not a reference", ErrMalformed, line[:min(len(line), 100)])
		}
		if !each(name, plumbing.NewHash(hash)) {
			return nil
		}
	}
}
