// Package kube is how gitrota works on a cluster: KubeDB's MSSQLServer objects and other workloads that run SQL Server,
// the Secrets with the credentials, the pods, and the workloads that use the Secrets. It implements [reconcile.Cluster]
// on client-go, reads from the API server each time, and writes under the condition that nobody else has written since.
package kube

import (
	"context"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gitrota/gitrota/reconcile"
)

// FieldManager is how gitrota's writes are called in the managedFields of what it has written.
const FieldManager = "gitrota"

// Cluster is a [reconcile.Cluster]. It is safe for concurrent use.
type Cluster struct {
	typed   kubernetes.Interface
	dynamic dynamic.Interface
	events  *events
}

var _ reconcile.Cluster = (*Cluster)(nil)

// New connects to the cluster that config names; nothing is sent yet. Where config sets no limit, there is none: each
// rotation has one request under way, and the API server's priority and fairness shares what it has better than a client
// that knows only itself. The caller ends it with Close.
func New(config *rest.Config, log *slog.Logger) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = "gitrota"
	if config.QPS == 0 {
		config.QPS = -1
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return &Cluster{typed: typed, dynamic: untyped, events: startEvents(typed, log)}, nil
}

// Close sends the events that still wait, as long as ctx allows, and ends.
func (c *Cluster) Close(ctx context.Context) { c.events.close(ctx) }

// Ping asks the API server for its version, to tell early and clearly that it cannot be reached.
func (c *Cluster) Ping(ctx context.Context) error {
	_, err := c.typed.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	if apierrors.IsUnauthorized(err) {
		return fmt.Errorf("the cluster does not know gitrota's credential: %w", err)
	}
	if err != nil {
		return fmt.Errorf("the cluster cannot be reached: %w", err)
	}
	return nil
}
