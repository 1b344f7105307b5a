package kube

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
)

// mssqlservers is the resource of KubeDB's kind MSSQLServer.
var mssqlservers = schema.GroupVersionResource{Group: "kubedb.com", Version: "v1alpha2", Resource: "mssqlservers"}

// What KubeDB calls things (kubedb.com/v1alpha2).
const (
	labelName     = "app.kubernetes.io/name" // of all that belongs to a database, with the value nameMSSQLServer
	labelInstance = "app.kubernetes.io/instance"
	labelRole     = "kubedb.com/role"

	nameMSSQLServer = "mssqlservers.kubedb.com"
	rolePrimary     = "primary"
	roleArbiter     = "arbiter" // a pod that votes for a primary and has no SQL Server

	modeAvailabilityGroup = "AvailabilityGroup"
	modeDistributedAG     = "DistributedAG"
)

func (c *Cluster) mssqlserver(ctx context.Context, namespace, name string) (reconcile.Target, error) {
	object, err := c.dynamic.Resource(mssqlservers).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return reconcile.Target{}, fault("reading MSSQLServer "+namespace+"/"+name, err)
	}
	target := mssqlserverTarget(object)
	if target.TLS, err = c.mssqlserverTLS(ctx, object); err != nil {
		return reconcile.Target{}, err
	}
	return target, nil
}

// Targets implements [reconcile.Cluster]. It does not read the certificates of the servers.
func (c *Cluster) Targets(ctx context.Context) ([]reconcile.Target, error) {
	list, err := c.dynamic.Resource(mssqlservers).List(ctx, metav1.ListOptions{})
	if err = fault("listing MSSQLServers", err); errors.Is(err, reconcile.ErrNotFound) {
		return nil, nil // KubeDB is not installed
	}
	if err != nil {
		return nil, err
	}
	targets := make([]reconcile.Target, len(list.Items))
	for i := range list.Items {
		targets[i] = mssqlserverTarget(&list.Items[i])
	}
	return targets, nil
}

// mssqlserverTarget reads what a rotation needs of a MSSQLServer, whose Go types are not imported for the sake of a
// small go.mod.
func mssqlserverTarget(object *unstructured.Unstructured) reconcile.Target {
	target := reconcile.Target{
		Kind: manifest.KindMSSQLServer, Namespace: object.GetNamespace(), Name: object.GetName(), UID: string(object.GetUID()),
		Version:    object.GetResourceVersion(),
		Replicas:   1,
		AuthSecret: manifest.SecretKeys{Name: object.GetName() + "-auth", UsernameKey: "username", PasswordKey: "password"},
	}
	target.Phase, _, _ = unstructured.NestedString(object.Object, "status", "phase")
	target.Mode, _, _ = unstructured.NestedString(object.Object, "spec", "topology", "mode")
	target.Group = target.Mode == modeAvailabilityGroup || target.Mode == modeDistributedAG
	if n, ok, _ := unstructured.NestedInt64(object.Object, "spec", "replicas"); ok {
		target.Replicas = int(n)
	}
	if name, ok, _ := unstructured.NestedString(object.Object, "spec", "authSecret", "name"); ok && name != "" {
		target.AuthSecret.Name = name
	}
	target.ExternallyManaged, _, _ = unstructured.NestedBool(object.Object, "spec", "authSecret", "externallyManaged")
	target.Labels, target.Created = object.GetLabels(), object.GetCreationTimestamp().Time
	activeFrom, _, _ := unstructured.NestedString(object.Object, "spec", "authSecret", "activeFrom")
	target.ActiveFrom, _ = time.Parse(time.RFC3339, activeFrom)
	off, _, _ := unstructured.NestedBool(object.Object, "spec", "autoOps", "disabled")
	if after, _, _ := unstructured.NestedString(object.Object, "spec", "authSecret", "rotateAfter"); !off {
		target.RotateAfter, _ = time.ParseDuration(after)
	}
	if c := pausedCondition(object); c != nil && c["status"] == "True" {
		target.Paused = true
		target.PauseReason, _ = c["message"].(string)
	}
	return target
}
