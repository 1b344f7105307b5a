package kubetest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
	"github.com/stretchr/testify/require"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAnAvailabilityGroup(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "my-ag", AvailabilityGroup(3), Annotated("devcluster.gitrota.dev/stop-delay", "5s"))
	primary := c.pod(t, ns, "my-ag-0")
	require.Equal(t, "primary", primary.Labels["kubedb.com/role"])
	require.Equal(t, "secondary", c.pod(t, ns, "my-ag-1").Labels["kubedb.com/role"])
	require.Equal(t, "secondary", c.pod(t, ns, "my-ag-2").Labels["kubedb.com/role"])
	_, err := c.Client.CoreV1().Pods(ns).Get(t.Context(), "my-ag-arbiter-0", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "three need no arbiter: %v", err)

	t.Run("its servers are one, under the name without what is no letter or digit", func(t *testing.T) {
		require.Equal(t, []string{"myag my-ag-0 PRIMARY HEALTHY", "myag my-ag-1 SECONDARY HEALTHY", "myag my-ag-2 SECONDARY HEALTHY"}, c.members(t, ns, "my-ag-0"))
		require.Equal(t, []string{"myag my-ag-1 SECONDARY HEALTHY"}, c.members(t, ns, "my-ag-1"), "a secondary knows itself")
		require.Equal(t, []string{"agdb1"}, c.ask(t, ns, "my-ag-1", "SELECT database_name FROM sys.availability_databases_cluster"))
	})
	t.Run("its disruption budget refuses a second eviction", func(t *testing.T) {
		Eventually(t, "the disruption controller has seen the pods", func(ctx context.Context) (bool, error) {
			pdb, err := c.Client.PolicyV1().PodDisruptionBudgets(ns).Get(ctx, "my-ag", metav1.GetOptions{})
			return err == nil && pdb.Status.DisruptionsAllowed == 1, err
		})
		c.evict(t, primary)
		second := c.pod(t, ns, "my-ag-1")
		err := c.Client.PolicyV1().Evictions(ns).Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: second.Name}})
		require.True(t, apierrors.IsTooManyRequests(err), "%v", err)
		require.True(t, apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause))
	})
	t.Run("another replica becomes the primary by itself", func(t *testing.T) {
		require.Equal(t, "secondary", c.waitReplaced(t, primary).Labels["kubedb.com/role"])
		c.WaitReady(t, ns, "my-ag")
		next := strings.TrimPrefix(c.Kubectl(t, "get", "pods", "-n", ns, "-l=kubedb.com/role=primary", "-o=name"), "pod/")
		require.Contains(t, []string{"my-ag-1\n", "my-ag-2\n"}, next)
		require.Contains(t, c.members(t, ns, strings.TrimSpace(next)), "myag my-ag-0 SECONDARY HEALTHY")
	})
	t.Run("a test moves the primary", func(t *testing.T) {
		c.Kubectl(t, "annotate", "ms", "-n", ns, "my-ag", "devcluster.gitrota.dev/primary=my-ag-0")
		c.waitRole(t, ns, "my-ag-0", "primary")
		c.waitRole(t, ns, "my-ag-1", "secondary")
		c.waitRole(t, ns, "my-ag-2", "secondary")
	})
}

func TestAReplicaOfAGroupTakesItsTimeToBeInStep(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "ag", AvailabilityGroup(3), Annotated("devcluster.gitrota.dev/sync-delay", "4s"))
	pod := c.pod(t, ns, "ag-1")
	c.evict(t, pod)
	c.waitReplaced(t, pod)
	require.Equal(t, []string{"ag ag-0 PRIMARY HEALTHY", "ag ag-1 SECONDARY NOT_HEALTHY", "ag ag-2 SECONDARY HEALTHY"}, c.members(t, ns, "ag-0"))
	Eventually(t, "the database is Critical", func(ctx context.Context) (bool, error) {
		phase, err := c.phase(ctx, ns, "ag")
		return phase == "Critical", err
	})
	c.WaitReady(t, ns, "ag")
	require.Equal(t, []string{"ag ag-0 PRIMARY HEALTHY", "ag ag-1 SECONDARY HEALTHY", "ag ag-2 SECONDARY HEALTHY"}, c.members(t, ns, "ag-0"))
}

func TestAGroupThatIsScaled(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "ag", AvailabilityGroup(3))
	_, before := c.credential(t, ns, "ag-auth")
	c.setPassword(t, ns, "ag-auth", "Changed0nlyInTheSecret")
	c.Kubectl(t, "patch", "ms", "-n", ns, "ag", "--type=merge", "-p", `{"spec":{"replicas":4}}`)

	t.Run("gets a replica that has the password of the time of its start", func(t *testing.T) {
		c.waitRole(t, ns, "ag-3", "secondary")
		c.Kubectl(t, "wait", "-n", ns, "pod/ag-3", "pod/ag-arbiter-0", "--for=condition=Ready", "--timeout=30s")
		require.NoError(t, logIn(t, c.pod(t, ns, "ag-3"), "Changed0nlyInTheSecret"))
		require.NoError(t, logIn(t, c.pod(t, ns, "ag-0"), before))
		c.setPassword(t, ns, "ag-auth", before)
		require.Len(t, c.members(t, ns, "ag-0"), 4)
	})
	t.Run("and an arbiter, which is no SQL Server and no member", func(t *testing.T) {
		arbiter := c.pod(t, ns, "ag-arbiter-0")
		require.Equal(t, "arbiter", arbiter.Labels["kubedb.com/role"])
		require.Equal(t, "mssqlservers.kubedb.com", arbiter.Labels["app.kubernetes.io/name"])
		require.Equal(t, "ag", arbiter.Labels["app.kubernetes.io/instance"])
		require.Equal(t, "mssql-coordinator", arbiter.Spec.Containers[0].Name)
		require.Error(t, logIn(t, arbiter, before))
	})
	t.Run("and loses both when it is scaled back", func(t *testing.T) {
		c.Kubectl(t, "patch", "ms", "-n", ns, "ag", "--type=merge", "-p", `{"spec":{"replicas":3}}`)
		Eventually(t, "the group has three members, and there is no arbiter", func(ctx context.Context) (bool, error) {
			_, err := c.Client.CoreV1().Pods(ns).Get(ctx, "ag-arbiter-0", metav1.GetOptions{})
			return apierrors.IsNotFound(err) && len(c.members(t, ns, "ag-0")) == 3, nil
		})
		c.WaitReady(t, ns, "ag")
	})
}

func TestAContainedGroupHasLoginsOfItsOwn(t *testing.T) {
	c := Start(t)
	ns := c.Namespace(t)
	c.CreateMSSQLServer(t, ns, "ag", AvailabilityGroup(2), Annotated("devcluster.gitrota.dev/contained", "true"))
	_, password := c.credential(t, ns, "ag-auth")
	require.Equal(t, []string{"1"}, c.ask(t, ns, "ag-0", "SELECT CONVERT(nvarchar(10), CONVERT(int, is_contained)) FROM sys.availability_groups"))
	require.NoError(t, logInWith(t, c.pod(t, ns, "ag-0"), password, "&trustservercertificate=true&database=agdb1"))
	require.Equal(t, "arbiter", c.pod(t, ns, "ag-arbiter-0").Labels["kubedb.com/role"])
}

// waitRole waits until a pod has a role in its label.
func (c *Cluster) waitRole(t *testing.T, namespace, pod, role string) {
	t.Helper()
	Eventually(t, pod+" is "+role, func(ctx context.Context) (bool, error) {
		pod, err := c.Client.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
		return err == nil && pod.Labels["kubedb.com/role"] == role, err
	})
}

// members are those of the group that a pod's server is in, as it knows them: "group server role health".
func (c *Cluster) members(t *testing.T, namespace, pod string) []string {
	t.Helper()
	return c.ask(t, namespace, pod, `SELECT g.name + ' ' + r.replica_server_name + ' ' + s.role_desc + ' ' + s.synchronization_health_desc
FROM sys.availability_groups g JOIN sys.availability_replicas r ON r.group_id = g.group_id
JOIN sys.dm_hadr_availability_replica_states s ON s.replica_id = r.replica_id ORDER BY r.replica_server_name`)
}

// ask runs a query of one column as sa, with the password of the auth Secret.
func (c *Cluster) ask(t *testing.T, namespace, pod, query string) (answers []string) {
	t.Helper()
	_, password := c.credential(t, namespace, c.pod(t, namespace, pod).Labels["app.kubernetes.io/instance"]+"-auth")
	config, err := msdsn.Parse(fmt.Sprintf("sqlserver://%s:1433?database=master&encrypt=true&trustservercertificate=true&dial+timeout=5", c.pod(t, namespace, pod).Status.PodIP))
	require.NoError(t, err)
	config.User, config.Password = "sa", password
	db := sql.OpenDB(mssql.NewConnectorConfig(config))
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var answer string
		require.NoError(t, rows.Scan(&answer))
		answers = append(answers, answer)
	}
	require.NoError(t, rows.Err())
	return answers
}
