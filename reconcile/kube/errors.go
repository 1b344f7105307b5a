package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

const (
	// ReasonRejected: the API server refused a write for what it holds.
	ReasonRejected = "RejectedByAPI"
	// ReasonNamespaceTerminating: the namespace is being deleted, or gone, and nothing can be created in it any more.
	ReasonNamespaceTerminating = "NamespaceTerminating"
)

// fault translates an API error into what the engine branches on. What is no answer of the API server at all, such as
// a broken connection, or is one that will pass, such as throttling, is reconcile.ErrAPIUnavailable.
func fault(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s: %w", doing, reconcile.ErrNotFound)
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return fmt.Errorf("%s: %w", doing, reconcile.ErrConflict)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause): // which is a 403, though no right is missing
		return faults.New(faults.Refuse, ReasonNamespaceTerminating, "", "%s: %v", doing, err)
	case apierrors.IsForbidden(err):
		return faults.New(faults.Refuse, reconcile.ReasonPermissions, "compare with the ClusterRole of gitrota's install manifests", "%s: %v", doing, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return faults.New(faults.Refuse, ReasonRejected, "", "%s: %v", doing, err)
	}
	return fmt.Errorf("%s: %w: %v", doing, reconcile.ErrAPIUnavailable, err)
}
