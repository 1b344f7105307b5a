// Package gitsource reads from and writes to one branch of a Git repository, without a worktree and without a disk.
//
// A [Repository] keeps a mirror of the tip in memory: the commit, and of the folders that were asked for the trees and
// the files. Head asks the remote for one hash. Snapshot fetches what the mirror does not have yet, in the common case
// the new commit, the trees that changed and the files that are new, and hands out the mirror's own bytes. Origin looks
// in the mirror who brought a file, which also has the trees of the tip before, and fetches history only where that is
// not enough: commits without trees, and then by name those trees that lead to the file, where they differ. Write builds blobs, trees and a commit by hand on top of the mirror and pushes them; if the branch has
// moved, it fetches what is new and starts over. The mirror holds no more after a thousand changes than after one, and
// whatever does not fit together, such as history that was rewritten, is answered by fetching the tip anew.
//
// The mirror depends on what a server can do: version 2 of the protocol (package protocol), partial clones, objects by
// their name. A server with version 2 that leaves nothing out sends the files outside the folders as well, once, and is
// stopped at one that is too large; one with an older version sends the whole tip for every change. Both send all trees
// of the history, of which no more is read than fits into the memory.
//
// All of that is one of two ways to read a repository. The other one asks for nothing but the branch as it is, and leaves
// it to go-git: it is there for the day on which the first one is wrong (see [ReadSomehow]).
//
// Git objects, packs and the older protocols' messages are go-git's. The two transports are this package's own (see
// http.go and ssh.go), because go-git's are process-wide: its table of protocols, its HTTP client with one CA for
// everybody, its SSH dialling that reads ~/.ssh and does not end when the context does. Here each Repository has its
// own connections, which it keeps between operations, and the deadline of a context ends a dial, a handshake and a
// silent server alike.
//
// The branch is never forced: a push names the commit it replaces, our commit's parent is that commit, and a remote
// that has moved in between is fetched again.
package gitsource

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitrota/gitrota/gitsource/signature"
)

// Options says which branch of which repository, and in whose name.
type Options struct {
	// URL is an https://, http:// or ssh:// URL, or the short form user@host:path. It holds no password.
	URL    string
	Branch string // short name, such as "main"
	Auth   Auth   // the zero value: none

	// AuthDir is a folder as LoadAuth reads it, in place of Auth. Every conversation with the server looks whether it has
	// changed, at the cost of a stat for each file; one that has begun goes on with what it began with. A version that
	// cannot be used is logged once, and the one before it stays in use.
	AuthDir string

	// AllowPlainHTTP lets credentials travel unencrypted to a host that is not this machine.
	AllowPlainHTTP bool

	// CreateBranch lets Write make the branch, with no history, where the remote does not have it.
	CreateBranch bool

	Author  Person         // of the commits that Write makes; needed by Write only
	Signing *signature.Key // signs those commits; nil: they are not signed

	Timeout     time.Duration // of each operation at the remote; 0 means 60s
	Patience    time.Duration // for how long Write goes on against others who are quicker; 0 means 30s
	MaxFileSize int64         // in bytes; a larger file is reported and not read; 0 means 1 MiB
	MaxPackSize int64         // in bytes; more at once is refused, so that it cannot fill the memory; 0 means 256 MiB

	Reading Reading // how the repository may be read; the zero value is what is meant for everybody but tests

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil means none
}

// Person is an author or a committer.
type Person struct{ Name, Email string }

// Repository is one branch of a remote repository. It is safe for concurrent use; writes wait for one another.
type Repository struct {
	opts    Options
	remote  remote
	wire    wire
	ref     plumbing.ReferenceName
	secrets func() []string // never to be seen in an error's text
	writing chan struct{}   // holds one token: the right to write

	mirror    atomic.Pointer[mirror] // nil before the first reading
	fetching  chan struct{}          // holds one token: the right to replace the mirror
	filtering atomic.Int32           // a filtering

	plainReads   atomic.Uint64
	reported     atomic.Bool  // what was wrong with another way to read
	capabilities atomic.Value // string: what the server has said last that it can do
}

// Open checks the options and prepares the transport. It does not touch the network.
func Open(opts Options) (*Repository, error) {
	remote, err := parseRemote(opts.URL)
	if err != nil {
		return nil, err
	}
	ref := plumbing.NewBranchReferenceName(opts.Branch)
	if err := ref.Validate(); err != nil {
		return nil, fmt.Errorf("git branch %q is not a branch's name: give its short name, such as main", opts.Branch)
	}
	if err := opts.Author.check(); err != nil {
		return nil, err
	}
	if opts.Timeout <= 0 {
		opts.Timeout = time.Minute
	}
	if opts.Patience <= 0 {
		opts.Patience = 30 * time.Second
	}
	if opts.MaxFileSize <= 0 {
		opts.MaxFileSize = 1 << 20
	}
	if opts.MaxPackSize <= 0 {
		opts.MaxPackSize = 256 << 20
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	d, err := gitDoor(remote, opts)
	if err != nil {
		return nil, err
	}
	return &Repository{
		opts: opts, remote: remote, wire: d, ref: ref,
		secrets: d.secrets,
		writing: make(chan struct{}, 1), fetching: make(chan struct{}, 1),
	}, nil
}

// String returns the repository's URL, without credentials, and its branch.
func (r *Repository) String() string { return r.remote.String() + " (" + r.opts.Branch + ")" }

// Head returns the hash of the branch's tip at the remote. It costs one round trip, and with version 2 of the protocol
// less than a kilobyte, whatever else is in the repository.
func (r *Repository) Head(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	var head plumbing.Hash
	err := r.read(ctx, func(by reader) (err error) {
		head, err = by.tip(ctx)
		return err
	})
	if err != nil {
		return "", r.failed("asking for the head", err)
	}
	return head.String(), nil
}

// Close ends the connections that are kept between operations. The repository can be used again.
func (r *Repository) Close() { r.wire.forget() }

// check refuses what would break the format of a commit. Nobody at all is fine for a repository that is only read.
func (p Person) check() error {
	if strings.ContainsAny(p.Name+p.Email, "<>\n\r\x00") {
		return fmt.Errorf("git author %q <%q> must not contain <, > or a line break", p.Name, p.Email)
	}
	return nil
}

// String returns the person as commits name one.
func (p Person) String() string { return p.Name + " <" + p.Email + ">" }
