package kubetest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// patience is how long the helpers wait for something that takes a second or two on an idle machine. It is there so that
// a test fails which would not end, and no measure of speed: on a busy machine everything may take its time.
const patience = 3 * time.Minute

// MSSQLServers and OpsRequests are the resources of KubeDB that the cluster serves.
var (
	MSSQLServers = schema.GroupVersionResource{Group: "kubedb.com", Version: "v1alpha2", Resource: "mssqlservers"}
	OpsRequests  = schema.GroupVersionResource{Group: "ops.kubedb.com", Version: "v1alpha1", Resource: "mssqlserveropsrequests"}
)

// shared is the cluster of this test binary.
var shared = sync.OnceValues(func() (*Cluster, error) { return Up(context.Background(), Options{}) })

// Start returns the cluster of this test binary and starts it for the first test that asks. When the test fails, the
// end of the cluster's log is part of its output.
func Start(t testing.TB) *Cluster {
	t.Helper()
	c, err := shared()
	require.NoError(t, err, "starting the test cluster")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the cluster's last words:\n%s", c.Log())
		}
	})
	return c
}

// Namespace makes a namespace for the test, in which pods may be created, and deletes it when the test ends.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	namespaces := c.Client.CoreV1().Namespaces()
	namespace, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, namespaces.Delete(context.Background(), namespace.Name, metav1.DeleteOptions{}))
	})
	Eventually(t, "the namespace has a service account, which pods need", func(ctx context.Context) (bool, error) {
		_, err := c.Client.CoreV1().ServiceAccounts(namespace.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, err
	})
	return namespace.Name
}

// Apply applies manifests, as `kubectl apply -f` does.
func (c *Cluster) Apply(t testing.TB, yaml string) {
	t.Helper()
	_, err := c.Run(t.Context(), strings.NewReader(yaml), "apply", "-f", "-")
	require.NoError(t, err)
}

// Kubectl runs kubectl as an administrator and returns what it prints.
func (c *Cluster) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	output, err := c.Run(t.Context(), nil, args...)
	require.NoError(t, err)
	return output
}

// LoginProbe is a readiness probe as people have it, in YAML: it logs in with the password of the container's environment.
// From the change of the password until its restart, a pod with it is not ready.
const LoginProbe = `{"exec": {"command": ["/bin/bash", "-c", "/opt/mssql-tools18/bin/sqlcmd -C -S localhost -U sa -P \"$MSSQL_SA_PASSWORD\" -Q 'SELECT 1' -b"]}, "periodSeconds": 1, "failureThreshold": 1}`

func loginProbe() (probe map[string]any) {
	if err := json.Unmarshal([]byte(LoginProbe), &probe); err != nil {
		panic(err)
	}
	probe["periodSeconds"], probe["failureThreshold"] = int64(1), int64(1) // unstructured objects have no other numbers
	return probe
}

// CreateMSSQLServer creates a database of one replica with a [LoginProbe], which each change may alter first, and waits
// until it is Ready.
func (c *Cluster) CreateMSSQLServer(t testing.TB, namespace, name string, changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	t.Helper()
	db := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kubedb.com/v1alpha2",
		"kind":       "MSSQLServer",
		"metadata":   map[string]any{"namespace": namespace, "name": name},
		"spec": map[string]any{
			"version":     "2022-cu12",
			"replicas":    int64(1),
			"storageType": "Durable",
			"tls":         map[string]any{"clientTLS": false},
			"podTemplate": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{
				"name": "mssql", "readinessProbe": loginProbe(),
				"env": []any{
					map[string]any{"name": "ACCEPT_EULA", "value": "Y"},
					map[string]any{"name": "MSSQL_PID", "value": "Evaluation"},
				},
			}}}},
			"storage": map[string]any{
				"accessModes": []any{"ReadWriteOnce"},
				"resources":   map[string]any{"requests": map[string]any{"storage": "1Gi"}},
			},
			"deletionPolicy": "WipeOut",
		},
	}}
	for _, change := range changes {
		change(db)
	}
	_, err := c.Dynamic.Resource(MSSQLServers).Namespace(namespace).Create(t.Context(), db, metav1.CreateOptions{})
	require.NoError(t, err)
	return c.WaitReady(t, namespace, name)
}

// AvailabilityGroup is a change for CreateMSSQLServer: a group of so many replicas.
func AvailabilityGroup(replicas int64) func(*unstructured.Unstructured) {
	return func(db *unstructured.Unstructured) {
		spec := db.Object["spec"].(map[string]any)
		spec["replicas"] = replicas
		spec["topology"] = map[string]any{"mode": "AvailabilityGroup", "availabilityGroup": map[string]any{"databases": []any{"agdb1"}}}
	}
}

// Annotated is a change for CreateMSSQLServer: it has one more annotation.
func Annotated(name, value string) func(*unstructured.Unstructured) {
	return func(db *unstructured.Unstructured) {
		annotations := db.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[name] = value
		db.SetAnnotations(annotations)
	}
}

// ClientTLS is a change for CreateMSSQLServer: the servers use a certificate of the issuer, in Secret <name>-server-cert.
func ClientTLS(db *unstructured.Unstructured) {
	db.Object["spec"].(map[string]any)["tls"] = map[string]any{"clientTLS": true}
}

// WaitReady waits until the database's phase is Ready, and returns it.
func (c *Cluster) WaitReady(t testing.TB, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	var db *unstructured.Unstructured
	Eventually(t, "MSSQLServer "+namespace+"/"+name+" is Ready", func(ctx context.Context) (_ bool, err error) {
		if db, err = c.Dynamic.Resource(MSSQLServers).Namespace(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return false, err
		}
		phase, _, err := unstructured.NestedString(db.Object, "status", "phase")
		return phase == "Ready", err
	})
	return db
}

// ServiceAccountKubeconfig returns the file of a kubeconfig that has the rights of a service account and no others.
func (c *Cluster) ServiceAccountKubeconfig(t testing.TB, namespace, name string) string {
	t.Helper()
	token, err := c.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)
	config := api.NewConfig()
	config.Clusters["devcluster"] = &api.Cluster{Server: c.Config.Host, CertificateAuthorityData: c.Config.CAData}
	config.AuthInfos[name] = &api.AuthInfo{Token: token.Status.Token}
	config.Contexts["devcluster"] = &api.Context{Cluster: "devcluster", AuthInfo: name, Namespace: namespace}
	config.CurrentContext = "devcluster"
	file := t.TempDir() + "/kubeconfig"
	require.NoError(t, clientcmd.WriteToFile(*config, file))
	return file
}

// Eventually asks until the condition holds, and fails the test with what it last said when that takes too long.
func Eventually(t testing.TB, what string, holds func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := holds(ctx)
		if held && err == nil {
			return
		}
		select {
		case <-ctx.Done():
			require.FailNowf(t, "it did not happen", "waiting until %s; the last error was %v", what, err)
		case <-tick.C:
		}
	}
}
