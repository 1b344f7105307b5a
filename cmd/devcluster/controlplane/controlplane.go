// Package controlplane runs a real Kubernetes control plane on this machine: etcd, kube-apiserver and
// kube-controller-manager, as child processes on free ports of 127.0.0.1, with all their files in one folder.
//
// The programs are in devcluster itself, which runs itself again under their names. Prebuilt etcd and kube-apiserver
// are used instead where they are, as setup-envtest lays them out ($KUBEBUILDER_ASSETS) or in $PATH.
//
// It is for tests and demonstrations: etcd does not wait for the disk and asks nobody on the loopback who they are.
package controlplane

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// loopback is where everything listens.
const loopback = "127.0.0.1"

// startTimeout is how long one process may take until it answers: seconds on an idle machine, more on one that builds.
const startTimeout = 2 * time.Minute

// pauseBefore a process is started again keeps one that cannot live from being started without end.
const pauseBefore = 200 * time.Millisecond

// ControlPlane is a control plane that runs. Its methods may be called by several goroutines, but for those that start
// something.
type ControlPlane struct {
	Config *rest.Config // of an administrator, without a limit on its rate: priority and fairness at the server suffice

	dir        string
	kubeconfig string
	revive     bool
	client     kubernetes.Interface
	log        *slog.Logger

	mu        sync.Mutex
	processes []*process // in the order of their first start
	died      chan error
	stopping  chan struct{}
	stopOnce  sync.Once
}

// Start starts etcd and the API server on what is in dir, or anew where dir is empty, writes an administrator's
// kubeconfig to the given file, and returns when the API server answers. When ctx ends before that, Start ends what it
// started and returns an error; after that ctx has no meaning. With revive, a process that ends without having been asked
// to is started again.
func Start(ctx context.Context, dir, kubeconfig string, revive bool, log *slog.Logger) (_ *ControlPlane, err error) {
	for _, sub := range []string{"pki", "logs", "etcd", "pids"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	ports, err := loadPorts(filepath.Join(dir, "ports.json"))
	if err != nil {
		return nil, err
	}
	server := "https://" + net.JoinHostPort(loopback, strconv.Itoa(ports.APIServer))
	if err := writeCredentials(dir, server, kubeconfig); err != nil {
		return nil, err
	}
	c := &ControlPlane{dir: dir, kubeconfig: kubeconfig, revive: revive, log: log, died: make(chan error, 3), stopping: make(chan struct{})}
	if c.Config, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return nil, err
	}
	c.Config.QPS = -1
	if c.client, err = kubernetes.NewForConfig(c.Config); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	// The API server does nothing before it has reached etcd, and asks again only after a second.
	err = c.start(ctx, "etcd", etcdFlags(dir, ports), func(ctx context.Context) error { return dial(ctx, ports.EtcdClient) })
	if err != nil {
		return nil, err
	}
	return c, c.start(ctx, "kube-apiserver", apiServerFlags(dir, ports), c.apiServerReady)
}

// StartControllers starts the controller manager and returns when it works. Whatever kinds the API server serves should
// be there before: a kind that comes later is no concern of the garbage collector's for half a minute.
func (c *ControlPlane) StartControllers(ctx context.Context) error {
	return c.start(ctx, "kube-controller-manager", controllerFlags(c.dir, c.kubeconfig), c.controllersWork)
}

// start starts one of the programs and returns when it answers.
func (c *ControlPlane) start(ctx context.Context, name string, flags []string, answers func(context.Context) error) error {
	program := findProgram(name)
	c.log.Info("starting "+name, "program", program.describe())
	p, err := c.run(name, append(program.command, flags...))
	if err != nil {
		return err
	}
	c.mu.Lock()
	n := len(c.processes)
	c.processes = append(c.processes, p)
	c.mu.Unlock()
	go c.watch(n, p)
	return p.waitFor(ctx, answers)
}

// run starts a process and writes its id to pids/<name>, for those who want to kill it.
func (c *ControlPlane) run(name string, command []string) (*process, error) {
	p, err := startProcess(name, filepath.Join(c.dir, "logs"), command)
	if err != nil {
		return nil, err
	}
	// In one piece: who reads it meanwhile finds the one before.
	file := filepath.Join(c.dir, "pids", name)
	if err = os.WriteFile(file+".new", []byte(strconv.Itoa(p.cmd.Process.Pid)), 0o600); err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// watch reports that the n-th process has died, or puts another one in its place, until the control plane is stopped.
func (c *ControlPlane) watch(n int, p *process) {
	for {
		<-p.done
		if !c.revive {
			break
		}
		select {
		case <-c.stopping:
			return
		case <-time.After(pauseBefore):
		}
		c.log.Warn("starting "+p.name+" again", "error", p.err)
		c.mu.Lock()
		select {
		case <-c.stopping: // meanwhile
			c.mu.Unlock()
			return
		default:
		}
		again, err := c.run(p.name, p.cmd.Args)
		if err != nil {
			c.mu.Unlock()
			c.died <- err
			return
		}
		p = again
		c.processes[n] = p
		c.mu.Unlock()
	}
	select {
	case <-c.stopping:
	default:
		c.died <- p.err
	}
}

// Died gives the reason when one of the processes ended without having been asked to.
func (c *ControlPlane) Died() <-chan error { return c.died }

// Stop ends the processes, the last one first, and returns when all have ended.
func (c *ControlPlane) Stop() {
	c.stopOnce.Do(func() {
		c.mu.Lock() // nothing is started any more
		close(c.stopping)
		c.mu.Unlock()
		for i := len(c.processes) - 1; i >= 0; i-- {
			c.processes[i].stop()
		}
	})
}

// waitFor asks until the process answers, and fails as soon as the process is gone or ctx has ended.
func (p *process) waitFor(ctx context.Context, answers func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.err
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s, which last said: %w; see %s", p.name, err, p.logFile)
		case <-tick.C:
		}
	}
}

func dial(ctx context.Context, port int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return conn.Close()
}

func (c *ControlPlane) apiServerReady(ctx context.Context) error {
	return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// controllersWork tells by something that only a controller does: a namespace gets a service account, without which no
// pod may be created in it.
func (c *ControlPlane) controllersWork(ctx context.Context) error {
	_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	if errors.IsNotFound(err) {
		return fmt.Errorf("the service account of namespace default is not there yet: %w", err)
	}
	return err
}
