package kube

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

const (
	// containerServer is the container in which KubeDB runs SQL Server.
	containerServer = "mssql"
	portServer      = "1433"
	// ReasonDisruptionBudget: a PodDisruptionBudget does not let a pod be evicted at this time.
	ReasonDisruptionBudget = "DisruptionBudget"
)

// Pods implements [reconcile.Cluster]. A PetSet's pods are called <database>-0 and so on, and are read one by one: a
// list, even of one pod, waits up to a tenth of a second until the API server's cache has caught up.
func (c *Cluster) Pods(ctx context.Context, db reconcile.Database) ([]reconcile.Pod, error) {
	var pods []reconcile.Pod
	for ordinal := range db.Replicas {
		name := db.Replica(ordinal)
		p, err := c.typed.CoreV1().Pods(db.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fault("reading the pod "+db.Namespace+"/"+name, err)
		}
		if slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool { return c.Name == containerServer }) {
			pods = append(pods, replica(db, p))
		}
	}
	return pods, nil
}

// replica reads what a rotation needs of a pod.
func replica(db reconcile.Database, p *corev1.Pod) reconcile.Pod {
	pod := reconcile.Pod{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID),
		ServerName:   fmt.Sprintf("%s.%s-pods.%s.svc", p.Name, db.Name, p.Namespace),
		Ending:       p.DeletionTimestamp != nil,
		PasswordFrom: secretsInEnvironment(p),
	}
	if p.Status.PodIP != "" {
		pod.Address = net.JoinHostPort(p.Status.PodIP, portServer)
	}
	pod.Ready = !pod.Ending && p.Status.Phase == corev1.PodRunning && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	return pod
}

// secretsInEnvironment lists the Secrets whose values a pod took into its environment when it started.
func secretsInEnvironment(p *corev1.Pod) []string {
	var names []string
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for _, from := range c.EnvFrom {
			if from.SecretRef != nil {
				names = append(names, from.SecretRef.Name)
			}
		}
		for _, env := range c.Env {
			if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
				names = append(names, env.ValueFrom.SecretKeyRef.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// evictTimeout bounds one eviction call: while a disruption budget has not been observed, the API server asks to come
// back, and client-go would do so for about a hundred seconds without telling.
const evictTimeout = 5 * time.Second

// Evict implements [reconcile.Cluster].
func (c *Cluster) Evict(ctx context.Context, pod reconcile.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, evictTimeout)
	defer cancel()
	uid := types.UID(pod.UID)
	err := c.typed.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
	})
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil // it goes, or another one has its name by now: the next gathering tells
	case apierrors.IsTooManyRequests(err), ctx.Err() != nil:
		return faults.New(faults.Wait, ReasonDisruptionBudget, "see kubectl get pdb",
			"the pod %s/%s may not be evicted at this time: its PodDisruptionBudget does not allow it", pod.Namespace, pod.Name)
	}
	return fault("evicting the pod "+pod.Namespace+"/"+pod.Name, err)
}
