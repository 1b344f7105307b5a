package kubetest

import (
	"context"
	"database/sql"
	"testing"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// probes is a change for CreateMSSQLServer: its servers have these probes, or none.
func probes(readiness, liveness map[string]any) func(*unstructured.Unstructured) {
	return func(db *unstructured.Unstructured) {
		container := db.Object["spec"].(map[string]any)["podTemplate"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
		for name, probe := range map[string]map[string]any{"readinessProbe": readiness, "livenessProbe": liveness} {
			if delete(container, name); probe != nil {
				container[name] = probe
			}
		}
	}
}

func (c *Cluster) waitReady(t *testing.T, pod *corev1.Pod, is corev1.ConditionStatus) (now *corev1.Pod) {
	t.Helper()
	Eventually(t, "the pod's condition Ready is "+string(is), func(ctx context.Context) (_ bool, err error) {
		if now, err = c.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{}); err != nil {
			return false, err
		}
		for _, condition := range now.Status.Conditions {
			if condition.Type == corev1.PodReady {
				return condition.Status == is, nil
			}
		}
		return false, nil
	})
	return now
}

// alter changes sa's password in a pod, whatever the Secret says.
func (c *Cluster) alter(t *testing.T, pod *corev1.Pod, password, next string) {
	t.Helper()
	config, err := msdsn.Parse("sqlserver://" + pod.Status.PodIP + ":1433?encrypt=true&trustservercertificate=true")
	require.NoError(t, err)
	config.User, config.Password = "sa", password
	db := sql.OpenDB(mssql.NewConnectorConfig(config))
	defer db.Close()
	_, err = db.ExecContext(t.Context(), "ALTER LOGIN sa WITH PASSWORD = N'"+next+"'")
	require.NoError(t, err)
}

func TestAProbeThatLogsInFailsFromTheChangeOfThePasswordToTheRestart(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "db")
	pod := c.pod(t, ns, "db-0")
	_, password := c.credential(t, ns, "db-auth")

	c.alter(t, pod, password, "Changed-0n-the-server")
	c.setPassword(t, ns, "db-auth", "Changed-0n-the-server")
	now := c.waitReady(t, pod, corev1.ConditionFalse)
	require.Equal(t, pod.UID, now.UID)
	require.EqualValues(t, 0, now.Status.ContainerStatuses[0].RestartCount, "a readiness probe restarts nothing")
	require.NoError(t, logIn(t, now, "Changed-0n-the-server"), "it can be reached all the same")

	c.evict(t, now)
	c.waitReady(t, c.waitReplaced(t, now), corev1.ConditionTrue)
}

func TestALivenessProbeThatLogsInRestartsTheContainerWithTheEnvironmentOfThatTime(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "db", probes(loginProbe(), loginProbe()))
	pod := c.pod(t, ns, "db-0")
	_, password := c.credential(t, ns, "db-auth")

	c.setPassword(t, ns, "db-auth", "Changed-0n-the-server")
	c.alter(t, pod, password, "Changed-0n-the-server")
	Eventually(t, "the container was started again, and is ready", func(ctx context.Context) (bool, error) {
		now, err := c.Client.CoreV1().Pods(ns).Get(ctx, "db-0", metav1.GetOptions{})
		return err == nil && now.UID == pod.UID && now.Status.ContainerStatuses[0].RestartCount > 0 && now.Status.ContainerStatuses[0].Ready, err
	})
	require.NoError(t, logIn(t, c.pod(t, ns, "db-0"), "Changed-0n-the-server"))
}
