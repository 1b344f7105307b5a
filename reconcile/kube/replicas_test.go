package kube_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

func TestADisruptionBudgetIsAWaitAndNotAFailure(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "db")
	db := target(t, c, asks(namespace, "db", nil))
	pods := replicas(t, c, db)
	require.Len(t, pods, 1)
	require.True(t, pods[0].Ready)
	require.True(t, pods[0].Pod)
	require.Contains(t, pods[0].PasswordFrom, "db-auth")

	none := intstr.FromInt32(0)
	_, err := cluster.Client.PolicyV1().PodDisruptionBudgets(namespace).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "none"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: &none, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/instance": "db"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	err = c.Evict(t.Context(), pods[0])
	require.Equal(t, fault.Wait, fault.As(err).Class)
	require.Equal(t, kube.ReasonDisruptionBudget, fault.As(err).Reason)

	require.NoError(t, cluster.Client.PolicyV1().PodDisruptionBudgets(namespace).Delete(t.Context(), "none", metav1.DeleteOptions{}))
	stranger := pods[0]
	stranger.UID = "00000000-0000-0000-0000-000000000000"
	require.NoError(t, c.Evict(t.Context(), stranger), "that one is gone already")
	same := replicas(t, c, db)
	require.Equal(t, pods[0].UID, same[0].UID)
	require.False(t, same[0].Ending)

	require.NoError(t, c.Evict(t.Context(), pods[0]))
	kubetest.Eventually(t, "another pod has its place", func(ctx context.Context) (bool, error) {
		now, err := c.Replicas(ctx, db)
		return err == nil && len(now) == 1 && now[0].UID != pods[0].UID && now[0].Ready, err
	})
}

// bare is a pod without a workload. The server in it has no password and does not start, which is all the same here.
func bare(namespace, name, labels, container, more string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, labels: {%s}}
spec:
  %s
  containers: [{name: %s, image: image}]
---
`, name, namespace, labels, more, container)
}

func TestAnArbiterIsNoReplicaOfItsGroup(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "ag", kubetest.AvailabilityGroup(2))
	labels := "app.kubernetes.io/name: mssqlservers.kubedb.com, app.kubernetes.io/instance: ag"
	cluster.Apply(t, bare(namespace, "ag-arbiter-1", labels+", kubedb.com/role: arbiter", "mssql", "")+
		bare(namespace, "ag-coordinator", labels, "mssql-coordinator", "")+
		bare(namespace, "other-0", "app.kubernetes.io/name: mssqlservers.kubedb.com, app.kubernetes.io/instance: other", "mssql", ""))

	found := replicas(t, c, target(t, c, asks(namespace, "ag", nil)))
	require.Equal(t, []string{"ag-0", "ag-1"}, names(found))
	require.True(t, found[0].Primary)
	require.False(t, found[1].Primary)
	for _, replica := range found {
		require.True(t, replica.Ready)
		require.Equal(t, replica.Name, replica.Endpoint.Name)
		require.True(t, replica.Endpoint.TLS.Any)
		require.Equal(t, replica.Name+".ag-pods."+namespace+".svc", replica.Endpoint.TLS.ServerName)
	}
}

func TestAPodThatIsNotReadyGoesWhereTheBudgetIsSpentAndStaysWhereThereIsNone(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	document := target(t, c, asks(namespace, "legacy", runSQL(t, cluster, namespace, "StatefulSet", 2)))
	budgets := cluster.Client.PolicyV1().PodDisruptionBudgets(namespace)
	budget := func(unavailable int32) *policyv1.PodDisruptionBudget {
		most := intstr.FromInt32(unavailable)
		return &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "sql"}, Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: &most, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "sql"}},
		}}
	}
	observed := func(desired, healthy int32) {
		kubetest.Eventually(t, "the budget is up to date", func(ctx context.Context) (bool, error) {
			b, err := budgets.Get(ctx, "sql", metav1.GetOptions{})
			if err != nil || b.Status.ObservedGeneration != b.Generation {
				return false, err
			}
			return slices.Equal([]int32{2, desired, healthy}, []int32{b.Status.ExpectedPods, b.Status.DesiredHealthy, b.Status.CurrentHealthy}), nil
		})
	}
	_, err := budgets.Create(t.Context(), budget(0), metav1.CreateOptions{})
	require.NoError(t, err)
	for _, pod := range replicas(t, c, document) {
		cluster.Kubectl(t, "-n", namespace, "annotate", "pod", pod.Name, `devcluster.gitrota.dev/faults={"refuseConnections":true}`)
	}
	var pods []reconcile.Replica
	kubetest.Eventually(t, "no pod is ready", func(ctx context.Context) (_ bool, err error) {
		pods, err = c.Replicas(ctx, document)
		return err == nil && !pods[0].Ready && !pods[1].Ready, err
	})
	observed(2, 0)
	err = c.Evict(t.Context(), pods[0])
	require.Equal(t, kube.ReasonDisruptionBudget, fault.As(err).Reason)
	require.ErrorContains(t, err, "the PodDisruptionBudget sql allows no disruption, also of pods that are not ready")

	require.NoError(t, budgets.Delete(t.Context(), "sql", metav1.DeleteOptions{}))
	_, err = budgets.Create(t.Context(), budget(1), metav1.CreateOptions{})
	require.NoError(t, err)
	observed(1, 0)
	stranger := pods[0]
	stranger.UID = "00000000-0000-0000-0000-000000000000"
	require.NoError(t, c.Evict(t.Context(), stranger), "that one is gone already")
	require.Equal(t, pods[0].UID, replicas(t, c, document)[0].UID)
	kubetest.Eventually(t, "another pod has its place", func(ctx context.Context) (bool, error) {
		if err := c.Evict(ctx, pods[0]); err != nil {
			return false, err
		}
		now, err := c.Replicas(ctx, document)
		return err == nil && len(now) == 2 && now[0].UID != pods[0].UID && now[0].Ready, err
	})
	observed(1, 1)

	ready := replicas(t, c, document)[0]
	ready.Ready = false // as it was when somebody looked
	err = c.Evict(t.Context(), ready)
	require.Equal(t, kube.ReasonDisruptionBudget, fault.As(err).Reason)
}

func TestTheServersOfAWorkload(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	document := runSQL(t, cluster, namespace, "StatefulSet", 2)
	cluster.Apply(t, bare(namespace, "stranger", "app: other", "mssql", ""))
	pod := func(name string) *corev1.Pod {
		pod, err := cluster.Client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		return pod
	}
	first := pod("sql-0")
	found := replicas(t, c, target(t, c, asks(namespace, "legacy", document)))
	require.Equal(t, []string{"sql-0", "sql-1"}, names(found))
	require.Equal(t, reconcile.Replica{
		Namespace: namespace, Name: "sql-0", UID: string(first.UID),
		Endpoint: mssql.Endpoint{
			Name: "sql-0", Address: first.Status.PodIP + ":1433",
			TLS: mssql.TLS{ServerName: "sql-0.sql-pods." + namespace + ".svc", Any: true},
		},
		Ready: true, Pod: true, PasswordFrom: []string{"sql-auth"},
	}, found[0])

	t.Run("are reached as the document says", func(t *testing.T) {
		special := *document
		special.Container, special.Port, special.ContainedDatabase, special.TLS.ServerName = "exporter", 14330, "shop", "sql.example.com"
		found := replicas(t, c, target(t, c, asks(namespace, "legacy", &special)))
		require.Equal(t, mssql.Endpoint{
			Name: "sql-0", Address: first.Status.PodIP + ":14330", Database: "shop", Contained: true,
			TLS: mssql.TLS{ServerName: "sql.example.com", Any: true},
		}, found[0].Endpoint)
		special.Container = "nothing"
		require.Empty(t, replicas(t, c, target(t, c, asks(namespace, "legacy", &special))))
	})
	t.Run("end like those of KubeDB", func(t *testing.T) {
		require.NoError(t, c.Evict(t.Context(), found[1]))
		kubetest.Eventually(t, "another pod has its place", func(ctx context.Context) (bool, error) {
			now, err := c.Replicas(ctx, target(t, c, asks(namespace, "legacy", document)))
			return err == nil && len(now) == 2 && now[1].UID != found[1].UID && now[1].Ready, err
		})
	})
	t.Run("are found no more when the workload is gone", func(t *testing.T) {
		was := target(t, c, asks(namespace, "legacy", document))
		cluster.Kubectl(t, "-n", namespace, "delete", "statefulset", "sql", "--cascade=orphan")
		_, err := c.Replicas(t.Context(), was)
		require.ErrorIs(t, err, reconcile.ErrNotFound)
	})
}

func TestAPodWithoutANameIsKnownByItsAddress(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	document := runSQL(t, cluster, namespace, "Deployment", 1)
	found := replicas(t, c, target(t, c, asks(namespace, "legacy", document)))
	require.Len(t, found, 1)
	require.NotEmpty(t, found[0].Endpoint.TLS.ServerName)
	require.Equal(t, found[0].Endpoint.TLS.ServerName+":1433", found[0].Endpoint.Address)
}

func TestLabelsFindServersAndNothingElse(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.Apply(t, bare(namespace, "sql-10", "app: sql", "mssql", "")+
		bare(namespace, "sql-2", "app: sql", "mssql", "")+
		bare(namespace, "sql", "app: sql", "mssql", "")+
		bare(namespace, "sidecar", "app: sql", "exporter", "")+
		bare(namespace, "ended", "app: sql", "mssql", "")+
		fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: backup, namespace: %s}
spec:
  template:
    metadata: {labels: {app: sql}}
    spec: {restartPolicy: Never, containers: [{name: mssql, image: image}]}
`, namespace))
	kubetest.Eventually(t, "the job has its pod, and another pod was evicted by its node", func(ctx context.Context) (bool, error) {
		pods := cluster.Client.CoreV1().Pods(namespace)
		jobs, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "job-name=backup"})
		if err != nil || len(jobs.Items) == 0 {
			return false, err
		}
		ended, err := pods.Get(ctx, "ended", metav1.GetOptions{})
		if err != nil || ended.Status.Phase == corev1.PodFailed {
			return err == nil, err
		}
		ended.Status.Phase, ended.Status.Reason = corev1.PodFailed, "Evicted"
		_, err = pods.UpdateStatus(ctx, ended, metav1.UpdateOptions{})
		return false, err
	})

	some := target(t, c, asks(namespace, "legacy", &manifest.ServerSpec{Selector: map[string]string{"app": "sql"}}))
	require.Equal(t, []string{"sql", "sql-2", "sql-10"}, names(replicas(t, c, some)), "by the numbers at their ends")
	require.Equal(t, 3, some.Replicas)
	some.Spec = &manifest.ServerSpec{}
	require.Empty(t, replicas(t, c, some), "no labels are not all pods")
}

func TestEndpointsAreServersOutsideOfTheCluster(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	document := &manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433", "[2001:db8::1]:14330"}, ContainedDatabase: "shop"}
	outside := target(t, c, asks(namespace, "legacy", document))
	require.Equal(t, []reconcile.Replica{
		{
			Namespace: namespace, Name: "[2001:db8::1]:14330", UID: "endpoint/[2001:db8::1]:14330", Ready: true,
			Endpoint: mssql.Endpoint{
				Name: "[2001:db8::1]:14330", Address: "[2001:db8::1]:14330", Database: "shop", Contained: true,
				TLS: mssql.TLS{ServerName: "2001:db8::1"},
			},
		},
		{
			Namespace: namespace, Name: "sql.example.com:1433", UID: "endpoint/sql.example.com:1433", Ready: true,
			Endpoint: mssql.Endpoint{
				Name: "sql.example.com:1433", Address: "sql.example.com:1433", Database: "shop", Contained: true,
				TLS: mssql.TLS{ServerName: "sql.example.com"},
			},
		},
	}, replicas(t, c, outside))
}
