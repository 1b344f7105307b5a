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

// ControlPlane is a control plane that runs. Its methods may be called by several goroutines.
type ControlPlane struct {
	Config *rest.Config // of an administrator, without a limit on its rate: priority and fairness at the server suffice

	processes []*process // in the order of their start
	died      chan error
	stopping  chan struct{}
	stopOnce  sync.Once
}

// Start starts a control plane on what is in dir, or anew where dir is empty, writes an administrator's kubeconfig to
// the given file, and returns when the API server answers and the controllers work. When ctx ends before that, Start
// ends what it started and returns an error; after that ctx has no meaning.
func Start(ctx context.Context, dir, kubeconfig string, log *slog.Logger) (_ *ControlPlane, err error) {
	for _, sub := range []string{"pki", "logs", "etcd"} {
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
	c := &ControlPlane{died: make(chan error, 3), stopping: make(chan struct{})}
	if c.Config, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return nil, err
	}
	c.Config.QPS = -1
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	// The API server needs etcd before it does anything, and the controllers give up early without an API server.
	for _, next := range []struct {
		name    string
		flags   []string
		answers func(context.Context) error
	}{
		{"etcd", etcdFlags(dir, ports), func(ctx context.Context) error { return dial(ctx, ports.EtcdClient) }},
		{"kube-apiserver", apiServerFlags(dir, ports), func(ctx context.Context) error { return apiServerReady(ctx, client) }},
		{"kube-controller-manager", controllerFlags(dir, kubeconfig), func(ctx context.Context) error { return controllersWork(ctx, client) }},
	} {
		program := findProgram(next.name)
		log.Info("starting "+next.name, "program", program.describe())
		p, err := startProcess(next.name, filepath.Join(dir, "logs"), append(program.command, next.flags...))
		if err != nil {
			return nil, err
		}
		c.watch(p)
		if err := p.waitFor(ctx, next.answers); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Died gives the reason when one of the processes ended without having been asked to.
func (c *ControlPlane) Died() <-chan error { return c.died }

// Stop ends the processes, the last one first, and returns when all have ended.
func (c *ControlPlane) Stop() {
	c.stopOnce.Do(func() {
		close(c.stopping)
		for i := len(c.processes) - 1; i >= 0; i-- {
			c.processes[i].stop()
		}
	})
}

func (c *ControlPlane) watch(p *process) {
	c.processes = append(c.processes, p)
	go func() {
		<-p.done
		select {
		case <-c.stopping:
		default:
			c.died <- p.err
		}
	}()
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

func apiServerReady(ctx context.Context, client kubernetes.Interface) error {
	return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// controllersWork tells by something that only a controller does: every namespace gets a service account, without which
// no pod may be created. The namespace is asked for first, since the API server makes it a moment after it is ready.
func controllersWork(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	if errors.IsNotFound(err) {
		return fmt.Errorf("the service account of namespace default is not there yet: %w", err)
	}
	return err
}
