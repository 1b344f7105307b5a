package kube

import (
	"context"
	"crypto/x509"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
)

// ReasonCertificates: the CA of a database's certificates cannot be read.
const ReasonCertificates = "CertificatesUnusable"

// certificateSecret names the Secret with the certificates that a database's servers use, or nothing if the servers
// make their own (spec.tls.clientTLS false: spec.tls then serves the replicas' endpoints only).
func certificateSecret(object *unstructured.Unstructured) string {
	if clientTLS, _, _ := unstructured.NestedBool(object.Object, "spec", "tls", "clientTLS"); !clientTLS {
		return ""
	}
	certificates, _, _ := unstructured.NestedSlice(object.Object, "spec", "tls", "certificates")
	for _, certificate := range certificates {
		fields, _ := certificate.(map[string]any)
		if name, _ := fields["secretName"].(string); fields["alias"] == "server" && name != "" {
			return name
		}
	}
	return object.GetName() + "-server-cert"
}

func (c *Cluster) rootCAs(ctx context.Context, namespace, name string) (*x509.CertPool, error) {
	unusable := func(why string) error {
		return faults.New(faults.Refuse, ReasonCertificates, "check the certificates that spec.tls of the MSSQLServer asks for",
			"the CA of the servers' certificates cannot be read: the Secret %s/%s %s", namespace, name, why)
	}
	secret, err := c.Secret(ctx, namespace, name)
	if errors.Is(err, reconcile.ErrNotFound) {
		return nil, unusable("does not exist")
	}
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(secret.Data["ca.crt"].Reveal())) {
		return nil, unusable("has no certificate under ca.crt")
	}
	return pool, nil
}
