package kube

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

// answered is what a request for a Secret comes to when a server answers it like that.
func answered(t *testing.T, code int, kind, body string) error {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	cluster, err := New(&rest.Config{Host: server.URL}, nil)
	require.NoError(t, err)
	defer cluster.Close(t.Context())
	_, err = cluster.typed.CoreV1().Secrets("demo").Get(t.Context(), "db-auth", metav1.GetOptions{})
	return err
}

// TestOnlyAnAnswerOfTheAPIServerAboutTheRequestIsAVerdict: everything else is its state, or that of something in between,
// and is waited for. What it forbids may be either, and is waited for, for a while.
func TestOnlyAnAnswerOfTheAPIServerAboutTheRequestIsAVerdict(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	terminating := apierrors.NewForbidden(secrets, "db-auth", errors.New("the namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	is := func(code int, reason metav1.StatusReason, message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message}}
	}
	for _, tc := range []struct {
		what    string
		err     error
		is      error // that the engine branches on
		refused string
	}{
		{"it is not there", apierrors.NewNotFound(secrets, "db-auth"), reconcile.ErrNotFound, ""},
		{"somebody else has written", apierrors.NewConflict(secrets, "db-auth", errors.New("changed")), reconcile.ErrConflict, ""},
		{"somebody else has created it", apierrors.NewAlreadyExists(secrets, "db-auth"), reconcile.ErrConflict, ""},
		{"the namespace goes", terminating, nil, ReasonNamespaceTerminating},
		{"it is invalid", apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "db-auth", nil), nil, ReasonRejected},
		{"it is no request", apierrors.NewBadRequest("no such field"), nil, ReasonRejected},
		{"it is too large", apierrors.NewRequestEntityTooLargeError("limit is 3145728"), nil, ReasonRejected},
		{"it is forbidden", apierrors.NewForbidden(secrets, "db-auth", errors.New("RBAC: clusterrole \"gitrota\" not found")), reconcile.ErrForbidden, ""},
		{"a quota is exceeded", apierrors.NewForbidden(secrets, "db-auth", errors.New("exceeded quota")), reconcile.ErrForbidden, ""},

		{"it does not know the token yet", apierrors.NewUnauthorized("Unauthorized"), reconcile.ErrAPIUnavailable, ""},
		{"it is throttled", apierrors.NewTooManyRequests("later", 1), reconcile.ErrAPIUnavailable, ""},
		{"it starts or ends", apierrors.NewServiceUnavailable("the request has been made before all known HTTP paths have been installed"), reconcile.ErrAPIUnavailable, ""},
		{"etcd has no leader", is(500, metav1.StatusReasonUnknown, "etcdserver: leader changed"), reconcile.ErrAPIUnavailable, ""},
		{"etcd is slow", apierrors.NewTimeoutError("etcdserver: request timed out", 1), reconcile.ErrAPIUnavailable, ""},
		{"a webhook does not answer", apierrors.NewInternalError(errors.New("failed calling webhook")), reconcile.ErrAPIUnavailable, ""},
		{"a list has expired", apierrors.NewResourceExpired("too old"), reconcile.ErrAPIUnavailable, ""},
		{"a connection breaks", errors.New("read: connection reset by peer"), reconcile.ErrAPIUnavailable, ""},
		{"a context ends", fmt.Errorf("client rate limiter: %w", t.Context().Err()), reconcile.ErrAPIUnavailable, ""},

		{"a proxy's page says 403", answered(t, 403, "text/html", "<h1>Forbidden</h1>"), reconcile.ErrAPIUnavailable, ""},
		{"a proxy's page says 404", answered(t, 404, "text/html", "<h1>no backend</h1>"), reconcile.ErrAPIUnavailable, ""},
		{"a proxy's page says 400", answered(t, 400, "text/plain", "Client sent an HTTP request to an HTTPS server."), reconcile.ErrAPIUnavailable, ""},
		{"a proxy's page says 502", answered(t, 502, "text/html", "bad gateway"), reconcile.ErrAPIUnavailable, ""},
		{"a proxy's page is fine", answered(t, 200, "text/html", "<h1>Welcome</h1>"), reconcile.ErrAPIUnavailable, ""},
		{"nothing of the kind is served", answered(t, 404, "text/plain; charset=utf-8", "404 page not found\n"), reconcile.ErrNotFound, ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			err := fault("reading", tc.err)
			for _, kind := range []error{reconcile.ErrNotFound, reconcile.ErrConflict, reconcile.ErrForbidden, reconcile.ErrAPIUnavailable} {
				require.Equal(t, kind == tc.is, errors.Is(err, kind), "%v: %v", kind, err)
			}
			switch tc.is {
			case nil:
				require.Equal(t, faults.Refuse, faults.As(err).Class)
				require.Equal(t, tc.refused, faults.As(err).Reason)
			case reconcile.ErrForbidden:
				require.Equal(t, faults.Wait, faults.As(err).Class)
				require.Equal(t, reconcile.ReasonPermissions, faults.As(err).Reason)
			}
		})
	}
	require.NoError(t, fault("reading", nil))
}
