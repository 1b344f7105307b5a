package kube

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/reconcile"
)

type right = authorizationv1.ResourceAttributes

// The rights that rotations need, by what needs them. The install manifests grant exactly these.
var (
	forSecrets = []right{
		{Verb: "get", Resource: "secrets"},
		{Verb: "create", Resource: "secrets"},
		{Verb: "update", Resource: "secrets"},
		{Verb: "create", Resource: "events"},
	}
	forKubeDB = []right{
		{Verb: "get", Group: "kubedb.com", Resource: "mssqlservers"},
		{Verb: "update", Group: "kubedb.com", Resource: "mssqlservers", Subresource: "status"},
	}
	forWorkload = map[string]right{
		kindStatefulSet: {Verb: "get", Group: "apps", Resource: "statefulsets"},
		kindDeployment:  {Verb: "get", Group: "apps", Resource: "deployments"},
	}
	forNamedPods  = []right{{Verb: "get", Resource: "pods"}}
	forListedPods = []right{{Verb: "list", Resource: "pods"}, {Verb: "get", Resource: "pods"}}
	forRestarts   = []right{
		{Verb: "create", Resource: "pods", Subresource: "eviction"},
		{Verb: "delete", Resource: "pods"},
		{Verb: "list", Group: "policy", Resource: "poddisruptionbudgets"},
	}
	forConsumers = []right{
		{Verb: "list", Group: "apps", Resource: "deployments"},
		{Verb: "patch", Group: "apps", Resource: "deployments"},
		{Verb: "list", Group: "apps", Resource: "statefulsets"},
		{Verb: "patch", Group: "apps", Resource: "statefulsets"},
		{Verb: "list", Group: "apps", Resource: "daemonsets"},
		{Verb: "patch", Group: "apps", Resource: "daemonsets"},
	}
)

// needed is what a rotation of the target does in its namespace.
func needed(target reconcile.Target, consumers bool) []right {
	var rights []right
	if target.KubeDB() {
		rights = append(rights, forKubeDB...)
	}
	rights = append(rights, forSecrets...)
	switch spec := target.Spec; {
	case target.KubeDB() && !target.Group:
		rights = slices.Concat(rights, forNamedPods, forRestarts)
	case target.KubeDB() || len(spec.Selector) > 0:
		rights = slices.Concat(rights, forListedPods, forRestarts)
	case spec.Workload != nil:
		rights = slices.Concat(rights, []right{forWorkload[spec.Workload.Kind]}, forListedPods, forRestarts)
	}
	if consumers {
		rights = append(rights, forConsumers...)
	}
	return rights
}

// Missing implements [reconcile.Cluster] by asking the API server about each right.
func (c *Cluster) Missing(ctx context.Context, target reconcile.Target, consumers bool) ([]string, error) {
	rights := needed(target, consumers)
	missing := make([]string, len(rights))
	group, ctx := errgroup.WithContext(ctx)
	for i, attributes := range rights {
		group.Go(func() error {
			attributes.Namespace = target.Namespace
			review, err := c.typed.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
			}, metav1.CreateOptions{})
			if err != nil {
				return fault("asking for gitrota's own rights", err)
			}
			if !review.Status.Allowed {
				missing[i] = describe(attributes)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(missing, func(s string) bool { return s == "" }), nil
}

// describe names a right as kubectl auth can-i takes it.
func describe(a right) string {
	name := a.Verb + " " + a.Resource
	if a.Group != "" {
		name += "." + a.Group
	}
	if a.Subresource != "" {
		name += "/" + a.Subresource
	}
	return name
}
