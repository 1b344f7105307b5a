package gitsource

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/klauspost/compress/zlib"
)

// errPack says that what the server has sent is no pack, or not all of one.
var errPack = errors.New("the pack is damaged")

// packScanner reads a pack as it arrives, object by object, and tells at its end whether it has arrived as it was sent
// ("gitformat-pack" in Git's documentation). go-git's own scanner does so, too, but passes each byte through three
// writers and an inflater for any kind of reader, which was three quarters of the time of a start with nothing.
type packScanner struct {
	arrived  *summed
	from     *bufio.Reader
	inflater io.ReadCloser
}

// packEntry is what comes before an object's content.
type packEntry struct {
	kind   plumbing.ObjectType
	offset int64 // in the pack
	size   int64 // of the content, as it claims
	// Of a delta, its base: an object's name or, where that is zero, the offset of one that came before it.
	base       plumbing.Hash
	baseOffset int64
}

// scanPack begins to read a pack, and returns how many objects there are to come.
func scanPack(from io.Reader) (*packScanner, uint32, error) {
	arrived := &summed{from: from, sum: sha1.New()}
	s := &packScanner{arrived: arrived, from: bufio.NewReaderSize(arrived, 64<<10)}
	var head struct {
		Signature      [4]byte
		Version, Count uint32
	}
	if err := binary.Read(s.from, binary.BigEndian, &head); err != nil {
		return nil, 0, cut(err)
	}
	if string(head.Signature[:]) != "PACK" || head.Version != 2 {
		return nil, 0, fmt.Errorf("%w: it begins with %q and version %d", errPack, head.Signature, head.Version)
	}
	return s, head.Count, nil
}

// next reads what comes before the next object's content, which has to be read in between.
func (s *packScanner) next() (packEntry, error) {
	e := packEntry{offset: s.arrived.bytes - int64(s.from.Buffered())}
	c, err := s.from.ReadByte()
	if err != nil {
		return e, cut(err)
	}
	e.kind, e.size = plumbing.ObjectType(c>>4&7), int64(c&15)
	for shift := 4; c&0x80 != 0; shift += 7 {
		if c, err = s.from.ReadByte(); err != nil {
			return e, cut(err)
		}
		if shift > 56 {
			return e, fmt.Errorf("%w: an object of it has no sensible size", errPack)
		}
		e.size |= int64(c&0x7f) << shift
	}
	switch e.kind {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return e, nil
	case plumbing.REFDeltaObject:
		_, err := io.ReadFull(s.from, e.base[:])
		return e, cut(err)
	case plumbing.OFSDeltaObject:
		back, err := s.distance()
		if err == nil && (back <= 0 || back > e.offset) {
			err = fmt.Errorf("%w: a delta of it has its base outside", errPack)
		}
		e.baseOffset = e.offset - back
		return e, err
	}
	return e, fmt.Errorf("%w: it has an object of the unknown kind %d", errPack, e.kind)
}

// distance reads how far before a delta its base is: each byte but the last one has one added.
func (s *packScanner) distance() (back int64, err error) {
	for first := true; ; first = false {
		c, err := s.from.ReadByte()
		if err != nil {
			return 0, cut(err)
		}
		if !first {
			back++
		}
		if back > 1<<55 {
			return 0, fmt.Errorf("%w: a delta of it has its base outside", errPack)
		}
		if back = back<<7 | int64(c&0x7f); c&0x80 == 0 {
			return back, nil
		}
	}
}

// trustedSize is how much memory an object gets because it says that it needs it, in bytes.
const trustedSize = 64 << 10

// content reads the content of the object that next has told of. The size that it claims is checked, not trusted.
func (s *packScanner) content(size int64) ([]byte, error) {
	if size > trustedSize {
		var buffer bytes.Buffer
		err := s.copy(&buffer, size)
		return bytes.Clone(buffer.Bytes()), err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	content := make([]byte, size)
	if _, err := io.ReadFull(s.inflater, content); err != nil {
		return nil, cut(err)
	}
	return content, s.ended()
}

// skip passes over the content of the object that next has told of.
func (s *packScanner) skip(size int64) error { return s.copy(io.Discard, size) }

// sum passes over the content as well, and returns the name of the object.
func (s *packScanner) sum(kind plumbing.ObjectType, size int64) (plumbing.Hash, error) {
	sum := plumbing.NewHasher(kind, size)
	err := s.copy(sum, size)
	return sum.Sum(), err
}

func (s *packScanner) copy(to io.Writer, size int64) error {
	if err := s.open(); err != nil {
		return err
	}
	if _, err := io.CopyN(to, s.inflater, size); err != nil {
		return cut(err)
	}
	return s.ended()
}

// open prepares to read one content.
func (s *packScanner) open() (err error) {
	if s.inflater == nil {
		s.inflater, err = zlib.NewReader(s.from)
	} else {
		err = s.inflater.(zlib.Resetter).Reset(s.from, nil)
	}
	return cut(err)
}

// ended reads the end of a content, with its checksum.
func (s *packScanner) ended() error {
	switch n, err := io.ReadFull(s.inflater, make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("%w: an object of it is larger than it says", errPack)
	case err != io.EOF:
		return cut(err)
	}
	return nil
}

// end reads to the end of the stream, and compares the checksum.
func (s *packScanner) end() error {
	if _, err := s.from.Discard(sha1.Size); err != nil {
		return cut(err)
	}
	switch n, err := io.Copy(io.Discard, s.from); {
	case err != nil:
		return err
	case n > 0:
		return fmt.Errorf("%w: %d bytes follow it", errPack, n)
	}
	if !bytes.Equal(s.arrived.sum.Sum(nil), s.arrived.last) {
		return fmt.Errorf("%w: its checksum is another one", errPack)
	}
	return nil
}

// cut says of an end where none should be that the pack is not whole.
func cut(err error) error {
	var broken brokenOff
	if errors.As(err, &broken) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", errPack)
	}
	return err
}

// summed sums up what is read through it, but for the last bytes, which in a pack are the sum.
type summed struct {
	from  io.Reader
	bytes int64
	sum   hash.Hash
	last  []byte
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.bytes += int64(n)
	s.last = append(s.last, p[:n]...)
	if more := len(s.last) - sha1.Size; more > 0 {
		s.sum.Write(s.last[:more])
		s.last = append(s.last[:0], s.last[more:]...)
	}
	return n, err
}
