package gitsource

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshIdle is a connection that waits for its next conversation.
type sshIdle struct {
	client *ssh.Client
	since  time.Time
	expire *time.Timer
}

// How connections are kept: at most so many and for so long, and after what time one is asked whether it lives, and
// how long it has to say so.
const (
	sshMaxIdle     = 2
	sshIdleTimeout = 10 * time.Minute
	sshDoubtAfter  = 10 * time.Second
	sshProofWithin = 3 * time.Second
)

// take returns a connection that is alive, nil if there is none.
func (w *sshWire) take(ctx context.Context) *ssh.Client {
	for {
		w.mu.Lock()
		if len(w.idle) == 0 {
			w.mu.Unlock()
			return nil
		}
		last := len(w.idle) - 1
		kept := w.idle[last]
		w.idle = w.idle[:last]
		w.mu.Unlock()
		kept.expire.Stop()
		if time.Since(kept.since) < cmp.Or(w.doubtAfter, sshDoubtAfter) || w.alive(ctx, kept.client) {
			return kept.client
		}
		kept.client.Close()
	}
}

// alive asks the server for any answer at all.
func (w *sshWire) alive(ctx context.Context, client *ssh.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(w.proofWithin, sshProofWithin))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}

// keep takes a connection back.
func (w *sshWire) keep(client *ssh.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.retired || len(w.idle) >= sshMaxIdle {
		client.Close()
		return
	}
	kept := &sshIdle{client: client, since: time.Now()}
	kept.expire = time.AfterFunc(sshIdleTimeout, func() { w.drop(kept) })
	w.idle = append(w.idle, kept)
}

func (w *sshWire) drop(kept *sshIdle) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.idle, kept); i >= 0 {
		w.idle = slices.Delete(w.idle, i, i+1)
		kept.client.Close()
	}
}

func (w *sshWire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, kept := range w.idle {
		kept.expire.Stop()
		kept.client.Close()
	}
	w.idle = nil
}
