package gitsource

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

func TestTheMirrorDoesNotGrow(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"rotations/a": "0", "rotations/b": "b", "rotation-status/s": "s", "other/o": "o"}, "first")
	r, err := Open(Options{URL: repo.URL(), Branch: "main", Author: Person{Name: "gitrota"}})
	require.NoError(t, err)
	defer r.Close()
	for i := range 12 {
		files := map[string]string{"rotations/a": fmt.Sprint(i), "other/o": fmt.Sprint(i)}
		head := repo.Import(gittest.Batch{Message: "change", Files: files}, gittest.Batch{Message: "empty"})[1]
		_, err = r.Snapshot(t.Context(), "rotations", "rotation-status")
		require.NoError(t, err)
		_, err = r.Origins(t.Context(), head, "rotations/a", "rotations/b")
		require.NoError(t, err)
		_, err = r.Write(t.Context(), []string{"rotation-status"}, func(*Snapshot) (*Change, error) {
			return &Change{Subject: "status", Files: map[string][]byte{"rotation-status/s": fmt.Append(nil, i)}}, nil
		})
		require.NoError(t, err)
		// Two commits with a tree at the top and two below it each, and three files; what both have is there once.
		m := r.mirror.Load()
		require.LessOrEqual(t, len(m.objects.own), 2+2*3+3)
		require.Nil(t, m.objects.below)
	}
}

// A connection that a firewall has forgotten answers nothing, and does not break either.
func TestASilentSSHConnectionIsReplaced(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{SSH: true})
	repo := server.NewRepo("ops")
	head := repo.Commit(map[string]string{"a": "a"}, "first")
	firewall := newFirewall(t, server.SSHAddress())
	auth, err := LoadAuth(server.AuthDir(true))
	require.NoError(t, err)
	auth.KnownHostsFile = filepath.Join(t.TempDir(), "known_hosts")
	line := knownhosts.Line([]string{firewall.address}, server.HostKeys()[0]) + "\n"
	require.NoError(t, os.WriteFile(auth.KnownHostsFile, []byte(line), 0o600))
	r, err := Open(Options{URL: "ssh://git@" + firewall.address + "/ops.git", Branch: "main", Auth: auth})
	require.NoError(t, err)
	defer r.Close()
	wire := r.wire.(*door).enter().(*sshWire)
	wire.doubtAfter, wire.proofWithin = time.Nanosecond, 100*time.Millisecond

	for range 2 {
		_, err = r.Head(t.Context())
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, firewall.connections.Load())
	firewall.forget()
	got, err := r.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, head, got)
	require.EqualValues(t, 2, firewall.connections.Load())

	// Where it is not doubted, because it was used a moment ago, the context ends the wait.
	wire.doubtAfter = time.Hour
	firewall.forget()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = r.Head(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = r.Head(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, firewall.connections.Load())
}

// firewall hands connections on, and may forget those that it has.
type firewall struct {
	address     string
	connections atomic.Int32
	forgotten   atomic.Int32 // connections up to this one
}

func newFirewall(t *testing.T, to string) *firewall {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	f := &firewall{address: listener.Addr().String()}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				return
			}
			number := f.connections.Add(1)
			go f.carry(number, client, server)
			go f.carry(number, server, client)
		}
	}()
	return f
}

func (f *firewall) carry(number int32, from, to net.Conn) {
	defer to.Close()
	packet := make([]byte, 4096)
	for {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		if number > f.forgotten.Load() {
			_, _ = to.Write(packet[:n])
		}
	}
}

func (f *firewall) forget() { f.forgotten.Store(f.connections.Load()) }

func TestTreesThatHoldOneAnother(t *testing.T) {
	folder := func(o *objects, names string, inner plumbing.Hash) plumbing.Hash {
		var tree []byte
		for _, name := range names {
			tree = fmt.Appendf(tree, "40000 %c\x00%s", name, inner[:])
		}
		return o.add(plumbing.TreeObject, tree)
	}
	for story, names := range map[string]string{"twice each": "ab", "ever deeper": "a"} {
		o := newObjects(nil)
		tree := o.add(plumbing.TreeObject, nil)
		for range 5000 {
			tree = folder(o, names, tree)
		}
		files := 0
		err := walk(o, tree, nil, func(string, object.TreeEntry) bool { files++; return true })
		require.ErrorIs(t, err, ErrTooLarge, story)
		require.LessOrEqual(t, files, maxEntries, story)
	}
}

// Trees come from the server as well.
func FuzzTree(f *testing.F) {
	f.Add([]byte("100644 a\x0012345678901234567890"), []byte("40000 b\x0012345678901234567890"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		o := newObjects(nil)
		x, y := o.add(plumbing.TreeObject, a), o.add(plumbing.TreeObject, b)
		entries, err := entriesOf(o, x)
		c := comparison{known: stored{store: o}}
		if c.entries(x, plumbing.ZeroHash); err == nil && c.err != nil {
			t.Fatal("a tree is read in one way and not in the other")
		}
		if len(entries) > len(a)/23 {
			t.Fatal("entries from nowhere")
		}
		c = comparison{known: stored{store: o}}
		_ = c.differing(x, y, "", []string{"a", "b/c"})
		_ = walk(o, x, []string{"a"}, func(string, object.TreeEntry) bool { return true })
	})
}
