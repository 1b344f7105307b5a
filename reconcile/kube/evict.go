package kube

import (
	"context"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

// ReasonDisruptionBudget: a PodDisruptionBudget does not let a pod be evicted at this time.
const ReasonDisruptionBudget = "DisruptionBudget"

// evictTimeout bounds one eviction call: while a disruption budget has not been observed, the API server asks to come
// back, and client-go would do so for about a hundred seconds without telling.
const evictTimeout = 5 * time.Second

// Evict implements [reconcile.Cluster]. A pod that is not ready is deleted where a disruption budget refuses its eviction,
// unless the budget allows no disruption at all: budgets count pods that are ready, so that one whose pods have all lost
// their readiness by a change of the password they probe with would refuse to let any of them get the new one.
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
	case apierrors.IsTooManyRequests(err) && !replica.Ready:
		return c.deleteUnready(ctx, replica)
	case apierrors.IsTooManyRequests(err), ctx.Err() != nil:
		return budgetSaysNo(replica, "its PodDisruptionBudget does not allow it")
	}
	return fault("evicting the pod "+replica.Namespace+"/"+replica.Name, err)
}

func budgetSaysNo(replica reconcile.Replica, why string) error {
	return faults.New(faults.Wait, ReasonDisruptionBudget, "see kubectl get pdb",
		"the pod %s/%s may not be evicted at this time: %s", replica.Namespace, replica.Name, why)
}

// deleteUnready deletes a pod as it was when it was found to be not ready.
func (c *Cluster) deleteUnready(ctx context.Context, replica reconcile.Replica) error {
	what := "restarting the pod " + replica.Namespace + "/" + replica.Name
	pod, err := c.typed.CoreV1().Pods(replica.Namespace).Get(ctx, replica.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fault(what, err)
	case string(pod.UID) != replica.UID:
		return nil
	case ready(pod):
		return budgetSaysNo(replica, "its PodDisruptionBudget does not allow it")
	}
	budgets, err := c.typed.PolicyV1().PodDisruptionBudgets(replica.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fault(what, err)
	}
	for i := range budgets.Items {
		budget := &budgets.Items[i]
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		switch status := budget.Status; {
		case err != nil || !selector.Matches(labels.Set(pod.Labels)):
		case status.ObservedGeneration < budget.Generation:
			return budgetSaysNo(replica, "the PodDisruptionBudget "+budget.Name+" has just been changed")
		case status.ExpectedPods <= status.DesiredHealthy:
			return budgetSaysNo(replica, "the PodDisruptionBudget "+budget.Name+" allows no disruption, also of pods that are not ready")
		}
	}
	err = c.typed.CoreV1().Pods(replica.Namespace).Delete(ctx, replica.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &pod.UID, ResourceVersion: &pod.ResourceVersion},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // as above
	}
	return fault(what, err)
}
