package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

// Secret implements [reconcile.Cluster].
func (c *Cluster) Secret(ctx context.Context, namespace, name string) (reconcile.Secret, error) {
	s, err := c.typed.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return reconcile.Secret{}, fault("reading the Secret "+namespace+"/"+name, err)
	}
	return fromSecret(s), nil
}

// CreateSecret implements [reconcile.Cluster]. Owners and Writers are for the API server to say, here and in an update.
func (c *Cluster) CreateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	what := "creating the Secret " + s.Namespace + "/" + s.Name
	created, err := c.typed.CoreV1().Secrets(s.Namespace).Create(ctx, toSecret(s, &corev1.Secret{}), metav1.CreateOptions{FieldManager: FieldManager})
	if apierrors.IsNotFound(err) { // what is not there, where something is created, is the namespace
		return reconcile.Secret{}, faults.New(faults.Refuse, ReasonNamespaceTerminating, "", "%s: %v", what, err)
	}
	if err != nil {
		return reconcile.Secret{}, fault(what, err)
	}
	return fromSecret(created), nil
}

// UpdateSecret implements [reconcile.Cluster]. It reads once more for the fields that gitrota does not know, such as
// finalizers, and leaves the comparison of the resource version to the API server.
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
	updated, err := c.typed.CoreV1().Secrets(s.Namespace).Update(ctx, toSecret(s, current), metav1.UpdateOptions{FieldManager: FieldManager})
	if apierrors.IsNotFound(err) {
		return reconcile.Secret{}, fmt.Errorf("%s: it was deleted: %w", what, reconcile.ErrConflict)
	}
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
		Owners: owners(s), Writers: writers(s),
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
