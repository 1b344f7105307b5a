package kube

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gitrota/gitrota/reconcile"
)

// candidate is a workload that may be a consumer.
type candidate struct {
	reconcile.Consumer
	meta     *metav1.ObjectMeta
	template *corev1.PodTemplateSpec
}

// Consumers implements [reconcile.Cluster].
func (c *Cluster) Consumers(ctx context.Context, target reconcile.Target) ([]reconcile.Consumer, error) {
	lists := []func(context.Context, string) ([]candidate, error){c.deployments, c.statefulSets, c.daemonSets}
	found := make([][]candidate, len(lists))
	group, ctx := errgroup.WithContext(ctx)
	for i, list := range lists {
		group.Go(func() (err error) {
			found[i], err = list(ctx, target.Namespace)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var consumers []reconcile.Consumer
	for _, found := range slices.Concat(found...) {
		if !usesSecret(&found.template.Spec, target.AuthSecret.Name) || runsTarget(target, found) {
			continue
		}
		consumer := found.Consumer
		consumer.Namespace, consumer.Name, consumer.UID, consumer.Version = found.meta.Namespace, found.meta.Name, string(found.meta.UID), found.meta.ResourceVersion
		consumer.RotationID = found.template.Annotations[AnnotationRotationID]
		consumers = append(consumers, consumer)
	}
	slices.SortFunc(consumers, func(a, b reconcile.Consumer) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return consumers, nil
}

// runsTarget reports whether the pods of a workload are the target's servers, which are no consumers of their Secret.
func runsTarget(target reconcile.Target, w candidate) bool {
	if target.KubeDB() {
		return w.meta.Labels[labelName] == nameMSSQLServer && w.meta.Labels[labelInstance] == target.Name ||
			slices.ContainsFunc(w.meta.OwnerReferences, func(owner metav1.OwnerReference) bool {
				return owner.Kind == target.Kind && owner.Name == target.Name
			})
	}
	if own := target.Spec.Workload; own != nil {
		return own.Kind == w.Kind && own.Name == w.meta.Name
	}
	own := target.Spec.Selector
	return len(own) > 0 && labels.SelectorFromSet(own).Matches(labels.Set(w.template.Labels))
}

func (c *Cluster) deployments(ctx context.Context, namespace string) ([]candidate, error) {
	list, err := c.typed.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault("listing the Deployments in "+namespace, err)
	}
	var found []candidate
	for i := range list.Items {
		d := &list.Items[i]
		wanted, status := *d.Spec.Replicas, &d.Status
		found = append(found, candidate{meta: &d.ObjectMeta, template: &d.Spec.Template, Consumer: reconcile.Consumer{
			Kind: kindDeployment, Wanted: int(wanted), Paused: d.Spec.Paused,
			Settled: status.ObservedGeneration >= d.Generation &&
				all(wanted, status.Replicas, status.UpdatedReplicas, status.ReadyReplicas, status.AvailableReplicas),
		}})
	}
	return found, nil
}

func (c *Cluster) statefulSets(ctx context.Context, namespace string) ([]candidate, error) {
	list, err := c.typed.AppsV1().StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault("listing the StatefulSets in "+namespace, err)
	}
	var found []candidate
	for i := range list.Items {
		s := &list.Items[i]
		wanted, status := *s.Spec.Replicas, &s.Status
		byHand := s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType
		rolling := s.Spec.UpdateStrategy.RollingUpdate
		held := rolling != nil && rolling.Partition != nil && *rolling.Partition > 0
		found = append(found, candidate{meta: &s.ObjectMeta, template: &s.Spec.Template, Consumer: reconcile.Consumer{
			Kind: kindStatefulSet, Wanted: int(wanted), Paused: byHand || held,
			// The current revision is that of a rollout that has ended. Those by hand have no end that is noticed.
			Settled: status.ObservedGeneration >= s.Generation && (byHand || status.CurrentRevision == status.UpdateRevision) &&
				all(wanted, status.Replicas, status.UpdatedReplicas, status.ReadyReplicas, status.AvailableReplicas),
		}})
	}
	return found, nil
}

func (c *Cluster) daemonSets(ctx context.Context, namespace string) ([]candidate, error) {
	list, err := c.typed.AppsV1().DaemonSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault("listing the DaemonSets in "+namespace, err)
	}
	var found []candidate
	for i := range list.Items {
		d := &list.Items[i]
		wanted, status := d.Status.DesiredNumberScheduled, &d.Status
		found = append(found, candidate{meta: &d.ObjectMeta, template: &d.Spec.Template, Consumer: reconcile.Consumer{
			Kind: kindDaemonSet, Wanted: int(wanted), Paused: d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType,
			Settled: status.ObservedGeneration >= d.Generation &&
				all(wanted, status.CurrentNumberScheduled, status.UpdatedNumberScheduled, status.NumberReady, status.NumberAvailable),
		}})
	}
	return found, nil
}

// all reports whether each count is the wanted one, and there is anything wanted: what has no pods does not settle, for
// nobody has seen that it works.
func all(wanted int32, counts ...int32) bool {
	return wanted > 0 && !slices.ContainsFunc(counts, func(count int32) bool { return count != wanted })
}
