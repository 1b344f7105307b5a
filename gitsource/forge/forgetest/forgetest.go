// Package forgetest gives tests a forge: it builds, starts and ends cmd/devforge, a real Gitea.
//
// A test calls [Start] and gets the forge of its test binary, which is started once and shared; what keeps tests apart
// are repositories, of which each asks for its own with [Forge.NewRepo]. People are played by [User]: they push with real
// git, and open, review and merge pull requests. Nobody has to end the forge: it reads from a pipe that the kernel closes
// when the test binary is gone, whatever it died of, then ends its processes and removes its folder. That is why there is
// no TestMain to be written.
//
// Other programs call [Up] and [Forge.Down]. A method that cannot do its work fails the test.
package forgetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// TB is what a forge needs of a *testing.T.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// downTimeout is how long a forge may take to end. It takes less than a second.
const downTimeout = 30 * time.Second

// Forge is a Gitea that runs. It may be used by several goroutines.
type Forge struct {
	URL string // http://127.0.0.1:port

	admin *User
	cmd   *exec.Cmd
	leash io.Closer // the forge ends when this is closed, or this process is gone
	done  chan struct{}
	exit  error // to be read after done

	log struct {
		sync.Mutex
		text []byte
	}
	mu    sync.Mutex
	users map[string]*User
	repos int
}

// shared is the forge of this test binary.
var shared = sync.OnceValues(func() (*Forge, error) { return Up(context.Background()) })

// Start returns the forge of this test binary and starts it for the first test that asks. When the test fails, the end
// of what Gitea said is part of its output.
func Start(t TB) *Forge {
	t.Helper()
	f, err := shared()
	if err != nil {
		t.Fatalf("starting the forge: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Gitea's last words:\n%s", f.Log())
		}
	})
	return f
}

// Up starts a forge and returns when it is usable. The first call on a machine builds devforge, which takes minutes.
// When ctx ends before that, Up ends the forge and fails; after that ctx has no meaning.
func Up(ctx context.Context) (*Forge, error) {
	binary, err := devforge.Path(ctx)
	if err != nil {
		return nil, err
	}
	f := &Forge{cmd: exec.Command(binary, "up"), done: make(chan struct{}), users: map[string]*User{}}
	f.cmd.Stderr = logWriter{f}
	stdout, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if f.leash, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		defer close(f.done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var name, token string
			if n, _ := fmt.Sscanf(lines.Text(), "ready url=%s admin=%s token=%s", &f.URL, &name, &token); n == 3 {
				f.admin = &User{Name: name, Token: token, forge: f}
				close(ready)
			}
		}
		f.exit = f.cmd.Wait()
	}()
	select {
	case <-ready:
		return f, nil
	case <-f.done:
		return nil, fmt.Errorf("devforge ended before it was ready: %w: %s", f.exit, f.Log())
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("waiting for devforge, which last said %q: %w", f.Log(), context.Cause(ctx)), f.Down())
	}
}

// Down ends the forge and returns when it has ended. Calling it again does nothing.
func (f *Forge) Down() error {
	_ = f.leash.Close() // an error means that this was done before
	select {
	case <-f.done:
		return f.exit
	case <-time.After(downTimeout):
		return errors.Join(fmt.Errorf("the forge did not end within %s", downTimeout), f.cmd.Process.Kill())
	}
}

// Log is the end of what Gitea has said.
func (f *Forge) Log() string {
	f.log.Lock()
	defer f.log.Unlock()
	return strings.TrimSpace(string(bytes.ToValidUTF8(f.log.text, nil)))
}

// logWriter keeps the end of what is written to it.
type logWriter struct{ forge *Forge }

func (w logWriter) Write(text []byte) (int, error) {
	const most = 16 << 10 // bytes
	w.forge.log.Lock()
	defer w.forge.log.Unlock()
	kept := append(w.forge.log.text, text...)
	w.forge.log.text = kept[max(0, len(kept)-most):]
	return len(text), nil
}
