package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

// The kinds of workload, as manifests name them.
const (
	kindDeployment  = "Deployment"
	kindStatefulSet = "StatefulSet"
	kindDaemonSet   = "DaemonSet"
)

// workload is what the workload of a document says about its servers.
type workload struct {
	replicas int
	selector string // the labels of its pods, as the API takes them
}

func (c *Cluster) workload(ctx context.Context, namespace string, ref manifest.Workload) (workload, error) {
	var (
		replicas *int32
		selector *metav1.LabelSelector
		what     = fmt.Sprintf("reading the %s %s/%s", ref.Kind, namespace, ref.Name)
	)
	switch ref.Kind {
	case kindStatefulSet:
		set, err := c.typed.AppsV1().StatefulSets(namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return workload{}, fault(what, err)
		}
		replicas, selector = set.Spec.Replicas, set.Spec.Selector
	case kindDeployment:
		deployment, err := c.typed.AppsV1().Deployments(namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if err != nil {
			return workload{}, fault(what, err)
		}
		replicas, selector = deployment.Spec.Replicas, deployment.Spec.Selector
	default:
		return workload{}, fmt.Errorf("%s: this kind of workload is not known", what) // the manifest is checked before
	}
	return workload{replicas: int(*replicas), selector: metav1.FormatLabelSelector(selector)}, nil
}
