package kube

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

// ReasonAmbiguousTarget: a SQLServer document in Git and a MSSQLServer in the cluster have the same namespace and name,
// and a request does not say which of the two it means.
const ReasonAmbiguousTarget = "AmbiguousTarget"

// Target implements [reconcile.Cluster].
func (c *Cluster) Target(ctx context.Context, request reconcile.Request) (reconcile.Target, error) {
	if request.Server == nil {
		return c.mssqlserver(ctx, request.Namespace, request.Database)
	}
	if err := c.refuseAmbiguous(ctx, request.Namespace, request.Database); err != nil {
		return reconcile.Target{}, err
	}
	return c.documented(ctx, request.Namespace, request.Database, request.Server)
}

// refuseAmbiguous looks for a MSSQLServer with a document's name. Where KubeDB is not installed there is none, and who
// may not read them has to rely on the one who writes the document: gitrota needs no right on KubeDB for a document.
func (c *Cluster) refuseAmbiguous(ctx context.Context, namespace, name string) error {
	_, err := c.dynamic.Resource(mssqlservers).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		return faults.New(faults.Refuse, ReasonAmbiguousTarget, "give the SQLServer document another name",
			"%s/%s is both a MSSQLServer of KubeDB and a SQLServer document in Git", namespace, name)
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil
	}
	return fault("looking whether there is a MSSQLServer "+namespace+"/"+name, err)
}

// documented reads what a document alone does not say: how many servers its workload or its labels stand for, and the
// certificates that they are checked by.
func (c *Cluster) documented(ctx context.Context, namespace, name string, spec *manifest.ServerSpec) (reconcile.Target, error) {
	target := reconcile.Target{
		Kind: manifest.KindServer, Namespace: namespace, Name: name,
		Group:      true, // a document does not say whether they are: the servers have to be asked
		AuthSecret: spec.AuthSecret, Admin: spec.Admin, LoginPair: spec.LoginPair, GracePeriod: spec.GracePeriod,
		Spec: spec,
	}
	var err error
	if target.TLS, err = c.documentedTLS(ctx, target); err != nil {
		return reconcile.Target{}, err
	}
	if target.Replicas, err = c.documentedReplicas(ctx, target); err != nil {
		return reconcile.Target{}, err
	}
	return target, nil
}

func (c *Cluster) documentedReplicas(ctx context.Context, target reconcile.Target) (int, error) {
	switch spec := target.Spec; {
	case len(spec.Endpoints) > 0:
		return len(spec.Endpoints), nil
	case spec.Workload != nil:
		workload, err := c.workload(ctx, target.Namespace, *spec.Workload)
		return workload.replicas, err
	}
	replicas, err := c.Replicas(ctx, target)
	return max(1, len(replicas)), err // nobody says how many there have to be, but no server at all is not what was meant
}
