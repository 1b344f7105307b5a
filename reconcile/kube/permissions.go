package kube

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// needed is all that a rotation does in a database's namespace. The install manifests grant exactly this.
var needed = []authorizationv1.ResourceAttributes{
	{Verb: "get", Group: "kubedb.com", Resource: "mssqlservers"},
	{Verb: "update", Group: "kubedb.com", Resource: "mssqlservers", Subresource: "status"},
	{Verb: "get", Resource: "secrets"},
	{Verb: "create", Resource: "secrets"},
	{Verb: "update", Resource: "secrets"},
	{Verb: "get", Resource: "pods"},
	{Verb: "create", Resource: "pods", Subresource: "eviction"},
	{Verb: "create", Resource: "events"},
}

// Missing implements [reconcile.Cluster] by asking the API server about each right.
func (c *Cluster) Missing(ctx context.Context, namespace string) ([]string, error) {
	missing := make([]string, len(needed))
	group, ctx := errgroup.WithContext(ctx)
	for i, attributes := range needed {
		group.Go(func() error {
			attributes.Namespace = namespace
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
func describe(a authorizationv1.ResourceAttributes) string {
	name := a.Verb + " " + a.Resource
	if a.Group != "" {
		name += "." + a.Group
	}
	if a.Subresource != "" {
		name += "/" + a.Subresource
	}
	return name
}
