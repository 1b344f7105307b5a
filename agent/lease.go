package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// ErrLeaseLost says that another agent may be serving the repository by now. Starting again waits for the lease.
var ErrLeaseLost = errors.New("the lease was lost: another agent may be serving the repository")

// How long a lease is good for without a sign of life, how long its holder goes on trying to renew it, and how often.
// They are those of Kubernetes' own controllers.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// newLease returns the lock of the Lease called namespace/name; nil where there is no name.
func newLease(config *rest.Config, name string) (resourcelock.Interface, error) {
	if name == "" {
		return nil, nil
	}
	namespace, name, ok := strings.Cut(name, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("give the namespace and the name of a Lease, such as gitrota/rotations")
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	// Two agents of one host are two.
	identity := resourcelock.ResourceLockConfig{Identity: host + "_" + rand.String(8)}
	return resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, namespace, name, identity, config, renewDeadline)
}

// lead calls serve while this agent, and no other, holds the lease; without a lease, at once. Safety does not hang on
// it, since every step of a rotation is a conditional write: it spares the servers the logins and the Git server the
// polls of a second agent, and lets that one stand by.
//
// The lease is given back after serve has returned, statuses written and all, so that the next one finds them. A lease
// that is lost meanwhile ends serve's context, and lead returns ErrLeaseLost. It returns nil when ctx ends.
func (a *Agent) lead(ctx context.Context, serve func(context.Context) error) error {
	if a.lease == nil {
		return serve(ctx)
	}
	led := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: a.lease, Name: a.options.Lease, ReleaseOnCancel: true,
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(led) },
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				a.log.Info("lease", "name", a.options.Lease, "holder", identity, "is_me", identity == a.lease.Identity())
			},
		},
	})
	if err != nil {
		return fmt.Errorf("electing who serves: %w", err)
	}
	election, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	over := make(chan struct{})
	a.metrics.standby.Store(true)
	go func() {
		defer close(over)
		elector.Run(election)
	}()
	select {
	case <-led:
	case <-ctx.Done():
		end()
		<-over
		return nil
	}
	a.metrics.standby.Store(false)
	work, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		<-over
		stop()
	}()
	err = serve(work)
	lost := work.Err() != nil && ctx.Err() == nil
	end()
	<-over
	if lost {
		return errors.Join(ErrLeaseLost, err)
	}
	return err
}
