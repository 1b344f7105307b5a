package gitsource

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// errOversize says that a pack was left at a blob that is too large to be read.
var errOversize = errors.New("the pack has a blob that is too large")

// inflation is how much larger than a pack its objects may be before it is taken for a trap.
const inflation = 8

// maxWaiting is how many bytes of a pack may wait for their bases.
const maxWaiting = 16 << 20

// maxBallast is how many bytes of blobs are kept that are too large to be read.
const maxBallast = 32 << 20

// packReader puts the objects of a pack into memory as they arrive.
//
// go-git's own parser, which reads a pack from a stream, keeps every object until the whole pack is read, and cannot
// leave out those that are not wanted or wait for the base of a delta that is not there. Only its deltas are used here.
type packReader struct {
	scan *packScanner
	into *objects

	maxBlob  int64 // in bytes; 0: no blobs are kept
	abort    bool  // at a blob of more, where it is known to be one, rather than keeping it
	maxBytes int64 // of everything that is kept from here on
	// large is told of blobs that are larger and not kept. Unless it aborts, some of them are, for others may lean on them.
	large map[plumbing.Hash]bool

	at      map[int64]plumbing.Hash // what was found at an offset; zero for a blob that was not kept
	pending []delta
	most    int64 // maxBytes, at the beginning
	waiting int64 // bytes that were ever pending
	ballast int64 // bytes of blobs that are too large
}

// delta is an object that was not put together yet, for want of its base.
type delta struct {
	offset     int64
	base       plumbing.Hash // zero: it is at baseOffset
	baseOffset int64
	bytes      []byte
}

// read reads the pack to its end. Deltas whose base is nowhere are dropped: a server may lean on objects that were not
// worth keeping here. Every object is known by the hash of what arrived, so that nothing false can get in.
func (p *packReader) read(from io.Reader) error {
	scan, count, err := scanPack(from)
	if err != nil {
		return err
	}
	p.scan, p.most, p.at = scan, p.maxBytes, map[int64]plumbing.Hash{}
	for range count {
		entry, err := p.scan.next()
		if err != nil {
			return err
		}
		if err := p.object(entry); errors.Is(err, errOversize) {
			return cmp.Or(p.settle(), err)
		} else if err != nil {
			return err
		}
	}
	if err := p.scan.end(); err != nil {
		return err
	}
	return p.settle()
}

func (p *packReader) object(e packEntry) error {
	kind := e.kind
	base := delta{offset: e.offset, base: e.base, baseOffset: e.baseOffset}
	if kind.IsDelta() {
		kind = p.kindOf(base)
	}
	if kind == plumbing.BlobObject && p.maxBlob == 0 {
		p.at[e.offset] = plumbing.ZeroHash
		return p.scan.skip(e.size)
	}
	switch {
	case kind == plumbing.BlobObject && e.size > p.maxBlob && p.abort:
		return errOversize
	case e.kind == plumbing.BlobObject && p.isBallast(e.size):
		hash, err := p.scan.sum(e.kind, e.size)
		p.at[e.offset], p.large[hash] = plumbing.ZeroHash, true
		return err
	case kind == plumbing.InvalidObject && !p.mayWait(e.size):
		return p.scan.skip(e.size)
	}
	if p.maxBytes -= e.size; e.size < 0 || p.maxBytes < 0 {
		return p.tooMuch()
	}
	read, err := p.scan.content(e.size)
	if err != nil {
		return err
	}
	if !e.kind.IsDelta() {
		p.at[e.offset] = p.into.add(kind, read)
		return nil
	}
	base.bytes = read
	done, err := p.resolve(base)
	if err == nil && !done {
		p.pending = append(p.pending, base)
	}
	return err
}

// isBallast reports whether a blob of that size is not worth keeping.
func (p *packReader) isBallast(size int64) bool {
	if p.large == nil || size <= p.maxBlob {
		return false
	}
	p.ballast += size
	return p.ballast > maxBallast
}

// mayWait reports whether a delta is kept whose base has not been seen. The base may come later in the pack, or be
// something that is not kept here and that the server believes to be: then nothing is lost, for what is needed is asked
// for by its name, and comes without leaning on anything.
func (p *packReader) mayWait(size int64) bool {
	if p.waiting+size > maxWaiting {
		return false
	}
	p.waiting += size
	return true
}

func (p *packReader) baseOf(d delta) (content, bool) {
	if d.base.IsZero() {
		hash, ok := p.at[d.baseOffset]
		if !ok {
			return content{}, false
		}
		return p.into.get(hash)
	}
	return p.into.get(d.base)
}

func (p *packReader) kindOf(d delta) plumbing.ObjectType {
	if hash, ok := p.at[d.baseOffset]; ok && d.base.IsZero() && hash.IsZero() {
		return plumbing.BlobObject
	}
	if base, ok := p.baseOf(d); ok {
		return base.kind
	}
	return plumbing.InvalidObject
}

// resolve puts an object together, if its base is there.
func (p *packReader) resolve(d delta) (done bool, err error) {
	base, ok := p.baseOf(d)
	if !ok {
		return false, nil
	}
	size, err := targetSize(d.bytes)
	switch {
	case err != nil:
		return false, err
	case base.kind == plumbing.BlobObject && p.abort && size > p.maxBlob:
		return false, errOversize
	}
	if p.maxBytes -= size; p.maxBytes < 0 {
		return false, p.tooMuch()
	}
	target, err := packfile.PatchDelta(base.bytes, d.bytes)
	if err != nil {
		return false, err
	}
	p.at[d.offset] = p.into.add(base.kind, bytes.Clone(target))
	return true, nil
}

func (p *packReader) tooMuch() error {
	return &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("the server sends more objects than there is memory for (%d MiB): "+
		"keep the rotations in a smaller one", p.most>>20)}
}

// targetSize reads the second of the two numbers that a delta begins with: the size of what it makes.
func targetSize(delta []byte) (int64, error) {
	reader := bytes.NewReader(delta)
	var size uint64
	for range 2 {
		size = 0
		for shift := 0; ; shift += 7 {
			b, err := reader.ReadByte()
			if err != nil || shift > 56 {
				return 0, packfile.ErrInvalidDelta
			}
			size |= uint64(b&0x7f) << shift
			if b&0x80 == 0 {
				break
			}
		}
	}
	return int64(size), nil
}

// settle puts together what had to wait for its base, as long as that leads anywhere.
func (p *packReader) settle() error {
	for again := true; again; {
		again = false
		waiting := p.pending
		p.pending = nil
		for _, d := range waiting {
			done, err := p.resolve(d)
			switch {
			case err != nil:
				return err
			case done:
				again = true
			default:
				p.pending = append(p.pending, d)
			}
		}
	}
	return nil
}
