// What SQL Server makes for itself is readable with it: see cmd/gitrota/main.go.
//go:debug x509negativeserial=1

// Command demo shows gitrota at work, from nothing to two rotated passwords: `make demo`.
//
// It starts a Kubernetes control plane with a SQL Server stand-in (cmd/devcluster), a Git server, and the agent as it
// would run in a cluster: the built binary, with the rights of the install manifests and no others. Then it does what
// a user does, which is to push the manifests of examples/push, and shows what comes back. What it claims it checks:
// it exits with 0 only if every claim held.
//
// Whatever it dies of, nothing stays behind: the cluster ends with the pipe that it reads from and removes the folder
// that everything is in, and the agent ends with its parent.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// The kernel tells a child that its parent died when the thread ends that started it. The main goroutine stays on the
// main thread, which lasts as long as the process.
func init() { runtime.LockOSThread() }

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal is not caught any more
	out := newScreen(os.Stdout)
	err := tell(ctx, out, os.Getenv("KEEP") == "1")
	switch {
	case errors.Is(err, errEnded):
		return 0
	case err != nil && ctx.Err() != nil:
		out.failed("interrupted; everything is torn down")
		return 130
	case err != nil:
		out.failed(err.Error())
		return 1
	}
	return 0
}

// errEnded says that a demonstration which was kept has been ended by its user.
var errEnded = errors.New("ended")

// tell runs the demonstration and takes everything down again.
func tell(ctx context.Context, out *screen, keep bool) (err error) {
	w := &world{}
	defer func() {
		// The Git server of the tests panics where a test would fail.
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
		if err != nil && ctx.Err() == nil {
			out.excerpt("the end of the agent's log", w.agentLog())
		}
		err = errors.Join(err, w.close())
	}()
	if err := story(ctx, out, w); err != nil {
		return err
	}
	if !keep {
		return nil
	}
	lookAround(out, w)
	select {
	case <-ctx.Done():
		return errEnded
	case <-w.agent.done:
		return errors.New("the agent has ended by itself")
	}
}
