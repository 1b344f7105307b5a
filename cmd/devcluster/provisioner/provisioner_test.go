package provisioner

import (
	"errors"
	"io"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
)

var refusedErr = mssql.Error{Number: 18456, Message: "Login failed for user 'sa'."}

func TestStatus(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	primary := func(ready bool, login error) replica {
		return replica{pod: "ag-0", primary: true, ready: ready, login: login}
	}
	secondary := func(ready bool, login error) replica { return replica{pod: "ag-1", ready: ready, login: login} }
	arbiter := replica{pod: "ag-arbiter-0", arbiter: true, ready: true}
	lagging := primary(true, nil)
	lagging.behind = []string{"ag-1"}
	all := []replica{primary(true, nil), secondary(true, nil), arbiter}
	for _, test := range []struct {
		name        string
		provisioned bool
		replicas    []replica
		phase       string
	}{
		{"no pods yet is Provisioning", false, nil, "Provisioning"},
		{"a new one with a replica missing is Provisioning", false, []replica{primary(true, nil), arbiter}, "Provisioning"},
		{"a new one without its arbiter is Provisioning", false, []replica{primary(true, nil), secondary(true, nil)}, "Provisioning"},
		{"all replicas ready and open is Ready", false, all, "Ready"},
		{"a primary that refuses the Secret's password is NotReady", true, []replica{primary(true, refusedErr), secondary(true, nil), arbiter}, "NotReady"},
		{"a primary that is gone is NotReady", true, []replica{secondary(true, nil), arbiter}, "NotReady"},
		{"a secondary that refuses is Critical", true, []replica{primary(true, nil), secondary(true, refusedErr), arbiter}, "Critical"},
		{"a secondary that is not ready is Critical", true, []replica{primary(true, nil), secondary(false, errors.New("the pod is not ready")), arbiter}, "Critical"},
		{"a secondary that is not in step is Critical", true, []replica{lagging, secondary(true, nil), arbiter}, "Critical"},
		{"one that has recovered is Ready", true, all, "Ready"},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := group()
			if test.provisioned {
				db.Status = statusOf(db, all, now)
			}
			status := statusOf(db, test.replicas, now)
			require.Equal(t, test.phase, status.Phase)
			db.Status = status
			require.Equal(t, status, statusOf(db, test.replicas, now.Add(time.Hour)), "said again, it is no change")
		})
	}
	t.Run("the conditions come in KubeDB's order", func(t *testing.T) {
		var order []string
		for _, c := range statusOf(group(), all, now).Conditions {
			order = append(order, c.Type)
		}
		require.Equal(t, []string{"ProvisioningStarted", "ReplicaReady", "AGPrimaryReplicaReady", "AcceptingConnection", "Ready", "Provisioned"}, order)
	})
	t.Run("a condition of somebody else stays as it is", func(t *testing.T) {
		db := group()
		theirs := kubedb.Condition{Type: "Halted", Status: "False", Severity: "Warning", Message: "theirs"}
		db.Status.Conditions = []kubedb.Condition{theirs}
		require.Equal(t, theirs, statusOf(db, nil, now).Conditions[0])
	})
	t.Run("a network error is reported without what changes from one to the next", func(t *testing.T) {
		require.Equal(t, "the server does not answer", reasonOf(io.EOF))
		require.Equal(t, "Login failed for user 'sa'.", reasonOf(refusedErr))
	})
}

func TestAnnotationsForThePods(t *testing.T) {
	faulty := map[string]string{kubedb.FaultsAnnotation: `{"silent":true}`, "other": "x"}
	t.Run("a new pod gets what its database has", func(t *testing.T) {
		require.Equal(t, map[string]any{kubedb.FaultsAnnotation: `{"silent":true}`}, changed(nil, faulty))
	})
	t.Run("a pod that has it gets nothing, so that its own may differ", func(t *testing.T) {
		require.Empty(t, changed(faulty, faulty))
	})
	t.Run("a pod loses what its database loses", func(t *testing.T) {
		require.Equal(t, map[string]any{kubedb.FaultsAnnotation: nil}, changed(faulty, nil))
	})
}

func TestObjects(t *testing.T) {
	t.Run("the user cannot set the variables that are KubeDB's", func(t *testing.T) {
		db := group()
		db.Spec.PodTemplate.Spec.Containers = []corev1.Container{{Name: "mssql", Env: []corev1.EnvVar{
			{Name: "MSSQL_SA_PASSWORD", Value: "mine"}, {Name: "MSSQL_PID", Value: "Evaluation"},
		}}}
		var names []string
		for _, env := range podSpec(db).Containers[0].Env {
			names = append(names, env.Name)
			require.NotEqual(t, "mine", env.Value)
		}
		require.Equal(t, []string{"MSSQL_SA_USERNAME", "MSSQL_SA_PASSWORD", "MSSQL_ENABLE_HADR", "MSSQL_AGENT_ENABLED", "MSSQL_PID"}, names)
	})
	t.Run("a user's other containers stay", func(t *testing.T) {
		db := group()
		db.Spec.PodTemplate.Spec.Containers = []corev1.Container{{Name: "exporter"}}
		containers := podSpec(db).Containers
		require.Equal(t, []string{"mssql", "exporter"}, []string{containers[0].Name, containers[1].Name})
	})
	t.Run("only a group has a disruption budget and a Service for its secondaries", func(t *testing.T) {
		alone := group()
		alone.Spec.Topology = nil
		require.Len(t, objects(alone), 4)
		odd := group()
		*odd.Spec.Replicas = 3
		require.Len(t, objects(odd), 6)
	})
	t.Run("an even number of replicas has an arbiter, without SQL Server and apart from them", func(t *testing.T) {
		require.Len(t, objects(group()), 7)
		set := arbiter(group())
		require.Equal(t, "ag-arbiter", set.Name)
		require.Equal(t, "arbiter", set.Spec.Selector.MatchLabels["kubedb.com/role"])
		require.Equal(t, "mssql-coordinator", set.Spec.Template.Spec.Containers[0].Name)
		require.NotContains(t, set.Spec.Template.Annotations, kubedb.GroupAnnotation)
	})
	t.Run("the pods of a group know it, and a standalone pod knows of none", func(t *testing.T) {
		db := group()
		db.Name, db.UID = "my-ag-1", "u1"
		db.Annotations = map[string]string{kubedb.ContainedAnnotation: "true", kubedb.SyncDelayAnnotation: "3s"}
		db.Spec.Topology.AvailabilityGroup = &kubedb.AvailabilityGroup{Databases: []string{"orders"}}
		pod := &corev1.Pod{ObjectMeta: statefulSet(db).Spec.Template.ObjectMeta}
		found, is, err := kubedb.GroupOf(pod)
		require.NoError(t, err)
		require.True(t, is)
		require.Equal(t, kubedb.Group{Database: "u1", Name: "myag1", First: "my-ag-1-0", Databases: []string{"orders"}, Contained: true, SyncDelay: "3s"}, found)
		db.Spec.Topology = nil
		require.Empty(t, statefulSet(db).Spec.Template.Annotations)
	})
	t.Run("a password has letters of both kinds and digits", func(t *testing.T) {
		for range 100 {
			password := newPassword().Reveal()
			require.Len(t, password, 16)
			require.Regexp(t, "[A-Z]", password)
			require.Regexp(t, "[a-z]", password)
			require.Regexp(t, "[0-9]", password)
		}
	})
}

func group() *kubedb.MSSQLServer {
	replicas := int32(2)
	db := &kubedb.MSSQLServer{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "ag", Generation: 1}}
	db.Spec.Replicas = &replicas
	db.Spec.Topology = &kubedb.Topology{Mode: kubedb.ModeAvailabilityGroup}
	return db
}
