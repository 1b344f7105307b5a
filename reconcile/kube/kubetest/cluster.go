// Package kubetest gives tests and the demonstration a Kubernetes cluster: it builds, starts and ends cmd/devcluster.
//
// A test calls [Start] and gets the cluster of its test binary, which is started once and shared; what keeps tests apart
// are namespaces, of which each asks for its own with [Cluster.Namespace]. Nobody has to end the cluster: it reads from
// a pipe that the kernel closes when the test binary is gone, whatever it died of, then ends its processes and removes
// its folder. That is why there is no TestMain to be written.
//
// Other programs call [Up] and [Cluster.Down].
package kubetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// downTimeout is how long a cluster may take to end. It takes about a second.
const downTimeout = 30 * time.Second

// Options say how a cluster is started. The zero value is a cluster in a folder of its own that is removed at its end.
type Options struct {
	// Dir is where the cluster is kept, and taken up again by the next one with the same Dir. Empty is a new folder,
	// which goes with the cluster.
	Dir string
	// Revive has processes of the control plane that were killed started again; see [Cluster.Signal].
	Revive bool
	// Log gets what the cluster says while it starts and runs; nil is nobody. The end of it is in [Cluster.Log].
	Log io.Writer
}

// Cluster is a cluster that runs. It may be used by several goroutines.
type Cluster struct {
	Config     *rest.Config // of an administrator, without a limit on its rate
	Client     kubernetes.Interface
	Dynamic    dynamic.Interface
	Kubeconfig string // the file
	Dir        string

	binary string
	cmd    *exec.Cmd
	log    tail
	leash  io.Closer // the cluster ends when this is closed, or this process is gone
	done   chan struct{}
	exit   error // to be read after done
}

// Up starts a cluster and returns when it is usable. The first call on a machine builds devcluster, which takes
// minutes. When ctx ends before the cluster is usable, Up ends it and fails; after that ctx has no meaning.
func Up(ctx context.Context, options Options) (*Cluster, error) {
	binary, err := devcluster.Path(ctx)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: options.Dir, binary: binary, done: make(chan struct{})}
	args := []string{"up", "--stop-on-eof"}
	if options.Revive {
		args = append(args, "--revive")
	}
	if c.Dir == "" {
		if c.Dir, err = os.MkdirTemp("", "devcluster-"); err != nil {
			return nil, err
		}
		args = append(args, "--ephemeral")
	} else if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	c.Kubeconfig = filepath.Join(c.Dir, "kubeconfig")
	if err := c.start(ctx, append(args, "--dir="+c.Dir), options.Log); err != nil {
		return nil, err
	}
	if err := c.connect(); err != nil {
		return nil, errors.Join(err, c.Down())
	}
	return c, nil
}

// Down ends the cluster and returns when it has ended. Calling it again does nothing.
func (c *Cluster) Down() error {
	_ = c.leash.Close() // an error means that this was done before
	select {
	case <-c.done:
		return c.exit
	case <-time.After(downTimeout):
		return errors.Join(fmt.Errorf("the cluster in %s did not end within %s", c.Dir, downTimeout), c.cmd.Process.Kill())
	}
}

// Run runs kubectl as an administrator, and returns what it prints.
func (c *Cluster) Run(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.binary, append([]string{"kubectl", "--kubeconfig=" + c.Kubeconfig}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Volume is the folder of a PersistentVolumeClaim.
func (c *Cluster) Volume(namespace, claim string) string {
	return filepath.Join(c.Dir, "volumes", namespace, claim)
}

// Signal sends a signal to a process of the control plane: etcd, kube-apiserver or kube-controller-manager. One that is
// killed comes back in a cluster with [Options].Revive; without it, the cluster ends.
func (c *Cluster) Signal(process string, signal syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(c.Dir, "pids", process))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	return syscall.Kill(pid, signal)
}

// Log is the end of what the cluster has said.
func (c *Cluster) Log() string { return c.log.String() }

// start runs devcluster and waits for its word that it is ready.
func (c *Cluster) start(ctx context.Context, args []string, log io.Writer) error {
	c.cmd = exec.Command(c.binary, args...)
	c.log.forward = log
	c.cmd.Stderr = &c.log
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if c.leash, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan struct{})
	go func() {
		defer close(c.done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "ready ") {
				close(ready)
			}
		}
		c.exit = c.cmd.Wait()
	}()
	select {
	case <-ready:
		return nil
	case <-c.done:
		return fmt.Errorf("devcluster ended before it was ready: %w: %s", c.exit, c.Log())
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("waiting for devcluster, which last said %q: %w", c.Log(), context.Cause(ctx)), c.Down())
	}
}

func (c *Cluster) connect() (err error) {
	if c.Config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig); err != nil {
		return err
	}
	c.Config.QPS = -1
	if c.Client, err = kubernetes.NewForConfig(c.Config); err != nil {
		return err
	}
	c.Dynamic, err = dynamic.NewForConfig(c.Config)
	return err
}
