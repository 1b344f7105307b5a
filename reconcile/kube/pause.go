package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"

	"github.com/gitrota/gitrota/reconcile"
)

// KubeDB's operators leave a database alone while its status has the condition Paused; to resume is to remove it
// (kubedb.com/v1alpha2, DatabasePaused).
const conditionPaused = "Paused"

// Pause implements [reconcile.Cluster].
func (c *Cluster) Pause(ctx context.Context, target reconcile.Target, reason string) error {
	return c.updateConditions(ctx, target, "pausing", func(object *unstructured.Unstructured, conditions []any) ([]any, error) {
		if pausedCondition(object) != nil {
			return nil, nil // ours from an earlier try, or somebody else's: the next gathering tells
		}
		if target.Version != "" && object.GetResourceVersion() != target.Version {
			return nil, reconcile.ErrConflict // others may have paused, rotated and resumed it since it was read
		}
		return append(conditions, map[string]any{
			"type": conditionPaused, "status": "True", "reason": conditionPaused, "message": reason,
			"observedGeneration": object.GetGeneration(),
			"lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
		}), nil
	})
}

// Resume implements [reconcile.Cluster].
func (c *Cluster) Resume(ctx context.Context, target reconcile.Target, reason string) error {
	return c.updateConditions(ctx, target, "resuming", func(object *unstructured.Unstructured, conditions []any) ([]any, error) {
		if now := mssqlserverTarget(object); !now.Paused || now.PauseReason != reason {
			return nil, nil
		}
		kept := []any{}
		for _, condition := range conditions {
			if fields, ok := condition.(map[string]any); !ok || fields["type"] != conditionPaused {
				kept = append(kept, condition)
			}
		}
		return kept, nil
	})
}

// updateConditions changes the conditions in the status; nil from change means that nothing is to do. A conflict with
// another writer of the status, such as KubeDB's health check, is read and written again.
func (c *Cluster) updateConditions(ctx context.Context, target reconcile.Target, what string, change func(*unstructured.Unstructured, []any) ([]any, error)) error {
	resource := c.dynamic.Resource(mssqlservers).Namespace(target.Namespace)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		object, err := resource.Get(ctx, target.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
		if err != nil {
			return err
		}
		if conditions, err = change(object, conditions); conditions == nil || err != nil {
			return err
		}
		if err := unstructured.SetNestedSlice(object.Object, conditions, "status", "conditions"); err != nil {
			return err
		}
		_, err = resource.UpdateStatus(ctx, object, metav1.UpdateOptions{FieldManager: FieldManager})
		return err
	})
	switch {
	case apierrors.IsNotFound(err) && what == "resuming":
		return nil // a database that is gone is not paused
	case errors.Is(err, reconcile.ErrConflict):
		return fmt.Errorf("%s %s: %w", what, target, err)
	}
	return fault(what+" MSSQLServer "+target.Namespace+"/"+target.Name, err)
}

func pausedCondition(object *unstructured.Unstructured) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		if fields, ok := condition.(map[string]any); ok && fields["type"] == conditionPaused {
			return fields
		}
	}
	return nil
}
