package kube

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

// ReasonRejected: the API server refused a write for what it holds.
const ReasonRejected = "RejectedByAPI"

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
	case apierrors.IsForbidden(err):
		return faults.New(faults.Refuse, reconcile.ReasonPermissions, "compare with the ClusterRole of gitrota's install manifests", "%s: %v", doing, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return faults.New(faults.Refuse, ReasonRejected, "", "%s: %v", doing, err)
	}
	return fmt.Errorf("%s: %w: %v", doing, reconcile.ErrAPIUnavailable, err)
}
