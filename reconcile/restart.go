package reconcile

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// listRestarts remembers which pods run with the old password. Should the run be killed before this is written, the
// list is made later and may name a pod that has started since: it is restarted once more than needed.
func (r *rotation) listRestarts(ctx context.Context, w world, _ step) error {
	keeper := w.keeper
	keeper.Restart = map[string]string{}
	for _, replica := range w.instances() {
		if replica.Pod && slices.Contains(replica.PasswordFrom, w.target.AuthSecret.Name) {
			keeper.Restart[replica.Name] = replica.UID
		}
	}
	keeper.Published = r.Clock.Now().UTC().Truncate(time.Second)
	status := r.status.clone()
	keeper.Record = &status
	return r.keep(ctx, keeper)
}

// evict ends a pod that is listed, if it still is that pod and the list still is in force.
func (r *rotation) evict(ctx context.Context, w world, s step) error {
	if err := r.confirm(ctx); err != nil {
		return err
	}
	return r.Cluster.Evict(ctx, w.replica(s.target).Replica)
}

func (r *rotation) awaitPod(_ context.Context, w world, s step) error {
	what := "is not ready"
	switch replica := w.replica(s.target); {
	case replica.Name == "":
		what = "is not there"
	case replica.Ending:
		what = "has not ended"
	}
	return fault.New(fault.Wait, mssql.ReasonUnreachable, "see kubectl describe pod "+s.target, "the pod %s/%s %s yet", w.target.Namespace, s.target, what)
}

// awaitGroup waits until the availability group could lose another replica.
func (r *rotation) awaitGroup(_ context.Context, w world, _ step) error {
	why := "its primary does not tell how it is"
	if unhealthy := w.unhealthy(); len(unhealthy) > 0 {
		why = "not connected or not in step: " + strings.Join(unhealthy, ", ")
	}
	return fault.New(fault.Wait, ReasonGroupUnhealthy, "see sys.dm_hadr_availability_replica_states on the primary",
		"the availability group of %s is not healthy, so no further pod is restarted: %s", w.target, why)
}

// restartConsumers has as many of the auth Secret's users restarted at once as the policy allows, and waits for them.
func (r *rotation) restartConsumers(ctx context.Context, w world, _ step) error {
	id := w.keeper.Next.RotationID
	running := 0
	var waiting []Consumer
	for _, c := range w.consumers {
		switch {
		case !w.pending(c):
		case c.RotationID == id:
			running++
			waiting = append(waiting, c)
		case running < max(r.status.Request.Consumers.MaxConcurrent, 1):
			running++
			if err := r.Cluster.RestartConsumer(ctx, c, id); err != nil {
				return err
			}
		}
	}
	if len(waiting) == 0 {
		return nil // they have just been told
	}
	var names []string
	for _, c := range waiting {
		names = append(names, c.String())
	}
	return fault.New(fault.Wait, ReasonConsumers, "see kubectl rollout status; the credential itself is in order",
		"not all pods of %s are new and ready yet", strings.Join(names, ", "))
}
