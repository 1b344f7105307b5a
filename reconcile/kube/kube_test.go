package kube_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// connect makes an adapter with the rights that config has.
func connect(t *testing.T, config *rest.Config) *kube.Cluster {
	t.Helper()
	c, err := kube.New(config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// asks is a request about what the document describes or, without one, about a MSSQLServer.
func asks(namespace, name string, document *manifest.ServerSpec) reconcile.Request {
	return reconcile.Request{Namespace: namespace, Name: "rotate", Database: name, Server: document}
}

func target(t *testing.T, c *kube.Cluster, request reconcile.Request) reconcile.Target {
	t.Helper()
	found, err := c.Target(t.Context(), request)
	require.NoError(t, err)
	return found
}

func replicas(t *testing.T, c *kube.Cluster, of reconcile.Target) []reconcile.Replica {
	t.Helper()
	found, err := c.Replicas(t.Context(), of)
	require.NoError(t, err)
	return found
}

func names(of []reconcile.Replica) []string {
	var list []string
	for _, replica := range of {
		list = append(list, replica.Name)
	}
	return list
}

// auth are the usual keys of the auth Secret of a document.
func auth(name string) manifest.SecretKeys {
	return manifest.SecretKeys{Name: name, UsernameKey: "username", PasswordKey: "password"}
}

// runSQL makes a StatefulSet or Deployment "sql" whose pods run SQL Server, its auth Secret "sql-auth" and, for the
// names of its pods, the Service "sql-pods"; and waits until its pods are ready.
func runSQL(t *testing.T, cluster *kubetest.Cluster, namespace, kind string, replicas int) *manifest.ServerSpec {
	t.Helper()
	governed := ""
	if kind == "StatefulSet" {
		governed = "serviceName: sql-pods"
	}
	cluster.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: sql-auth, namespace: %[1]s}
type: kubernetes.io/basic-auth
stringData: {username: sa, password: Str0ngEnough}
---
apiVersion: v1
kind: Service
metadata: {name: sql-pods, namespace: %[1]s}
spec: {clusterIP: None, selector: {app: sql}}
---
apiVersion: apps/v1
kind: %[2]s
metadata: {name: sql, namespace: %[1]s}
spec:
  replicas: %[3]d
  %[4]s
  selector: {matchLabels: {app: sql}}
  template:
    metadata: {labels: {app: sql}}
    spec:
      containers:
        - name: mssql
          image: mcr.microsoft.com/mssql/server:2022-latest
          env:
            - {name: ACCEPT_EULA, value: "Y"}
            - {name: MSSQL_SA_PASSWORD, valueFrom: {secretKeyRef: {name: sql-auth, key: password}}}
          readinessProbe: %[5]s
        - {name: exporter, image: exporter}
`, namespace, kind, replicas, governed, kubetest.LoginProbe))
	spec := &manifest.ServerSpec{
		Workload:   &manifest.Workload{Kind: kind, Name: "sql"},
		AuthSecret: auth("sql-auth"),
		TLS:        manifest.ServerTLS{TrustServerCertificate: true},
	}
	cluster.Kubectl(t, "-n", namespace, "rollout", "status", kind+"/sql", "--timeout=60s")
	return spec
}

func TestAPauseIsLiftedByItsOwnReasonOnly(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "db")
	read := func() reconcile.Target { return target(t, c, asks(namespace, "db", nil)) }

	require.False(t, read().Paused)
	before := read()
	require.NoError(t, c.Pause(t.Context(), read(), "Paused by gitrota, as one asks"))
	require.NoError(t, c.Pause(t.Context(), read(), "Paused by gitrota, as another asks"))
	require.Equal(t, "Paused by gitrota, as one asks", read().PauseReason, "who paused first has it")

	all, err := c.Targets(t.Context())
	require.NoError(t, err)
	require.Condition(t, func() bool {
		for _, one := range all {
			if one.UID == read().UID && one.String() == "MSSQLServer "+namespace+"/db" && one.PauseReason == read().PauseReason {
				return true
			}
		}
		return false
	})

	require.NoError(t, c.Resume(t.Context(), read(), "Paused by gitrota, as another asks"))
	require.True(t, read().Paused)
	require.NoError(t, c.Resume(t.Context(), read(), "Paused by gitrota, as one asks"))
	require.False(t, read().Paused)
	require.NoError(t, c.Resume(t.Context(), read(), "Paused by gitrota, as one asks"), "twice is once")
	require.ErrorIs(t, c.Pause(t.Context(), before, "Paused by gitrota, as a sleeper asks"), reconcile.ErrConflict, "others have rotated it meanwhile")
	require.False(t, read().Paused)
	require.Equal(t, "Ready", read().Phase)

	_, err = c.Target(t.Context(), asks(namespace, "nobody", nil))
	require.ErrorIs(t, err, reconcile.ErrNotFound)
}

func TestAnAPIServerThatIsNotThereIsNoAnswer(t *testing.T) {
	c := connect(t, &rest.Config{Host: "https://127.0.0.1:1"})
	_, err := c.Target(t.Context(), asks("demo", "db", nil))
	require.ErrorIs(t, err, reconcile.ErrAPIUnavailable)
	_, err = c.Target(t.Context(), asks("demo", "db", &manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}}))
	require.ErrorIs(t, err, reconcile.ErrAPIUnavailable, "nobody can tell whether there is a MSSQLServer of that name")
	require.ErrorContains(t, c.Ping(t.Context()), "the cluster cannot be reached")
}

func TestANamespaceThatIsBeingDeletedIsARefusal(t *testing.T) {
	cluster := kubetest.Start(t)
	c := connect(t, cluster.Config)
	namespaces := cluster.Client.CoreV1().Namespaces()
	made, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	namespace := made.Name
	t.Cleanup(func() {
		_, err := cluster.Run(context.Background(), nil, "-n", namespace, "patch", "configmap", "stays", "--type=merge", `-p={"metadata":{"finalizers":null}}`)
		require.NoError(t, err)
	})
	cluster.Apply(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stays, namespace: %s, finalizers: [gitrota.dev/test]}\n", namespace))
	require.NoError(t, namespaces.Delete(t.Context(), namespace, metav1.DeleteOptions{}))

	_, err = c.CreateSecret(t.Context(), reconcile.Secret{Namespace: namespace, Name: "keeper", Type: "Opaque"})
	require.Equal(t, fault.Refuse, fault.As(err).Class, "%v", err)
	require.Equal(t, kube.ReasonNamespaceTerminating, fault.As(err).Reason)
	require.ErrorContains(t, err, "creating the Secret "+namespace+"/keeper")
}

func TestEventsAreAboutWhatPeopleLookAt(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "db")
	database := target(t, c, asks(namespace, "db", nil))
	document := target(t, c, asks(namespace, "legacy", &manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}, AuthSecret: auth("legacy-auth")}))

	c.Event(t.Context(), database, "Successful", "about the database")
	c.Event(t.Context(), document, "Failed", "about the Secret")
	c.Event(t.Context(), document, "Failed", "xx"+strings.Repeat("é", 600))
	about := map[string]corev1.Event{}
	kubetest.Eventually(t, "all are written", func(ctx context.Context) (bool, error) {
		list, err := cluster.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "source=gitrota"})
		if err != nil {
			return false, err
		}
		for _, event := range list.Items {
			about[event.Message] = event
		}
		return len(about) == 3, nil
	})
	require.Equal(t, corev1.ObjectReference{APIVersion: "kubedb.com/v1alpha2", Kind: "MSSQLServer", Namespace: namespace, Name: "db", UID: about["about the database"].InvolvedObject.UID}, about["about the database"].InvolvedObject)
	require.Equal(t, database.UID, string(about["about the database"].InvolvedObject.UID))
	require.Equal(t, corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: "legacy-auth"}, about["about the Secret"].InvolvedObject)
	require.Equal(t, corev1.EventTypeWarning, about["about the Secret"].Type)
	require.Contains(t, about, "xx"+strings.Repeat("é", 509)+"...", "a long message ends between two characters")
}
