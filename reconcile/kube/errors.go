package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

const (
	// ReasonRejected: the API server refused a write for what it holds.
	ReasonRejected = "RejectedByAPI"
	// ReasonNamespaceTerminating: the namespace is being deleted, or gone, and nothing can be created in it any more.
	ReasonNamespaceTerminating = "NamespaceTerminating"
)

// fault translates an API error into what the engine branches on. Only what the API server itself says about an object or
// a request is an answer. What is none, such as a broken connection or the page of a proxy in between, and what tells of
// the server's own state, such as throttling, a credential that it does not know yet, or an etcd that is away, is
// reconcile.ErrAPIUnavailable. That it forbids something may be either.
func fault(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case !ofAPI(err):
		return fmt.Errorf("%s: %w: %v", doing, reconcile.ErrAPIUnavailable, err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s: %w", doing, reconcile.ErrNotFound)
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return fmt.Errorf("%s: %w", doing, reconcile.ErrConflict)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause): // which is a 403, though no right is missing
		return faults.New(faults.Refuse, ReasonNamespaceTerminating, "", "%s: %v", doing, err)
	case apierrors.IsForbidden(err):
		forbidden := faults.New(faults.Wait, reconcile.ReasonPermissions, "compare with the ClusterRole of gitrota's install manifests", "%s: %v", doing, err)
		forbidden.Err = reconcile.ErrForbidden
		return forbidden
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return faults.New(faults.Refuse, ReasonRejected, "", "%s: %v", doing, err)
	}
	return fmt.Errorf("%s: %w: %v", doing, reconcile.ErrAPIUnavailable, err)
}

// pathNotFound is the API server's answer about a kind that it does not serve. It is no object.
const pathNotFound = "404 page not found"

// ofAPI reports whether an answer is one of an API server, and not of something in between.
func ofAPI(err error) bool {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	if details == nil {
		return true
	}
	return !slices.ContainsFunc(details.Causes, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeUnexpectedServerResponse && strings.TrimSpace(c.Message) != pathNotFound
	})
}
