package kube

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitrota/gitrota/reconcile"
	faults "github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// ReasonCertificates: what the servers' certificates are to be checked by cannot be read.
const ReasonCertificates = "CertificatesUnusable"

// keyCA is where Kubernetes' TLS Secrets have their certificate authority.
const keyCA = "ca.crt"

// mssqlserverTLS trusts the issuer of a MSSQLServer's certificates or, where its servers make their own, all.
func (c *Cluster) mssqlserverTLS(ctx context.Context, object *unstructured.Unstructured) (mssql.TLS, error) {
	secret := certificateSecret(object)
	if secret == "" {
		return mssql.TLS{Any: true}, nil
	}
	cas, err := c.rootCAs(ctx, object.GetNamespace(), secret, keyCA, "check the certificates that spec.tls of the MSSQLServer asks for")
	return mssql.TLS{RootCAs: cas}, err
}

// documentedTLS is what a document says in spec.tls.
func (c *Cluster) documentedTLS(ctx context.Context, target reconcile.Target) (mssql.TLS, error) {
	switch tls := target.Spec.TLS; {
	case tls.TrustServerCertificate:
		return mssql.TLS{Any: true}, nil
	case tls.CASecret != nil:
		cas, err := c.rootCAs(ctx, target.Namespace, tls.CASecret.Name, cmp.Or(tls.CASecret.Key, keyCA), "see spec.tls.caSecret of the "+target.String())
		return mssql.TLS{RootCAs: cas}, err
	case tls.Certificate != "":
		der, err := onlyCertificate(tls.Certificate)
		if err != nil {
			return mssql.TLS{}, faults.New(faults.Refuse, ReasonCertificates, "give the server's own certificate, in PEM and without its issuers",
				"spec.tls.certificate of the %s cannot be used: %v", target, err)
		}
		return mssql.TLS{Pinned: der}, nil
	}
	return mssql.TLS{}, nil
}

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

func (c *Cluster) rootCAs(ctx context.Context, namespace, name, key, hint string) (*x509.CertPool, error) {
	unusable := func(why string) error {
		return faults.New(faults.Refuse, ReasonCertificates, hint,
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
	if !pool.AppendCertsFromPEM([]byte(secret.Data[key].Reveal())) {
		return nil, unusable("has no certificate under " + key)
	}
	return pool, nil
}

// onlyCertificate returns the one certificate in the text, in DER. Of several it would be a guess which one is pinned.
func onlyCertificate(text string) ([]byte, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	if block.Type != "CERTIFICATE" {
		return nil, errors.New("it is not a certificate but a " + block.Type)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("there is more than one certificate in it")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	return certificate.Raw, nil
}
