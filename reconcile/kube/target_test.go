package kube_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// certificate makes one, and returns it as PEM and as DER.
func certificate(t *testing.T) (text string, der []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), der
}

func TestAMSSQLServerIsATarget(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "db")
	found := target(t, c, asks(namespace, "db", nil))
	require.NotEmpty(t, found.UID)
	require.WithinDuration(t, time.Now(), found.Created, time.Hour)
	require.WithinDuration(t, time.Now(), found.ActiveFrom, time.Hour)
	require.NotEmpty(t, found.Version)
	found.UID, found.Version, found.Created, found.ActiveFrom = "", "", time.Time{}, time.Time{}
	require.Equal(t, reconcile.Target{
		Kind: manifest.KindMSSQLServer, Namespace: namespace, Name: "db", Phase: "Ready", Replicas: 1,
		AuthSecret: manifest.SecretKeys{Name: "db-auth", UsernameKey: "username", PasswordKey: "password"},
		TLS:        mssql.TLS{Any: true},
	}, found)

	cluster.Kubectl(t, "-n", namespace, "create", "secret", "generic", "mine", "--type=kubernetes.io/basic-auth", "--from-literal=username=sa", "--from-literal=password=Chosen4Myself")
	cluster.CreateMSSQLServer(t, namespace, "ag", kubetest.AvailabilityGroup(2), kubetest.ClientTLS, func(db *unstructured.Unstructured) {
		db.Object["spec"].(map[string]any)["authSecret"] = map[string]any{"kind": "Secret", "name": "mine", "externallyManaged": true}
	})
	found = target(t, c, asks(namespace, "ag", nil))
	require.Equal(t, "mine", found.AuthSecret.Name)
	require.True(t, found.ExternallyManaged)
	require.True(t, found.Group)
	require.Equal(t, "AvailabilityGroup", found.Mode)
	require.Equal(t, 2, found.Replicas)
	require.NotNil(t, found.TLS.RootCAs, "with clientTLS the servers have certificates of the issuer")
	require.False(t, found.TLS.Any)
	require.Equal(t, "ag-0.ag-pods."+namespace+".svc", replicas(t, c, found)[0].Endpoint.TLS.ServerName)
}

func TestADocumentIsATarget(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	document := &manifest.ServerSpec{
		Endpoints:   []string{"one.example.com:1433", "two.example.com:1444"},
		AuthSecret:  manifest.SecretKeys{Name: "legacy-auth", UsernameKey: "user", PasswordKey: "pass"},
		Admin:       &manifest.SecretKeys{Name: "legacy-admin", UsernameKey: "username", PasswordKey: "password"},
		LoginPair:   []string{"app-a", "app-b"},
		GracePeriod: time.Minute,
	}
	require.Equal(t, reconcile.Target{
		Kind: manifest.KindServer, Namespace: namespace, Name: "legacy", Replicas: 2, Group: true,
		AuthSecret: document.AuthSecret, Admin: document.Admin, LoginPair: document.LoginPair, GracePeriod: time.Minute,
		Spec: document,
	}, target(t, c, asks(namespace, "legacy", document)), "without a word on TLS, the system's authorities have to have signed")

	t.Run("of which the workload says how many servers there have to be", func(t *testing.T) {
		_, err := c.Target(t.Context(), asks(namespace, "sql", &manifest.ServerSpec{Workload: &manifest.Workload{Kind: "Deployment", Name: "sql"}}))
		require.ErrorIs(t, err, reconcile.ErrNotFound)
		require.ErrorContains(t, err, "the Deployment "+namespace+"/sql")

		workload := runSQL(t, cluster, namespace, "StatefulSet", 1)
		require.Equal(t, 1, target(t, c, asks(namespace, "sql", workload)).Replicas)
		cluster.Kubectl(t, "-n", namespace, "scale", "statefulset/sql", "--replicas=3")
		require.Equal(t, 3, target(t, c, asks(namespace, "sql", workload)).Replicas, "whether they are there already or not")
	})
	t.Run("of which labels say no more than which servers there are", func(t *testing.T) {
		none := &manifest.ServerSpec{Selector: map[string]string{"app": "nobody"}}
		require.Equal(t, 1, target(t, c, asks(namespace, "sql", none)).Replicas, "one at least")
		some := &manifest.ServerSpec{Selector: map[string]string{"app": "sql"}}
		kubetest.Eventually(t, "three pods are there", func(ctx context.Context) (bool, error) {
			found, err := c.Target(ctx, asks(namespace, "sql", some))
			return found.Replicas == 3, err
		})
	})
}

func TestADocumentSaysHowCertificatesAreChecked(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	trusting := func(tls manifest.ServerTLS) (mssql.TLS, error) {
		found, err := c.Target(t.Context(), asks(namespace, "legacy", &manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}, TLS: tls}))
		return found.TLS, err
	}
	text, der := certificate(t)
	_, err := c.CreateSecret(t.Context(), reconcile.Secret{Namespace: namespace, Name: "ca", Type: "Opaque", Data: data("ca.crt", text, "other", "text")})
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(text)))

	for name, test := range map[string]struct {
		says manifest.ServerTLS
		want mssql.TLS
	}{
		"nothing":                {manifest.ServerTLS{}, mssql.TLS{}},
		"trustServerCertificate": {manifest.ServerTLS{TrustServerCertificate: true}, mssql.TLS{Any: true}},
		"certificate":            {manifest.ServerTLS{Certificate: text}, mssql.TLS{Pinned: der}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := trusting(test.says)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
	got, err := trusting(manifest.ServerTLS{CASecret: &manifest.CASecret{Name: "ca", Key: "ca.crt"}})
	require.NoError(t, err)
	require.True(t, pool.Equal(got.RootCAs))

	for name, test := range map[string]struct {
		says manifest.ServerTLS
		want string
	}{
		"a Secret that is not there":  {manifest.ServerTLS{CASecret: &manifest.CASecret{Name: "gone", Key: "ca.crt"}}, "does not exist; see spec.tls.caSecret of the SQLServer " + namespace + "/legacy"},
		"a key without a certificate": {manifest.ServerTLS{CASecret: &manifest.CASecret{Name: "ca", Key: "other"}}, "has no certificate under other"},
		"a path":                      {manifest.ServerTLS{Certificate: "/etc/ssl/sql.pem"}, "it is not PEM"},
		"a private key":               {manifest.ServerTLS{Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}, "it is not a certificate but a PRIVATE KEY"},
		"a chain":                     {manifest.ServerTLS{Certificate: text + text}, "there is more than one certificate in it"},
		"rubbish in PEM":              {manifest.ServerTLS{Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no")}))}, "x509: "},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			_, err := trusting(test.says)
			require.ErrorContains(t, err, test.want)
			require.Equal(t, fault.Refuse, fault.As(err).Class)
			require.Equal(t, kube.ReasonCertificates, fault.As(err).Reason)
		})
	}
}

func TestANameThatGitAndTheClusterBothHaveIsRefused(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "db")
	document := &manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}, AuthSecret: auth("db-auth")}

	_, err := c.Target(t.Context(), asks(namespace, "db", document))
	require.Equal(t, fault.Refuse, fault.As(err).Class)
	require.Equal(t, kube.ReasonAmbiguousTarget, fault.As(err).Reason)
	require.EqualError(t, err, namespace+"/db is both a MSSQLServer of KubeDB and a SQLServer document in Git; give the SQLServer document another name")

	require.Equal(t, manifest.KindServer, target(t, c, asks(namespace, "other", document)).Kind)
	nobody := connect(t, serviceAccount(t, cluster, namespace, "nobody"))
	require.Equal(t, manifest.KindServer, target(t, nobody, asks(namespace, "db", document)).Kind, "a document needs no right on KubeDB")
}
