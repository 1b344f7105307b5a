package mssqltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// master keeps the catalog, in a file where there is a data directory. What commit has returned from is on the disk.
//
// Readers see what was committed last and wait for nobody. There is one writer at a time: a transaction that has
// changed something keeps the others waiting until it ends.
type master struct {
	path   string // empty: in memory only
	writer chan struct{}

	mu        sync.Mutex
	committed *catalog
	attempts  map[int]attempts // by principal id
}

// attempts are the bad passwords since the last good one. They are no part of a transaction.
type attempts struct {
	Count    int       `json:"badPasswordCount"`
	Last     time.Time `json:"badPasswordTime"`
	LockedAt time.Time `json:"lockoutTime,omitzero"`
}

func (a attempts) locked() bool { return !a.LockedAt.IsZero() }

// masterFile is what stands in the file.
type masterFile struct {
	*catalog
	Attempts map[int]attempts `json:"attempts,omitempty"`
}

// openMaster reads the file in dir, or calls first for what a first start begins with.
func openMaster(dir string, first func() (*catalog, error)) (*master, error) {
	m := &master{writer: make(chan struct{}, 1), attempts: map[int]attempts{}}
	if dir != "" {
		m.path = filepath.Join(dir, "master.json")
		data, err := os.ReadFile(m.path)
		if err == nil {
			return m, m.load(data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	c, err := first()
	if err != nil {
		return nil, err
	}
	m.committed = c
	return m, m.save(c)
}

func (m *master) load(data []byte) error {
	file := masterFile{catalog: &catalog{}}
	if err := json.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("%s is damaged: %w", m.path, err)
	}
	m.committed = file.catalog
	if file.Attempts != nil {
		m.attempts = file.Attempts
	}
	return nil
}

// save writes c to the disk. A crash leaves the file as it was or as it is to be.
func (m *master) save(c *catalog) error {
	if m.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(masterFile{c, m.attempts}, "", "  ")
	if err != nil {
		return err
	}
	temporary := m.path + ".new"
	if err := writeSynced(temporary, data); err != nil {
		return err
	}
	if err := os.Rename(temporary, m.path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(m.path))
}

func writeSynced(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// read returns what was committed last.
func (m *master) read() *catalog {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.committed
}

// A change is the one that writes. It ends with commit or abandon.
type change struct {
	master    *master
	catalog   *catalog
	committed []func() // run once the change is durable
}

// begin waits until nobody else writes.
func (m *master) begin(ctx context.Context) (*change, error) {
	select {
	case m.writer <- struct{}{}:
		return &change{master: m, catalog: m.read().clone()}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *change) commit() error {
	defer c.abandon()
	c.master.mu.Lock()
	defer c.master.mu.Unlock()
	if err := c.master.save(c.catalog); err != nil {
		return err
	}
	c.master.committed = c.catalog
	for _, f := range c.committed {
		f()
	}
	return nil
}

func (c *change) abandon() { <-c.master.writer }

// badPasswords returns the attempts on the login with that id.
func (m *master) badPasswords(id int) attempts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.attempts[id]
}

// countBadPassword adds one to the attempts on the login with that id, and locks it when there are threshold of them.
func (m *master) countBadPassword(id, threshold int, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.attempts[id]
	a.Count++
	a.Last = now
	if a.Count >= threshold && !a.locked() {
		a.LockedAt = now
	}
	m.attempts[id] = a
	return m.save(m.committed)
}

// forgetBadPasswords unlocks the login with that id.
func (m *master) forgetBadPasswords(id int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.attempts[id] == (attempts{}) {
		return nil
	}
	delete(m.attempts, id)
	return m.save(m.committed)
}
