// Package kube is how gitrota works on a cluster: KubeDB's MSSQLServer objects, the Secrets with the credentials, and
// the pods. It implements [reconcile.Cluster] on client-go, reads from the API server each time, and writes under the
// condition that nobody else has written since.
package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"log/slog"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

// Cluster is a [reconcile.Cluster]. It is safe for concurrent use.
type Cluster struct {
	typed   kubernetes.Interface
	dynamic dynamic.Interface
	events  *events
}

// New connects to the cluster that config names; nothing is sent yet. Where config sets no limits, its requests are
// limited to 100 a second, which leaves fairness to the API server. The caller ends it with Close.
func New(config *rest.Config, log *slog.Logger) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = "gitrota"
	if config.QPS == 0 {
		config.QPS, config.Burst = 100, 200
	}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return &Cluster{typed: typed, dynamic: untyped, events: startEvents(typed, log)}, nil
}

// Close sends the events that still wait, as long as ctx allows, and ends.
func (c *Cluster) Close(ctx context.Context) { c.events.close(ctx) }

// Ping asks the API server for its version, to tell early and clearly that it cannot be reached.
func (c *Cluster) Ping(ctx context.Context) error {
	_, err := c.typed.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
	if apierrors.IsUnauthorized(err) {
		return fmt.Errorf("the cluster does not know gitrota's credential: %w", err)
	}
	if err != nil {
		return fmt.Errorf("the cluster cannot be reached: %w", err)
	}
	return nil
}

// mssqlservers is the resource of KubeDB's kind MSSQLServer.
var mssqlservers = schema.GroupVersionResource{Group: "kubedb.com", Version: "v1alpha2", Resource: "mssqlservers"}

// Database implements [reconcile.Cluster].
func (c *Cluster) Database(ctx context.Context, namespace, name string) (reconcile.Database, error) {
	object, err := c.dynamic.Resource(mssqlservers).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return reconcile.Database{}, fault("reading MSSQLServer "+namespace+"/"+name, err)
	}
	db := database(object)
	if secret := certificateSecret(object); secret != "" {
		if db.RootCAs, err = c.rootCAs(ctx, namespace, secret); err != nil {
			return reconcile.Database{}, err
		}
	}
	return db, nil
}

// PausedDatabases implements [reconcile.Cluster].
func (c *Cluster) PausedDatabases(ctx context.Context) ([]reconcile.Database, error) {
	list, err := c.dynamic.Resource(mssqlservers).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil // KubeDB is not installed
	}
	if err != nil {
		return nil, fault("listing MSSQLServers", err)
	}
	var paused []reconcile.Database
	for i := range list.Items {
		if db := database(&list.Items[i]); db.Paused {
			paused = append(paused, db)
		}
	}
	return paused, nil
}

// Secret implements [reconcile.Cluster].
func (c *Cluster) Secret(ctx context.Context, namespace, name string) (reconcile.Secret, error) {
	s, err := c.typed.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return reconcile.Secret{}, fault("reading the Secret "+namespace+"/"+name, err)
	}
	return fromSecret(s), nil
}

// CreateSecret implements [reconcile.Cluster].
func (c *Cluster) CreateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	created, err := c.typed.CoreV1().Secrets(s.Namespace).Create(ctx, toSecret(s, &corev1.Secret{}), metav1.CreateOptions{})
	if err != nil {
		return reconcile.Secret{}, fault("creating the Secret "+s.Namespace+"/"+s.Name, err)
	}
	return fromSecret(created), nil
}

// UpdateSecret implements [reconcile.Cluster]. It reads once more for the fields that gitrota does not know, such as
// owner references, and leaves the comparison of the resource version to the API server.
func (c *Cluster) UpdateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	what := "updating the Secret " + s.Namespace + "/" + s.Name
	current, err := c.typed.CoreV1().Secrets(s.Namespace).Get(ctx, s.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return reconcile.Secret{}, fmt.Errorf("%s: it was deleted: %w", what, reconcile.ErrConflict)
	}
	if err != nil {
		return reconcile.Secret{}, fault(what, err)
	}
	if string(current.UID) != s.UID || current.ResourceVersion != s.ResourceVersion {
		return reconcile.Secret{}, fmt.Errorf("%s: %w", what, reconcile.ErrConflict)
	}
	updated, err := c.typed.CoreV1().Secrets(s.Namespace).Update(ctx, toSecret(s, current), metav1.UpdateOptions{})
	if err != nil {
		return reconcile.Secret{}, fault(what, err)
	}
	return fromSecret(updated), nil
}

func fromSecret(s *corev1.Secret) reconcile.Secret {
	data := make(map[string]credential.Password, len(s.Data))
	for key, value := range s.Data {
		data[key] = credential.NewPassword(string(value))
	}
	return reconcile.Secret{
		Namespace: s.Namespace, Name: s.Name, UID: string(s.UID), ResourceVersion: s.ResourceVersion,
		Type: string(s.Type), Immutable: s.Immutable != nil && *s.Immutable,
		Labels: s.Labels, Annotations: s.Annotations, Data: data,
	}
}

// toSecret writes s into target and leaves what reconcile.Secret does not hold.
func toSecret(s reconcile.Secret, target *corev1.Secret) *corev1.Secret {
	target.Namespace, target.Name = s.Namespace, s.Name
	target.UID, target.ResourceVersion = types.UID(s.UID), s.ResourceVersion
	target.Type = corev1.SecretType(s.Type)
	target.Labels, target.Annotations = s.Labels, s.Annotations
	target.Data = make(map[string][]byte, len(s.Data))
	for key, value := range s.Data {
		target.Data[key] = []byte(value.Reveal())
	}
	return target
}

// database reads what a rotation needs of a MSSQLServer, whose Go types are not imported for the sake of a small go.mod.
func database(object *unstructured.Unstructured) reconcile.Database {
	db := reconcile.Database{
		Namespace: object.GetNamespace(), Name: object.GetName(), UID: string(object.GetUID()),
		Replicas: 1, AuthSecret: object.GetName() + "-auth",
	}
	db.Phase, _, _ = unstructured.NestedString(object.Object, "status", "phase")
	db.Mode, _, _ = unstructured.NestedString(object.Object, "spec", "topology", "mode")
	if n, ok, _ := unstructured.NestedInt64(object.Object, "spec", "replicas"); ok {
		db.Replicas = int(n)
	}
	if name, ok, _ := unstructured.NestedString(object.Object, "spec", "authSecret", "name"); ok && name != "" {
		db.AuthSecret = name
	}
	if c := pausedCondition(object); c != nil && c["status"] == "True" {
		db.Paused = true
		db.PauseReason, _ = c["message"].(string)
	}
	return db
}
