package kubetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// seed is the manifest of the guide from which gitrota comes, as it is there.
const seed = `
apiVersion: kubedb.com/v1alpha2
kind: MSSQLServer
metadata:
  name: mssqlserver-quickstart
  namespace: demo
spec:
  version: "2022-cu12"
  replicas: 1
  storageType: Durable
  tls:
    issuerRef:
      name: mssqlserver-ca-issuer
      kind: Issuer
      apiGroup: "cert-manager.io"
    clientTLS: false
  podTemplate:
    spec:
      containers:
        - name: mssql
          env:
            - name: ACCEPT_EULA
              value: "Y"
            - name: MSSQL_PID
              value: Evaluation # Change it 
  storage:
    storageClassName: "standard"
    accessModes:
      - ReadWriteOnce
    resources:
      requests:
        storage: 1Gi
  deletionPolicy: WipeOut
`

func TestTheGuidesDatabase(t *testing.T) {
	c := Start(t)
	c.Kubectl(t, "create", "namespace", "demo")
	t.Cleanup(func() {
		_, err := c.Run(context.Background(), nil, "delete", "namespace", "demo", "--wait=false")
		require.NoError(t, err)
	})
	c.Apply(t, seed)
	c.WaitReady(t, "demo", "mssqlserver-quickstart")

	t.Run("kubectl shows it under its short name, as the guide does", func(t *testing.T) {
		require.Regexp(t, `^NAME +VERSION +STATUS +AGE\nmssqlserver-quickstart +2022-cu12 +Ready +\d+s\n$`, c.Kubectl(t, "get", "ms", "-n", "demo"))
	})
	t.Run("its auth Secret is named in its spec and has a password of 16 letters and digits", func(t *testing.T) {
		require.Equal(t, "mssqlserver-quickstart-auth", c.Kubectl(t, "get", "ms", "-n", "demo", "mssqlserver-quickstart", "-o=jsonpath={.spec.authSecret.name}"))
		username, password := c.credential(t, "demo", "mssqlserver-quickstart-auth")
		require.Equal(t, "sa", username)
		require.Regexp(t, `^[A-Za-z0-9]{16}$`, password)
	})
	t.Run("its pod takes a login with that password over TLS", func(t *testing.T) {
		_, password := c.credential(t, "demo", "mssqlserver-quickstart-auth")
		require.NoError(t, logIn(t, c.pod(t, "demo", "mssqlserver-quickstart-0"), password))
		require.Error(t, logIn(t, c.pod(t, "demo", "mssqlserver-quickstart-0"), password+"x"))
	})
	t.Run("an MSSQLServerOpsRequest is accepted and stays as it is", func(t *testing.T) {
		c.Apply(t, `
apiVersion: ops.kubedb.com/v1alpha1
kind: MSSQLServerOpsRequest
metadata:
  name: msops-rotate-auth-generated
  namespace: demo
spec:
  type: RotateAuth
  databaseRef:
    name: mssqlserver-quickstart
  timeout: 5m
  apply: IfReady
`)
		require.Regexp(t, `msops-rotate-auth-generated +RotateAuth +\d+s`, c.Kubectl(t, "get", "msops", "-n", "demo"))
	})
}

func TestARestartedPodKeepsItsVolumeAndReadsItsEnvironmentAgain(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "db", probes(nil, nil))
	before := c.pod(t, ns, "db-0")
	_, password := c.credential(t, ns, "db-auth")

	c.setPassword(t, ns, "db-auth", "Changed0nlyInTheSecret")
	c.evict(t, before)
	after := c.waitReplaced(t, before)

	require.NotEqual(t, before.Status.PodIP, after.Status.PodIP, "a pod gets an address of its own")
	require.NoError(t, logIn(t, after, password), "the server keeps its password on its volume")
	require.Error(t, logIn(t, after, "Changed0nlyInTheSecret"), "MSSQL_SA_PASSWORD is for an empty volume only")
	require.FileExists(t, c.Volume(ns, "data-db-0")+"/master.json")
	Eventually(t, "the health check has noticed that the Secret is wrong", func(ctx context.Context) (bool, error) {
		phase, err := c.phase(ctx, ns, "db")
		return phase == "NotReady", err
	})

	t.Run("with an empty volume the password is the one in the environment of the start", func(t *testing.T) {
		require.NoError(t, os.Remove(c.Volume(ns, "data-db-0")+"/master.json"))
		c.evict(t, after)
		require.NoError(t, logIn(t, c.waitReplaced(t, after), "Changed0nlyInTheSecret"))
		c.WaitReady(t, ns, "db")
	})
}

func TestADeletedAuthSecretComesBackWithAnotherPassword(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "db")
	_, before := c.credential(t, ns, "db-auth")

	c.Kubectl(t, "delete", "secret", "-n", ns, "db-auth")
	var after string
	Eventually(t, "the auth Secret is back", func(ctx context.Context) (bool, error) {
		secret, err := c.Client.CoreV1().Secrets(ns).Get(ctx, "db-auth", metav1.GetOptions{})
		after = string(secret.Data["password"])
		return err == nil, err
	})
	require.NotEqual(t, before, after)
	require.NoError(t, logIn(t, c.pod(t, ns, "db-0"), before), "the server knows nothing of it")
}

func TestAPausedDatabaseIsLeftAlone(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	db := c.CreateMSSQLServer(t, ns, "db")
	pause := map[string]any{"type": "Paused", "status": "True", "reason": "Paused", "message": "by a test", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
	c.updateStatus(t, ns, "db", func(conditions []any) []any { return append(conditions, pause) })

	c.Kubectl(t, "delete", "secret", "-n", ns, "db-auth")
	c.Kubectl(t, "delete", "statefulset", "-n", ns, "db", "--cascade=orphan")
	c.Kubectl(t, "annotate", "ms", "-n", ns, "db", "test=wake-up")
	require.Never(t, func() bool {
		_, secretErr := c.Client.CoreV1().Secrets(ns).Get(t.Context(), "db-auth", metav1.GetOptions{})
		_, setErr := c.Client.AppsV1().StatefulSets(ns).Get(t.Context(), "db", metav1.GetOptions{})
		return !apierrors.IsNotFound(secretErr) || !apierrors.IsNotFound(setErr)
	}, 3*time.Second, 200*time.Millisecond)
	phase, err := c.phase(t.Context(), ns, db.GetName())
	require.NoError(t, err)
	require.Equal(t, "Ready", phase, "the status is not touched either")

	t.Run("and looked after again when the pause ends", func(t *testing.T) {
		c.updateStatus(t, ns, "db", func(conditions []any) []any { return conditions[:len(conditions)-1] })
		Eventually(t, "both are back", func(ctx context.Context) (bool, error) {
			_, secretErr := c.Client.CoreV1().Secrets(ns).Get(ctx, "db-auth", metav1.GetOptions{})
			_, setErr := c.Client.AppsV1().StatefulSets(ns).Get(ctx, "db", metav1.GetOptions{})
			return secretErr == nil && setErr == nil, errors.Join(secretErr, setErr)
		})
	})
}

func TestAUsersAuthSecret(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.Kubectl(t, "create", "secret", "generic", "-n", ns, "mine", "--type=kubernetes.io/basic-auth", "--from-literal=username=sa", "--from-literal=password=Chosen4Myself")
	db := c.CreateMSSQLServer(t, ns, "db", func(db *unstructured.Unstructured) {
		db.Object["spec"].(map[string]any)["authSecret"] = map[string]any{"kind": "Secret", "name": "mine", "rotateAfter": "720h"}
	})
	require.NoError(t, logIn(t, c.pod(t, ns, "db-0"), "Chosen4Myself"))
	auth := db.Object["spec"].(map[string]any)["authSecret"].(map[string]any)
	require.Equal(t, "mine", auth["name"])
	require.Equal(t, "720h", auth["rotateAfter"], "what the provisioner writes beside it leaves it alone")
	require.NotEmpty(t, auth["activeFrom"])
}

func TestAnUnmanagedDatabaseGetsNothing(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.Apply(t, fmt.Sprintf(`
apiVersion: kubedb.com/v1alpha2
kind: MSSQLServer
metadata: {name: db, namespace: %s, annotations: {devcluster.gitrota.dev/unmanaged: "true"}}
spec: {version: 2022-cu12, tls: {clientTLS: false}}
`, ns))
	c.CreateMSSQLServer(t, ns, "managed") // which comes later in every queue
	require.Equal(t, "<none>", c.Kubectl(t, "get", "ms", "-n", ns, "db", "-o=go-template={{or .status \"<none>\"}}"))
	require.Empty(t, c.Kubectl(t, "get", "secrets,statefulsets,services", "-n", ns, "-l=app.kubernetes.io/instance=db", "-o=name"))
}

func TestFaultsReachTheServerAtOnce(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "db")
	pod := c.pod(t, ns, "db-0")
	_, password := c.credential(t, ns, "db-auth")

	c.Kubectl(t, "annotate", "ms", "-n", ns, "db", `devcluster.gitrota.dev/faults={"refuseConnections": true}`)
	Eventually(t, "the server refuses", func(context.Context) (bool, error) { return logIn(t, pod, password) != nil, nil })
	c.Kubectl(t, "annotate", "ms", "-n", ns, "db", "devcluster.gitrota.dev/faults-")
	Eventually(t, "the server takes logins again", func(context.Context) (bool, error) {
		err := logIn(t, pod, password)
		return err == nil, err
	})
}

func TestAUsersCertificateIsTheServers(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "db", ClientTLS)
	secret, err := c.Client.CoreV1().Secrets(ns).Get(t.Context(), "db-server-cert", metav1.GetOptions{})
	require.NoError(t, err)
	ca := t.TempDir() + "/ca.pem"
	require.NoError(t, os.WriteFile(ca, secret.Data["ca.crt"], 0o600))
	_, password := c.credential(t, ns, "db-auth")
	verified := fmt.Sprintf("&certificate=%s&hostnameincertificate=db-0.db-pods.%s.svc", ca, ns)
	require.NoError(t, logInWith(t, c.pod(t, ns, "db-0"), password, verified))
}

func TestAServiceAccountHasTheRightsItWasGiven(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.Kubectl(t, "create", "role", "-n", ns, "reader", "--verb=get,list", "--resource=pods")
	c.Kubectl(t, "create", "rolebinding", "-n", ns, "reader", "--role=reader", "--serviceaccount="+ns+":default")
	kubeconfig := c.ServiceAccountKubeconfig(t, ns, "default")
	c.Kubectl(t, "--kubeconfig="+kubeconfig, "get", "pods")
	_, err := c.Run(t.Context(), nil, "--kubeconfig="+kubeconfig, "get", "secrets")
	require.ErrorContains(t, err, "forbidden")
}

func TestAPodThatCannotStartSaysWhyAndIsTriedAgain(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: %s}
spec:
  containers:
    - name: mssql
      image: mcr.microsoft.com/mssql/server:2022-latest
      env:
        - {name: MSSQL_SA_PASSWORD, valueFrom: {secretKeyRef: {name: plain-auth, key: password}}}
    - name: exporter
      image: exporter
`, ns))
	waitingFor := func(reason string) {
		Eventually(t, "the pod waits: "+reason, func(ctx context.Context) (bool, error) {
			pod, err := c.Client.CoreV1().Pods(ns).Get(ctx, "plain", metav1.GetOptions{})
			if err != nil || len(pod.Status.ContainerStatuses) == 0 || pod.Status.ContainerStatuses[0].State.Waiting == nil {
				return false, err
			}
			waiting := pod.Status.ContainerStatuses[0].State.Waiting
			if waiting.Reason != reason {
				return false, errors.New(waiting.Message)
			}
			return true, nil
		})
	}
	waitingFor("CreateContainerConfigError")
	c.Kubectl(t, "create", "secret", "generic", "-n", ns, "plain-auth", "--type=kubernetes.io/basic-auth", "--from-literal=username=sa", "--from-literal=password=weak")
	waitingFor("CrashLoopBackOff")
	c.setPassword(t, ns, "plain-auth", "Str0ngEnough")
	c.Kubectl(t, "wait", "-n", ns, "pod/plain", "--for=condition=Ready", "--timeout=30s")
	require.NoError(t, logIn(t, c.pod(t, ns, "plain"), "Str0ngEnough"))
}

func TestADeletedDatabaseLeavesNothing(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "db", ClientTLS)
	volume := c.Volume(ns, "data-db-0")
	require.DirExists(t, volume)
	c.Kubectl(t, "delete", "ms", "-n", ns, "db")
	Eventually(t, "its objects and its data are gone", func(ctx context.Context) (bool, error) {
		left, err := c.Run(ctx, nil, "get", "statefulsets,pods,services,secrets,persistentvolumeclaims,poddisruptionbudgets", "-n", ns, "-o=name")
		if err != nil || strings.TrimSpace(left) != "" {
			return false, errors.Join(err, errors.New(left))
		}
		_, err = os.Stat(volume)
		return os.IsNotExist(err), nil
	})
}

// What follows is for the tests above.

func (c *Cluster) credential(t *testing.T, namespace, name string) (username, password string) {
	t.Helper()
	secret, err := c.Client.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.SecretTypeBasicAuth, secret.Type)
	return string(secret.Data["username"]), string(secret.Data["password"])
}

func (c *Cluster) setPassword(t *testing.T, namespace, name, password string) {
	t.Helper()
	patch := fmt.Sprintf(`{"stringData":{"password":%q}}`, password)
	_, err := c.Client.CoreV1().Secrets(namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(t, err)
}

func (c *Cluster) pod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod, err := c.Client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return pod
}

func (c *Cluster) evict(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	require.NoError(t, c.Client.PolicyV1().Evictions(pod.Namespace).Evict(t.Context(), &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))},
	}))
}

// waitReplaced waits until another pod is ready under the pod's name.
func (c *Cluster) waitReplaced(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	var now *corev1.Pod
	Eventually(t, pod.Name+" is replaced", func(ctx context.Context) (_ bool, err error) {
		if now, err = c.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{}); err != nil {
			return false, err
		}
		ready := false
		for _, condition := range now.Status.Conditions {
			ready = ready || condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue
		}
		return now.UID != pod.UID && ready && now.Labels["kubedb.com/role"] != "", nil
	})
	return now
}

func (c *Cluster) phase(ctx context.Context, namespace, name string) (string, error) {
	db, err := c.Dynamic.Resource(MSSQLServers).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	phase, _, err := unstructured.NestedString(db.Object, "status", "phase")
	return phase, err
}

func (c *Cluster) updateStatus(t *testing.T, namespace, name string, change func(conditions []any) []any) {
	t.Helper()
	databases := c.Dynamic.Resource(MSSQLServers).Namespace(namespace)
	Eventually(t, "the conditions are written", func(ctx context.Context) (bool, error) {
		db, err := databases.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		status := db.Object["status"].(map[string]any)
		status["conditions"] = change(status["conditions"].([]any))
		_, err = databases.UpdateStatus(ctx, db, metav1.UpdateOptions{})
		return err == nil, err
	})
}

func logIn(t *testing.T, pod *corev1.Pod, password string) error {
	t.Helper()
	return logInWith(t, pod, password, "&trustservercertificate=true")
}

func logInWith(t *testing.T, pod *corev1.Pod, password, parameters string) error {
	t.Helper()
	config, err := msdsn.Parse("sqlserver://" + pod.Status.PodIP + ":1433?encrypt=true&dial+timeout=5&connection+timeout=5" + parameters)
	require.NoError(t, err)
	config.User, config.Password = "sa", password
	db := sql.OpenDB(mssql.NewConnectorConfig(config))
	defer db.Close()
	return db.PingContext(t.Context())
}
