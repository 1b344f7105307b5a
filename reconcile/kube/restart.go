package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/reconcile"
)

// AnnotationRotationID is set on the pod template of a consumer: the id of the rotation for which its pods were
// replaced last. A change of it makes new pods, as kubectl rollout restart does with an annotation of its own.
const AnnotationRotationID = "gitrota.dev/rotation-id"

// RestartConsumer implements [reconcile.Cluster]. ErrConflict if the consumer was deleted, created anew or changed since it
// was listed: who was stopped in between does not bring the id of an earlier rotation back, and with it older pods. The
// API server makes nothing of a patch that changes nothing.
func (c *Cluster) RestartConsumer(ctx context.Context, consumer reconcile.Consumer, rotationID string) error {
	what := "restarting " + consumer.String() + " in " + consumer.Namespace
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": consumer.UID, "resourceVersion": consumer.Version},
		"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
			"annotations": map[string]string{AnnotationRotationID: rotationID},
		}}},
	})
	if err != nil {
		return err
	}
	apps, options := c.typed.AppsV1(), metav1.PatchOptions{FieldManager: FieldManager}
	switch consumer.Kind {
	case kindDeployment:
		_, err = apps.Deployments(consumer.Namespace).Patch(ctx, consumer.Name, types.MergePatchType, patch, options)
	case kindStatefulSet:
		_, err = apps.StatefulSets(consumer.Namespace).Patch(ctx, consumer.Name, types.MergePatchType, patch, options)
	case kindDaemonSet:
		_, err = apps.DaemonSets(consumer.Namespace).Patch(ctx, consumer.Name, types.MergePatchType, patch, options)
	default:
		return fmt.Errorf("%s: this kind of workload is not known", what)
	}
	if apierrors.IsNotFound(err) || otherUID(err) {
		return fmt.Errorf("%s: it is not there any more: %w", what, reconcile.ErrConflict)
	}
	return fault(what, err)
}

// otherUID reports whether a patch was refused because the object has another UID than it says.
func otherUID(err error) bool {
	status, ok := err.(apierrors.APIStatus)
	if !ok || !apierrors.IsInvalid(err) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(cause metav1.StatusCause) bool { return cause.Field == "metadata.uid" })
}
