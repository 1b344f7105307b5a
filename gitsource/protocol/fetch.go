package protocol

import (
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Unlimited is the depth of all history.
const Unlimited = 1<<31 - 1

// Fetch asks for a pack of objects, and says what is here already.
type Fetch struct {
	Wants    []plumbing.Hash // with whatever they lead to, within Depth and Filter
	Haves    []plumbing.Hash // commits that are here with whatever they lead to, up to the Shallows
	Shallows []plumbing.Hash // commits whose parents are not here
	Depth    int             // of the commits, counted from the Wants; 0 says nothing about it
	Filter   string          // what to leave out, such as "blob:none"; "" for nothing
	Thin     bool            // the pack may lean on objects that the Haves lead to
	Open     bool            // the answer may be a NoPack
}

// NoPack is the error for an answer without a pack: not all of the Wants lead to one of the Haves, as far as the server
// can tell without looking at everything. Only a request that is Open gets one.
type NoPack struct {
	Common []plumbing.Hash // those of the Haves that the server has, whatever leads to them
}

func (n *NoPack) Error() string {
	return fmt.Sprintf("the server has %d of the commits that are here, and sends no pack", len(n.Common))
}

// Unwrap returns ErrMalformed, which it is where no such answer was asked for.
func (n *NoPack) Unwrap() error { return ErrMalformed }

// Fetch returns the request. Unless it is Open, it ends the negotiation: the answer is a pack, whatever the server makes
// of the Haves.
func (c Capabilities) Fetch(f Fetch) []byte {
	r := c.command("fetch")
	r.line("no-progress")
	r.line("ofs-delta")
	if f.Thin {
		r.line("thin-pack")
	}
	for _, hash := range f.Shallows {
		r.line("shallow %s", hash)
	}
	if f.Depth > 0 {
		r.line("deepen %d", f.Depth)
	}
	if f.Filter != "" {
		r.line("filter %s", f.Filter)
	}
	for _, hash := range f.Wants {
		r.line("want %s", hash)
	}
	for _, hash := range f.Haves {
		r.line("have %s", hash)
	}
	if !f.Open {
		r.line("done")
	}
	return r.end()
}

// maxShallow bounds the commits at which a server cuts history.
const maxShallow = 1 << 20

// Pack is the answer to a [Fetch].
type Pack struct {
	Shallow   []plumbing.Hash // commits whose parents are not in the pack, nor here
	Unshallow []plumbing.Hash // commits that were in Shallows and no longer are

	packets packets
	left    int // bytes of the present packet that were not read
	end     error
}

// ReadFetch reads an answer up to the pack, whose bytes the result then reads.
func ReadFetch(from io.Reader) (*Pack, error) {
	answer := &Pack{packets: packets{from: from}}
	for {
		k, section, err := answer.packets.line()
		switch {
		case err != nil:
			return nil, err
		case k != data:
			return nil, fmt.Errorf("%w: an answer to fetch without a pack", ErrMalformed)
		case section == "packfile":
			return answer, nil
		}
		if section == "acknowledgments" {
			if err := answer.acknowledgments(); err != nil {
				return nil, err
			}
			continue
		}
		if err := answer.section(section); err != nil {
			return nil, err
		}
	}
}

// acknowledgments reads what the server has of what is here.
func (a *Pack) acknowledgments() error {
	var common []plumbing.Hash
	for {
		k, line, err := a.packets.line()
		switch {
		case err != nil:
			return err
		case k == delim:
			return nil
		case k == flush:
			return &NoPack{Common: common}
		}
		if hash, ok := strings.CutPrefix(line, "ACK "); ok && plumbing.IsHash(hash) && len(common) < maxShallow {
			common = append(common, plumbing.NewHash(hash))
		}
	}
}

// section reads the lines of a section before the pack.
func (a *Pack) section(name string) error {
	for {
		k, line, err := a.packets.line()
		switch {
		case err != nil:
			return err
		case k == delim:
			return nil
		case k == flush:
			return fmt.Errorf("%w: an answer to fetch without a pack", ErrMalformed)
		case name != "shallow-info":
			continue // acknowledgments and the like, which nothing depends on
		}
		verb, hash, _ := strings.Cut(line, " ")
		if !plumbing.IsHash(hash) || len(a.Shallow)+len(a.Unshallow) >= maxShallow {
			return fmt.Errorf("%w: %q in shallow-info", ErrMalformed, line[:min(len(line), 100)])
		}
		switch verb {
		case "shallow":
			a.Shallow = append(a.Shallow, plumbing.NewHash(hash))
		case "unshallow":
			a.Unshallow = append(a.Unshallow, plumbing.NewHash(hash))
		}
	}
}

// The channels within the section of the pack.
const (
	packChannel     = 1
	progressChannel = 2
	errorChannel    = 3
)

// Read reads the pack. At its end the answer has been read to its end.
func (a *Pack) Read(into []byte) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	for a.left == 0 && a.end == nil {
		a.end = a.open()
	}
	if a.end != nil {
		return 0, a.end
	}
	n, err := a.packets.from.Read(into[:min(len(into), a.left)])
	a.left -= n
	if err != nil && (err != io.EOF || a.left > 0) {
		a.end = unexpected(err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, a.end
}

// open reads up to the next bytes of the pack.
func (a *Pack) open() error {
	k, n, err := a.packets.length()
	switch {
	case err != nil:
		return err
	case k == flush:
		return io.EOF
	case k == delim || n == 0:
		return fmt.Errorf("%w: an empty packet within the pack", ErrMalformed)
	}
	var channel [1]byte
	if _, err := io.ReadFull(a.packets.from, channel[:]); err != nil {
		return unexpected(err)
	}
	switch n--; channel[0] {
	case packChannel:
		a.left = n
		return nil
	case progressChannel:
		_, err := io.CopyN(io.Discard, a.packets.from, int64(n))
		return unexpected(err)
	case errorChannel:
		words, _ := io.ReadAll(io.LimitReader(a.packets.from, int64(min(n, maxWords))))
		return saidBy(words)
	}
	return fmt.Errorf("%w: channel %d within the pack", ErrMalformed, channel[0])
}
