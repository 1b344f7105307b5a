package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

const upUsage = `devcluster up [flags]

  --dir DIR          where everything is: etcd's data, volumes, keys, logs. What an earlier devcluster left there is
                     taken up again: its objects, its databases and their passwords.
  --kubeconfig FILE  where to write an administrator's kubeconfig; DIR/kubeconfig unless given
  --stop-on-eof      end when standard input ends. For a program that starts a cluster for itself: however that program
                     dies, the kernel closes the pipe, and nothing is left behind.
  --ephemeral        remove DIR at the end
  --revive           start a process of the control plane again that was killed. Who wants to kill or to stop one finds its
                     id in DIR/pids/etcd, DIR/pids/kube-apiserver and DIR/pids/kube-controller-manager.

Standard output gets one line when the cluster is ready: ready kubeconfig=FILE
Standard error gets the progress. SIGINT and SIGTERM end the cluster; a second one ends it at once.
Everything listens on loopback addresses only. etcd and kube-apiserver are taken from $KUBEBUILDER_ASSETS or $PATH where
they are there, and are the built-in ones otherwise.
`

// up runs a cluster until it is told to end, and returns the exit status.
func up(args []string) int {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), upUsage) }
	dir := flags.String("dir", "", "")
	kubeconfig := flags.String("kubeconfig", "", "")
	stopOnEOF := flags.Bool("stop-on-eof", false, "")
	ephemeral := flags.Bool("ephemeral", false, "")
	revive := flags.Bool("revive", false, "")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if *dir == "" || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "devcluster up: --dir DIR is needed, and nothing but flags; see devcluster up --help")
		return 2
	}
	if err := run(*dir, *kubeconfig, *stopOnEOF, *ephemeral, *revive); err != nil {
		fmt.Fprintln(os.Stderr, "devcluster:", err)
		return 1
	}
	return 0
}

func run(dir, kubeconfig string, stopOnEOF, ephemeral, revive bool) (err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if kubeconfig == "" {
		kubeconfig = filepath.Join(dir, "kubeconfig")
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal is not caught any more
	if stopOnEOF {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	if ephemeral {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err = serve(ctx, dir, kubeconfig, revive, log, func() { fmt.Printf("ready kubeconfig=%s\n", kubeconfig) })
	if ctx.Err() != nil {
		return nil // it was told to end; what else went wrong, went wrong because of that
	}
	return err
}

// lock makes the folder and holds it: two clusters on the same data would ruin it.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("another devcluster runs in %s: end it first, or choose another --dir", dir)
	}
	return func() { _ = file.Close() }, nil
}
