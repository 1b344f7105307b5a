package kube

import (
	"context"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

// ReasonDisruptionBudget: a PodDisruptionBudget does not let a pod be evicted at this time.
const ReasonDisruptionBudget = "DisruptionBudget"

// evictTimeout bounds one eviction call: while a disruption budget has not been observed, the API server asks to come
// back, and client-go would do so for about a hundred seconds without telling.
const evictTimeout = 5 * time.Second

// Evict implements [reconcile.Cluster].
func (c *Cluster) Evict(ctx context.Context, replica reconcile.Replica) error {
	ctx, cancel := context.WithTimeout(ctx, evictTimeout)
	defer cancel()
	uid := types.UID(replica.UID)
	err := c.typed.PolicyV1().Evictions(replica.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: replica.Namespace, Name: replica.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
	})
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil // it goes, or another one has its name by now: the next gathering tells
	case apierrors.IsTooManyRequests(err), ctx.Err() != nil:
		return faults.New(faults.Wait, ReasonDisruptionBudget, "see kubectl get pdb",
			"the pod %s/%s may not be evicted at this time: its PodDisruptionBudget does not allow it", replica.Namespace, replica.Name)
	}
	return fault("evicting the pod "+replica.Namespace+"/"+replica.Name, err)
}
