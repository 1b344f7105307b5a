package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gitrota/gitrota/reconcile"
)

// containerServer is the container in which KubeDB runs SQL Server, and others if their document names no other.
const containerServer = "mssql"

// Replicas implements [reconcile.Cluster].
func (c *Cluster) Replicas(ctx context.Context, target reconcile.Target) ([]reconcile.Replica, error) {
	var replicas []reconcile.Replica
	if target.Spec != nil && len(target.Spec.Endpoints) > 0 {
		for _, address := range target.Spec.Endpoints {
			replicas = append(replicas, endpointReplica(target, address))
		}
	} else {
		pods, err := c.pods(ctx, target)
		if err != nil {
			return nil, err
		}
		for i := range pods {
			if runsServer(target, &pods[i]) {
				replicas = append(replicas, podReplica(target, &pods[i]))
			}
		}
	}
	slices.SortFunc(replicas, byOrdinal)
	return replicas, nil
}

// pods returns the pods that may be a target's servers.
func (c *Cluster) pods(ctx context.Context, target reconcile.Target) ([]corev1.Pod, error) {
	switch spec := target.Spec; {
	case target.KubeDB() && target.Group:
		selector := labels.Set{labelName: nameMSSQLServer, labelInstance: target.Name}
		return c.listPods(ctx, target.Namespace, selector.String())
	case target.KubeDB():
		return c.namedPods(ctx, target)
	case spec.Workload != nil:
		workload, err := c.workload(ctx, target.Namespace, *spec.Workload)
		if err != nil {
			return nil, err
		}
		return c.listPods(ctx, target.Namespace, workload.selector)
	case len(spec.Selector) > 0: // an empty one would select every pod
		return c.listPods(ctx, target.Namespace, labels.Set(spec.Selector).String())
	}
	return nil, nil
}

// namedPods reads the pods of a PetSet, which are called <database>-0 and so on, one by one: a list, even of one pod,
// waits up to a tenth of a second until the API server's cache has caught up.
func (c *Cluster) namedPods(ctx context.Context, target reconcile.Target) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	for ordinal := range target.Replicas {
		name := fmt.Sprintf("%s-%d", target.Name, ordinal)
		pod, err := c.typed.CoreV1().Pods(target.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fault("reading the pod "+target.Namespace+"/"+name, err)
		}
		pods = append(pods, *pod)
	}
	return pods, nil
}

func (c *Cluster) listPods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	list, err := c.typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fault("listing the pods with "+selector+" in "+namespace, err)
	}
	return list.Items, nil
}

// runsServer reports whether a pod is a SQL Server. One that has ended for good is none, nor is that of a job, which
// ends by itself: both can have the labels of the servers, the image and the name of the container, as backups do.
func runsServer(target reconcile.Target, p *corev1.Pod) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	if owner := metav1.GetControllerOf(p); owner != nil && owner.Kind == "Job" {
		return false
	}
	if target.KubeDB() && p.Labels[labelRole] == roleArbiter {
		return false
	}
	container := containerServer
	if target.Spec != nil {
		container = cmp.Or(target.Spec.Container, containerServer)
	}
	return slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Name == container })
}
