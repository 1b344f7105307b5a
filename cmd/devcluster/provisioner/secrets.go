package provisioner

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/cmd/devcluster/pki"
	"github.com/gitrota/gitrota/policies/credential"
)

// ensureAuthSecret creates the Secret with sa's credential where it is not there, with a new random password, whatever
// the servers' password is by then: KubeDB does the same, and it is one way in which a password gets lost. Then it
// writes into the database's spec which Secret that is and since when its credential is in use.
func (p *Provisioner) ensureAuthSecret(ctx context.Context, db *kubedb.MSSQLServer) error {
	secrets := p.client.CoreV1().Secrets(db.Namespace)
	secret, err := secrets.Get(ctx, db.AuthSecretName(), metav1.GetOptions{})
	if errors.IsNotFound(err) {
		if db.Spec.AuthSecret != nil && db.Spec.AuthSecret.ExternallyManaged {
			return fmt.Errorf("the auth Secret is externally managed and not there: %w", err)
		}
		secret, err = secrets.Create(ctx, newAuthSecret(db, time.Now()), metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	activeFrom := secret.Annotations[kubedb.ActiveFromAnnotation]
	if activeFrom == "" { // a user's own Secret
		activeFrom = time.Now().UTC().Format(time.RFC3339)
		patch := map[string]any{"metadata": map[string]any{"annotations": map[string]string{kubedb.ActiveFromAnnotation: activeFrom}}}
		if err := p.patchSecret(ctx, secret, patch); err != nil {
			return err
		}
	}
	auth := db.Spec.AuthSecret
	if auth != nil && auth.Name == secret.Name && auth.Kind == "Secret" && auth.ActiveFrom == activeFrom {
		return nil
	}
	// A merge patch keeps rotateAfter and whatever else the user has there. With the resource version it fails when
	// somebody has paused the database in the meantime.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": db.ResourceVersion},
		"spec":     map[string]any{"authSecret": map[string]any{"kind": "Secret", "name": secret.Name, "activeFrom": activeFrom}},
	})
	if err != nil {
		return err
	}
	_, err = p.databases(db.Namespace).Patch(ctx, db.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	return err
}

func (p *Provisioner) patchSecret(ctx context.Context, secret *corev1.Secret, patch map[string]any) error {
	text, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = p.client.CoreV1().Secrets(secret.Namespace).Patch(ctx, secret.Name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: fieldManager})
	return err
}

// newAuthSecret is a Secret with a new password. Only WipeOut lets it go with the database.
func newAuthSecret(db *kubedb.MSSQLServer, now time.Time) *corev1.Secret {
	meta := owned(db, db.AuthSecretName())
	meta.Annotations = map[string]string{kubedb.ActiveFromAnnotation: now.UTC().Format(time.RFC3339)}
	if db.Spec.DeletionPolicy != kubedb.DeletionWipeOut {
		meta.OwnerReferences = nil
	}
	return &corev1.Secret{
		ObjectMeta: meta,
		Type:       corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{
			corev1.BasicAuthUsernameKey: []byte(kubedb.SAUser),
			corev1.BasicAuthPasswordKey: []byte(newPassword().Reveal()),
		},
	}
}

// newPassword is one as KubeDB makes it: 16 letters and digits, with at least one of each kind.
func newPassword() credential.Password {
	const upper, lower, digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
	const all = upper + lower + digits
	for {
		var text strings.Builder
		for range 16 {
			i, err := rand.Int(rand.Reader, big.NewInt(int64(len(all))))
			if err != nil {
				panic(err) // crypto/rand never fails
			}
			text.WriteByte(all[i.Int64()])
		}
		if s := text.String(); strings.ContainsAny(s, upper) && strings.ContainsAny(s, lower) && strings.ContainsAny(s, digits) {
			return credential.NewPassword(s)
		}
	}
}

// ensureCertificate creates the Secret with the server's certificate, as cert-manager would for KubeDB.
func (p *Provisioner) ensureCertificate(ctx context.Context, db *kubedb.MSSQLServer) error {
	secrets := p.client.CoreV1().Secrets(db.Namespace)
	_, err := secrets.Get(ctx, db.CertSecretName(), metav1.GetOptions{})
	if !errors.IsNotFound(err) {
		return err
	}
	pods := db.GoverningServiceName() + "." + db.Namespace + ".svc"
	pair, err := p.authority.Issue(pki.Subject{
		CommonName: db.Name,
		DNSNames:   []string{"*." + pods, pods, db.Name + "." + db.Namespace + ".svc", "localhost"},
		IPs:        []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	if err != nil {
		return err
	}
	_, err = secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: owned(db, db.CertSecretName()),
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{"ca.crt": p.authority.Cert, corev1.TLSCertKey: pair.Cert, corev1.TLSPrivateKeyKey: pair.Key},
	}, metav1.CreateOptions{})
	return err
}
