package gitsource

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/gitrota/gitrota/gitsource/mounted"
)

// access is a wire that belongs to one version of the credentials.
type access interface {
	wire
	secrets() []string // what must not come back in an error's text
	retire()           // lets go of what nobody uses, and keeps nothing any more
}

// door opens every conversation with the newest credentials, so that no kept connection of older ones is used again.
type door struct {
	newest func() access

	mu     sync.Mutex
	recent []access // the newest last; a conversation may still use one of the others
}

// keptVersions is how many versions of the credentials an error may still quote: more than can change within the time
// that an operation takes.
const keptVersions = 8

// gitDoor is the one to a repository.
func gitDoor(to remote, opts Options) (*door, error) {
	return newDoor(opts, func(auth Auth) (access, error) {
		if err := auth.check(to, opts.AllowPlainHTTP); err != nil {
			return nil, err
		}
		if to.scheme == "ssh" {
			return newSSHWire(to, auth)
		}
		return newHTTPWire(to, auth, opts.Now)
	})
}

func newDoor(opts Options, open func(Auth) (access, error)) (*door, error) {
	d := &door{}
	if opts.AuthDir == "" {
		only, err := open(opts.Auth)
		d.newest, d.recent = func() access { return only }, []access{only}
		return d, err
	}
	if opts.Auth.isSet() {
		return nil, errors.New("both Auth and AuthDir are set: give one of the two")
	}
	folder, err := mounted.Follow(opts.AuthDir, func(dir string) (access, error) {
		auth, err := LoadAuth(dir)
		if err != nil {
			return nil, err
		}
		return open(auth)
	}, opts.Log)
	if err != nil {
		return nil, err
	}
	d.newest, d.recent = folder.Value, []access{folder.Value()}
	return d, nil
}

func (d *door) open(ctx context.Context, of service) (conversation, error) {
	return d.enter().open(ctx, of)
}

func (d *door) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recent[len(d.recent)-1].forget()
}

// enter returns the newest access, and lets go of the one before it.
func (d *door) enter() access {
	d.mu.Lock()
	defer d.mu.Unlock()
	newest := d.newest()
	if last := d.recent[len(d.recent)-1]; last != newest {
		last.retire()
		d.recent = append(d.recent, newest)
		if len(d.recent) > keptVersions {
			d.recent = slices.Delete(d.recent, 0, 1)
		}
	}
	return newest
}

func (d *door) secrets() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, a := range d.recent {
		all = append(all, a.secrets()...)
	}
	return all
}
