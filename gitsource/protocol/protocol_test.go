package protocol_test

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/protocol"
)

const flush, delim = "0000", "0001"

var one, two = plumbing.NewHash(strings.Repeat("1", 40)), plumbing.NewHash(strings.Repeat("2", 40))

// packet returns a line as a packet.
func packet(line string) string { return fmt.Sprintf("%04x%s", len(line)+4, line) }

func packets(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		if line == flush || line == delim {
			b.WriteString(line)
			continue
		}
		b.WriteString(packet(line))
	}
	return b.String()
}

func reader(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }

func TestCapabilities(t *testing.T) {
	const hello = "version 2\n"
	t.Run("are read with and without the line that HTTP begins with", func(t *testing.T) {
		list := packets(hello, "agent=git/2.50\n", "ls-refs=unborn\n", "fetch=shallow wait-for-done filter\n", "object-format=sha1\n", flush)
		for _, text := range []string{list, packets("# service=git-upload-pack\n", flush) + list} {
			can, err := protocol.ReadCapabilities(reader(text))
			require.NoError(t, err)
			require.True(t, can.Has("fetch", "filter"))
			require.True(t, can.Has("ls-refs", ""))
			require.False(t, can.Has("fetch", "filt"))
			require.False(t, can.Has("object-info", ""))
			require.True(t, can.SHA1())
		}
	})
	t.Run("tell of names that are not SHA-1", func(t *testing.T) {
		can, err := protocol.ReadCapabilities(reader(packets(hello, "object-format=sha256\n", flush)))
		require.NoError(t, err)
		require.False(t, can.SHA1())
	})
	t.Run("an older server's answer is left where it begins", func(t *testing.T) {
		old := packets(one.String()+" refs/heads/main\x00side-band-64k\n", flush)
		from := reader(packets("# service=git-upload-pack\n", flush) + old)
		_, err := protocol.ReadCapabilities(from)
		require.ErrorIs(t, err, protocol.ErrOlder)
		rest, err := io.ReadAll(from)
		require.NoError(t, err)
		require.Equal(t, old, string(rest))
	})
	t.Run("an older server with no references is not waited for", func(t *testing.T) {
		silent, server := io.Pipe()
		go func() { _, _ = io.WriteString(server, flush) }()
		_, err := protocol.ReadCapabilities(bufio.NewReader(silent))
		require.ErrorIs(t, err, protocol.ErrOlder)
	})
	t.Run("a server that says why not is quoted", func(t *testing.T) {
		_, err := protocol.ReadCapabilities(reader(packets(hello, "ERR go away\n")))
		var said *protocol.ServerError
		require.ErrorAs(t, err, &said)
		require.Equal(t, "go away", said.Words)
	})
	t.Run("a list without an end is not read to it", func(t *testing.T) {
		_, err := protocol.ReadCapabilities(reader(packet(hello) + strings.Repeat(packet("a=b\n"), 5)))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		var endless strings.Builder
		endless.WriteString(packet(hello))
		for i := range 10_000 {
			endless.WriteString(packet(fmt.Sprintf("c%d\n", i)))
		}
		_, err = protocol.ReadCapabilities(reader(endless.String()))
		require.ErrorIs(t, err, protocol.ErrMalformed)
	})
}

func TestRequests(t *testing.T) {
	can := protocol.Capabilities{"agent": "git/2.50", "object-format": "sha1", "fetch": "shallow filter"}
	require.Equal(t, packets("command=ls-refs\n", "agent=git/gitrota\n", "object-format=sha1\n", delim, "ref-prefix refs/heads/main\n", flush),
		string(can.ListRefs("refs/heads/main")))
	require.Equal(t, packets("command=fetch\n", "agent=git/gitrota\n", "object-format=sha1\n", delim, "no-progress\n", "ofs-delta\n", "thin-pack\n",
		"shallow "+one.String()+"\n", "deepen 1\n", "filter blob:none\n", "want "+two.String()+"\n", "have "+one.String()+"\n", "done\n", flush),
		string(can.Fetch(protocol.Fetch{
			Wants: []plumbing.Hash{two}, Haves: []plumbing.Hash{one}, Shallows: []plumbing.Hash{one}, Depth: 1, Filter: "blob:none", Thin: true,
		})))
	t.Run("hold no option that the server did not offer", func(t *testing.T) {
		require.Equal(t, packets("command=ls-refs\n", delim, flush), string(protocol.Capabilities{}.ListRefs("")))
	})
}

func TestRefs(t *testing.T) {
	list := packets(one.String()+" refs/heads/main symref-target:refs/heads/x\n", "unborn HEAD\n")
	names := func(text string, more bool) (all []string, err error) {
		err = protocol.ReadRefs(strings.NewReader(text), func(name string, _ plumbing.Hash) bool {
			all = append(all, name)
			return more
		})
		return all, err
	}
	got, err := names(packets(one.String()+" refs/heads/main peeled:x\n", two.String()+" refs/heads/main-2\n", flush), true)
	require.NoError(t, err)
	require.Equal(t, []string{"refs/heads/main", "refs/heads/main-2"}, got)
	got, err = names(list, false)
	require.NoError(t, err, "who has seen enough reads no further")
	require.Len(t, got, 1)
	_, err = names(list, true)
	require.ErrorIs(t, err, protocol.ErrMalformed)
	_, err = names(packets(one.String()+" refs/heads/main\n"), true)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestFetch(t *testing.T) {
	answer := packets("shallow-info\n", "shallow "+two.String()+"\n", "unshallow "+one.String()+"\n", delim, "packfile\n",
		"\x02remote: counting\n", "\x01PA", "\x01", "\x01CK", flush)
	t.Run("a pack is read out of its channel", func(t *testing.T) {
		from := strings.NewReader(answer + "next")
		got, err := protocol.ReadFetch(from)
		require.NoError(t, err)
		require.Equal(t, []plumbing.Hash{two}, got.Shallow)
		require.Equal(t, []plumbing.Hash{one}, got.Unshallow)
		pack, err := io.ReadAll(got)
		require.NoError(t, err)
		require.Equal(t, "PACK", string(pack))
		rest, _ := io.ReadAll(from)
		require.Equal(t, "next", string(rest), "nothing behind the answer is touched")
	})
	t.Run("an answer that is cut anywhere is an error", func(t *testing.T) {
		for n := range len(answer) {
			got, err := protocol.ReadFetch(strings.NewReader(answer[:n]))
			if err == nil {
				_, err = io.ReadAll(got)
			}
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "after %d bytes", n)
		}
	})
	for story, text := range map[string]string{
		"no pack at all":             packets("acknowledgments\n", "NAK\n", flush),
		"a flush in place of a pack": flush,
		"a hash that is none":        packets("shallow-info\n", "shallow x\n"),
		"an unknown channel":         packets("packfile\n", "\x07x", flush),
		"a length that is none":      "zzzz",
		"a length that is too large": "ffff",
	} {
		t.Run(story+" is not the protocol", func(t *testing.T) {
			got, err := protocol.ReadFetch(strings.NewReader(text))
			if err == nil {
				_, err = io.ReadAll(got)
			}
			require.ErrorIs(t, err, protocol.ErrMalformed)
		})
	}
	t.Run("an answer without a pack tells what the server has", func(t *testing.T) {
		var without *protocol.NoPack
		_, err := protocol.ReadFetch(strings.NewReader(packets("acknowledgments\n", "ACK "+one.String()+"\n", flush)))
		require.ErrorAs(t, err, &without)
		require.Equal(t, []plumbing.Hash{one}, without.Common)
		got, err := protocol.ReadFetch(strings.NewReader(packets("acknowledgments\n", "ACK "+one.String()+"\n", "ready\n", delim) + answer))
		require.NoError(t, err)
		pack, err := io.ReadAll(got)
		require.NoError(t, err)
		require.Equal(t, "PACK", string(pack))
	})
	t.Run("a server that gives up in the middle is quoted", func(t *testing.T) {
		got, err := protocol.ReadFetch(strings.NewReader(packets("packfile\n", "\x01PA", "\x03out of memory\n")))
		require.NoError(t, err)
		_, err = io.ReadAll(got)
		var said *protocol.ServerError
		require.ErrorAs(t, err, &said)
		require.Equal(t, "out of memory", said.Words)
	})
}

// Whatever a server answers: no panic, and no memory beyond the answer's own size and one packet.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(packets("version 2\n", "agent=x\n", "fetch=filter\n", flush)))
	f.Add([]byte(packets("# service=git-upload-pack\n", flush, "version 2\n", flush)))
	f.Add([]byte(packets(one.String()+" refs/heads/main\n", flush)))
	f.Add([]byte(packets("shallow-info\n", "shallow "+two.String()+"\n", delim, "packfile\n", "\x02x", "\x01PACK", flush)))
	f.Add([]byte(packets("packfile\n", "\x03no", flush)))
	f.Add([]byte(packets("acknowledgments\n", "ACK "+two.String()+"\n", flush)))
	f.Add([]byte(packets("ERR no\n")))
	f.Fuzz(func(t *testing.T, answer []byte) {
		text := string(answer)
		if can, err := protocol.ReadCapabilities(reader(text)); err == nil && len(can) > len(answer) {
			t.Fatal("capabilities from nowhere")
		}
		seen := 0
		_ = protocol.ReadRefs(strings.NewReader(text), func(name string, hash plumbing.Hash) bool {
			seen += len(name) + len(hash)
			return true
		})
		if got, err := protocol.ReadFetch(strings.NewReader(text)); err == nil {
			pack, _ := io.ReadAll(got)
			seen += len(pack) + 20*(len(got.Shallow)+len(got.Unshallow))
			if _, again := got.Read(make([]byte, 1)); again == nil {
				t.Fatal("a pack goes on after its end")
			}
		}
		if seen > 2*len(answer) {
			t.Fatalf("%d bytes were read out of %d", seen, len(answer))
		}
	})
}
