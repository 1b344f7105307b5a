package gitsource

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/memory"
	"github.com/stretchr/testify/require"
)

// packOf returns a pack with some blobs and a delta, as go-git writes it.
func packOf(t testing.TB, texts ...string) []byte { return packWith(t, 10, texts...) }

// packWith looks for deltas among so many blobs.
func packWith(t testing.TB, window uint, texts ...string) []byte {
	from := memory.NewStorage()
	var hashes []plumbing.Hash
	for _, text := range texts {
		blob := from.NewEncodedObject()
		blob.SetType(plumbing.BlobObject)
		w, err := blob.Writer()
		require.NoError(t, err)
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
		hash, err := from.SetEncodedObject(blob)
		require.NoError(t, err)
		hashes = append(hashes, hash)
	}
	var pack bytes.Buffer
	_, err := packfile.NewEncoder(&pack, from, false).Encode(hashes, window)
	require.NoError(t, err)
	return pack.Bytes()
}

func TestPacks(t *testing.T) {
	long := strings.Repeat("a line that is in both of them\n", 20)
	read := func(pack []byte, p packReader) (*objects, error) {
		p.into = newObjects(nil)
		p.maxBytes = 1 << 20
		return p.into, p.read(bytes.NewReader(pack))
	}
	t.Run("objects and deltas are put together", func(t *testing.T) {
		got, err := read(packOf(t, long, long+"more", "short"), packReader{maxBlob: 1 << 10, abort: true})
		require.NoError(t, err)
		for _, text := range []string{long, long + "more", "short"} {
			is, ok := got.get(plumbing.ComputeHash(plumbing.BlobObject, []byte(text)))
			require.True(t, ok)
			require.Equal(t, text, string(is.bytes))
		}
	})
	t.Run("a blob that is too large ends it, or none is kept at all", func(t *testing.T) {
		_, err := read(packOf(t, long), packReader{maxBlob: 100, abort: true})
		require.ErrorIs(t, err, errOversize)
		got, err := read(packOf(t, long, long+"more", "short"), packReader{})
		require.NoError(t, err)
		require.Empty(t, got.own)
	})
	t.Run("or no more of those that are too large than others may lean on", func(t *testing.T) {
		var texts []string
		for i := range byte(40) {
			texts = append(texts, strings.Repeat(string(rune('A'+i)), 1<<20))
		}
		p := packReader{maxBlob: 100, large: map[plumbing.Hash]bool{}, into: newObjects(nil), maxBytes: 1 << 30}
		require.NoError(t, p.read(bytes.NewReader(packWith(t, 0, append(texts, "short")...))))
		require.Equal(t, 32+1, len(p.into.own))
		require.Equal(t, 8, len(p.large))
		for _, text := range texts {
			hash := plumbing.ComputeHash(plumbing.BlobObject, []byte(text))
			require.NotEqual(t, p.into.has(hash), p.large[hash])
		}
	})
	t.Run("a pack of few bytes that would be many is refused", func(t *testing.T) {
		_, err := read(packOf(t, strings.Repeat("0", 2<<20)), packReader{maxBlob: 1 << 30, abort: true})
		require.ErrorIs(t, err, ErrTooLarge)
	})
	t.Run("a pack that is cut anywhere is an error", func(t *testing.T) {
		pack := packOf(t, long, "short")
		for n := range len(pack) {
			_, err := read(pack[:n], packReader{maxBlob: 1 << 10, abort: true})
			require.ErrorIs(t, err, errPack, "after %d bytes", n)
		}
	})
	t.Run("so is one with a bit that was turned, and one that goes on", func(t *testing.T) {
		pack := packOf(t, long, long+"more", "short")
		for bit := range 8 * len(pack) {
			turned := bytes.Clone(pack)
			turned[bit/8] ^= 1 << (bit % 8)
			_, err := read(turned, packReader{maxBlob: 1 << 10, abort: true})
			require.Error(t, err, "bit %d", bit)
		}
		_, err := read(append(pack, 0), packReader{maxBlob: 1 << 10, abort: true})
		require.ErrorIs(t, err, errPack)
	})
	t.Run("an object of a megabyte arrives as it is", func(t *testing.T) {
		large := make([]byte, 1<<20-1<<10)
		rand.NewChaCha8([32]byte{}).Read(large)
		got, err := read(packOf(t, string(large)), packReader{maxBlob: 1 << 20, abort: true})
		require.NoError(t, err)
		is, ok := got.get(plumbing.ComputeHash(plumbing.BlobObject, large))
		require.True(t, ok)
		require.Equal(t, large, is.bytes)
	})
}

// Whatever a server sends as a pack: no panic, and no more memory than was granted.
func FuzzPack(f *testing.F) {
	f.Add(packOf(f, "one", "two"))
	f.Add(packOf(f, strings.Repeat("a line\n", 30), strings.Repeat("a line\n", 30)+"b"))
	f.Fuzz(func(t *testing.T, pack []byte) {
		p := packReader{into: newObjects(nil), maxBlob: 1 << 12, abort: true, maxBytes: 1 << 16}
		_ = p.read(bytes.NewReader(pack))
		size := 0
		for _, c := range p.into.own {
			size += len(c.bytes)
		}
		if size > 1<<16 {
			t.Fatalf("%d bytes were kept", size)
		}
	})
}
