package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitrota/gitrota/gitsource/gittest/devprogram"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// cluster is what all episodes share. What happens to its control plane happens to all of them.
type cluster struct {
	*kubetest.Cluster
	agent           string // the binary
	agentKubeconfig string
	folder          string // for what episodes leave behind

	mu     sync.Mutex
	upset  map[string]int // how many want a process of the control plane to be stopped
	events []string       // what happened to the control plane
}

// startCluster starts a cluster and installs gitrota's role in it.
func startCluster(ctx context.Context, agent, folder string) (*cluster, error) {
	if _, err := os.Stat(agent); err != nil {
		return nil, fmt.Errorf("%w: run `make torture`, which builds it", err)
	}
	root, err := devprogram.Root()
	if err != nil {
		return nil, err
	}
	up, err := kubetest.Up(ctx, kubetest.Options{Revive: true})
	if err != nil {
		return nil, err
	}
	c := &cluster{Cluster: up, agent: agent, folder: folder, upset: map[string]int{}}
	for _, file := range []string{"namespace.yaml", "rbac.yaml"} {
		if _, err := c.Run(ctx, nil, "apply", "-f", filepath.Join(root, "examples", "install", file)); err != nil {
			return nil, fmt.Errorf("%w (%v)", err, c.Down())
		}
	}
	if c.agentKubeconfig, err = c.serviceAccount(ctx, "gitrota", "gitrota"); err != nil {
		return nil, fmt.Errorf("%w (%v)", err, c.Down())
	}
	return c, nil
}

// serviceAccount writes a kubeconfig that has the rights of a service account and no others, for a day.
func (c *cluster) serviceAccount(ctx context.Context, namespace, name string) (file string, err error) {
	day := int64(24 * time.Hour / time.Second)
	token, err := c.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	config := api.NewConfig()
	config.Clusters["torture"] = &api.Cluster{Server: c.Config.Host, CertificateAuthorityData: c.Config.CAData}
	config.AuthInfos[name] = &api.AuthInfo{Token: token.Status.Token}
	config.Contexts["torture"] = &api.Context{Cluster: "torture", AuthInfo: name}
	config.CurrentContext = "torture"
	file = filepath.Join(c.Dir, "agent.kubeconfig")
	return file, clientcmd.WriteToFile(*config, file)
}

// kill ends a process of the control plane, which devcluster starts again.
func (c *cluster) kill(process string) error {
	c.note("killed " + process)
	return c.Signal(process, syscall.SIGKILL)
}

// stop keeps a process of the control plane from running until the returned function is called.
func (c *cluster) stop(process string) (resume func() error, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upset[process]++
	c.events = append(c.events, now()+" stopped "+process)
	return func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.upset[process]--; c.upset[process] > 0 {
			return nil
		}
		c.events = append(c.events, now()+" resumed "+process)
		return c.Signal(process, syscall.SIGCONT)
	}, c.Signal(process, syscall.SIGSTOP)
}

func (c *cluster) note(event string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, now()+" "+event)
}

// happened lists what happened to the control plane, by whichever episode.
func (c *cluster) happened() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.events...)
}

func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

// until asks again and again until something holds or fails for good.
func until(ctx context.Context, patience time.Duration, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("waited %s in vain until %s", patience, what))
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if held, err := holds(); held || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
