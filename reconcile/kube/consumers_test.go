package kube_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// consumer is the manifest of a workload. Its container has more besides a name and an image, its pod podMore, and its
// spec specMore.
func consumer(kind, namespace, name, more, podMore, specMore string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: %[1]s
metadata: {name: %[3]s, namespace: %[2]s}
spec:
  %[6]s
  selector: {matchLabels: {app: %[3]s}}
  template:
    metadata: {labels: {app: %[3]s}}
    spec:
      %[5]s
      containers: [{name: app, image: image, %[4]s}]
---
`, kind, namespace, name, more, podMore, specMore)
}

func deployment(namespace, name, more string) string {
	return consumer("Deployment", namespace, name, more, "", "")
}

// usesAuth is a container that takes the password into its environment.
const usesAuth = "env: [{name: P, valueFrom: {secretKeyRef: {name: legacy-auth, key: password}}}]"

func consumersOf(t *testing.T, c *kube.Cluster, of reconcile.Target) []reconcile.Consumer {
	t.Helper()
	found, err := c.Consumers(t.Context(), of)
	require.NoError(t, err)
	return found
}

func shown(consumers []reconcile.Consumer) []string {
	var list []string
	for _, consumer := range consumers {
		list = append(list, consumer.String())
	}
	return list
}

// legacy is a target of which nothing but the auth Secret matters.
func legacy(namespace string) reconcile.Target {
	return reconcile.Target{
		Kind: manifest.KindServer, Namespace: namespace, Name: "legacy", AuthSecret: auth("legacy-auth"),
		Spec: &manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}},
	}
}

func TestConsumersAreAllThatTakeTheSecretIntoTheirPods(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace, other := cluster.Namespace(t), cluster.Namespace(t)
	c := connect(t, cluster.Config)
	volume := "volumes: [{name: v, secret: {secretName: legacy-auth}}]"
	projected := "volumes: [{name: v, projected: {sources: [{configMap: {name: m}}, {secret: {name: legacy-auth}}]}}]"
	init := "initContainers: [{name: init, image: image, envFrom: [{secretRef: {name: legacy-auth}}]}]"
	cluster.Apply(t, deployment(namespace, "env", usesAuth)+
		deployment(namespace, "env-from", "envFrom: [{configMapRef: {name: m}}, {secretRef: {name: legacy-auth}}]")+
		consumer("Deployment", namespace, "volume", "", volume, "")+
		consumer("StatefulSet", namespace, "init", "", init, "serviceName: s")+
		consumer("DaemonSet", namespace, "projected", "", projected, "")+
		deployment(namespace, "unrelated", "env: [{name: P, valueFrom: {secretKeyRef: {name: legacy-auth-2, key: password}}}]")+
		deployment(namespace, "same-name", "envFrom: [{configMapRef: {name: legacy-auth}}]")+
		deployment(other, "elsewhere", usesAuth))
	require.Equal(t, []string{"daemonset/projected", "deployment/env", "deployment/env-from", "deployment/volume", "statefulset/init"},
		shown(consumersOf(t, c, legacy(namespace))))
}

func TestTheServersThemselvesAreNoConsumers(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	uses := func(secret string) string {
		return "env: [{name: P, valueFrom: {secretKeyRef: {name: " + secret + ", key: password}}}]"
	}
	t.Run("of KubeDB", func(t *testing.T) {
		db := cluster.CreateMSSQLServer(t, namespace, "db")
		cluster.Apply(t, deployment(namespace, "shop", uses("db-auth"))+deployment(namespace, "exporter", uses("db-auth")))
		cluster.Kubectl(t, "-n", namespace, "patch", "deployment", "exporter", "--type=merge", fmt.Sprintf(
			`-p={"metadata":{"ownerReferences":[{"apiVersion":"kubedb.com/v1alpha2","kind":"MSSQLServer","name":"db","uid":%q}]}}`, db.GetUID()))
		require.Equal(t, []string{"deployment/shop"}, shown(consumersOf(t, c, target(t, c, asks(namespace, "db", nil)))))
	})
	document := runSQL(t, cluster, namespace, "StatefulSet", 1)
	cluster.Apply(t, deployment(namespace, "sql", uses("sql-auth"))+deployment(namespace, "web", uses("sql-auth")))
	t.Run("of a workload", func(t *testing.T) {
		require.Equal(t, []string{"deployment/sql", "deployment/web"}, shown(consumersOf(t, c, target(t, c, asks(namespace, "legacy", document)))))
	})
	t.Run("with labels", func(t *testing.T) {
		labels := &manifest.ServerSpec{Selector: map[string]string{"app": "sql"}, AuthSecret: auth("sql-auth")}
		require.Equal(t, []string{"deployment/web"}, shown(consumersOf(t, c, target(t, c, asks(namespace, "legacy", labels)))))
	})
	t.Run("but everything else is, if they are outside of the cluster", func(t *testing.T) {
		outside := &manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}, AuthSecret: auth("sql-auth")}
		require.Equal(t, []string{"deployment/sql", "deployment/web", "statefulset/sql"}, shown(consumersOf(t, c, target(t, c, asks(namespace, "legacy", outside)))))
	})
}

func TestARestartReplacesThePodsOnce(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.Apply(t, consumer("Deployment", namespace, "d", usesAuth, "", "replicas: 2")+
		consumer("StatefulSet", namespace, "s", usesAuth, "", "serviceName: s\n  replicas: 2")+
		consumer("DaemonSet", namespace, "a", usesAuth, "", ""))
	settled := func(id string) {
		kubetest.Eventually(t, "all have settled with "+id, func(ctx context.Context) (bool, error) {
			all, err := c.Consumers(ctx, legacy(namespace))
			for _, one := range all {
				if !one.Settled || one.RotationID != id {
					return false, fmt.Errorf("%+v", one)
				}
			}
			return len(all) == 3, err
		})
	}
	podUIDs := func() map[types.UID]bool {
		list, err := cluster.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		uids := map[types.UID]bool{}
		for _, pod := range list.Items {
			if pod.DeletionTimestamp == nil {
				uids[pod.UID] = true
			}
		}
		return uids
	}
	settled("")
	before := podUIDs()
	require.Len(t, before, 5)
	listed := consumersOf(t, c, legacy(namespace))
	for _, one := range listed {
		require.Equal(t, map[string]int{"Deployment": 2, "StatefulSet": 2, "DaemonSet": 1}[one.Kind], one.Wanted, one.Kind)
		require.False(t, one.Paused)
		require.NoError(t, c.RestartConsumer(t.Context(), one, "rotation-1"))
	}
	for _, one := range consumersOf(t, c, legacy(namespace)) {
		require.Equal(t, "rotation-1", one.RotationID)
	}
	settled("rotation-1")
	after := podUIDs()
	require.Len(t, after, 5)
	for uid := range after {
		require.NotContains(t, before, uid)
	}

	again := consumersOf(t, c, legacy(namespace))
	for i, one := range again {
		require.NoError(t, c.RestartConsumer(t.Context(), one, "rotation-1"))
		require.ErrorIs(t, c.RestartConsumer(t.Context(), listed[i], "rotation-0"), reconcile.ErrConflict, "who was listed before is another one now")
	}
	require.Equal(t, again, consumersOf(t, c, legacy(namespace)))
	require.Equal(t, after, podUIDs(), "twice is once")
	d, err := cluster.Client.AppsV1().Deployments(namespace).Get(t.Context(), "d", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(2), d.Generation)
	require.Equal(t, "rotation-1", d.Spec.Template.Annotations[kube.AnnotationRotationID])
}

func TestARestartDoesNotTouchAnotherObjectOfTheSameName(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	manifests := deployment(namespace, "d", usesAuth) + consumer("StatefulSet", namespace, "s", usesAuth, "", "serviceName: s") +
		consumer("DaemonSet", namespace, "a", usesAuth, "", "")
	cluster.Apply(t, manifests)
	was := consumersOf(t, c, legacy(namespace))
	require.Len(t, was, 3)
	remove := func() { cluster.Kubectl(t, "-n", namespace, "delete", "deployment/d", "statefulset/s", "daemonset/a") }

	remove()
	for _, one := range was {
		require.ErrorIs(t, c.RestartConsumer(t.Context(), one, "rotation-1"), reconcile.ErrConflict, "it is gone")
	}
	cluster.Apply(t, manifests)
	for _, one := range was {
		require.ErrorIs(t, c.RestartConsumer(t.Context(), one, "rotation-1"), reconcile.ErrConflict, "another one has its name")
	}
	for _, one := range consumersOf(t, c, legacy(namespace)) {
		require.Empty(t, one.RotationID)
	}
}

func TestWhatIsNotReplacedByItselfIsPaused(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.Apply(t, consumer("Deployment", namespace, "paused", usesAuth, "", "paused: true")+
		consumer("Deployment", namespace, "none", usesAuth, "", "replicas: 0")+
		consumer("StatefulSet", namespace, "by-hand", usesAuth, "", "updateStrategy: {type: OnDelete}")+
		consumer("StatefulSet", namespace, "in-part", usesAuth, "", "updateStrategy: {rollingUpdate: {partition: 1}}\n  replicas: 2")+
		consumer("DaemonSet", namespace, "by-hand", usesAuth, "", "updateStrategy: {type: OnDelete}"))
	find := func(name string) reconcile.Consumer {
		for _, one := range consumersOf(t, c, legacy(namespace)) {
			if one.String() == name {
				return one
			}
		}
		require.FailNow(t, "it is not there", name)
		return reconcile.Consumer{}
	}
	for _, name := range []string{"deployment/paused", "statefulset/by-hand", "statefulset/in-part", "daemonset/by-hand"} {
		require.True(t, find(name).Paused, name)
	}
	cluster.Kubectl(t, "-n", namespace, "rollout", "status", "deployment/none", "--timeout=30s")
	require.False(t, find("deployment/none").Paused)
	require.Zero(t, find("deployment/none").Wanted)
	require.False(t, find("deployment/none").Settled, "nobody has seen that it works")

	t.Run("and settles when it goes on", func(t *testing.T) {
		kubetest.Eventually(t, "the pods are there", func(context.Context) (bool, error) { return find("statefulset/in-part").Settled, nil })
		require.NoError(t, c.RestartConsumer(t.Context(), find("statefulset/in-part"), "rotation-1"))
		kubetest.Eventually(t, "all but the first are new", func(ctx context.Context) (bool, error) {
			set, err := cluster.Client.AppsV1().StatefulSets(namespace).Get(ctx, "in-part", metav1.GetOptions{})
			return err == nil && set.Status.ObservedGeneration == set.Generation && set.Status.UpdatedReplicas == 1 && set.Status.AvailableReplicas == 2, err
		})
		require.False(t, find("statefulset/in-part").Settled)
		cluster.Kubectl(t, "-n", namespace, "patch", "statefulset", "in-part", "--type=merge", `-p={"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}`)
		kubetest.Eventually(t, "the first is new, too", func(context.Context) (bool, error) { return find("statefulset/in-part").Settled, nil })
		require.False(t, find("statefulset/in-part").Paused)
	})
	t.Run("and settles when a person has replaced the pods", func(t *testing.T) {
		kubetest.Eventually(t, "the pod is there", func(context.Context) (bool, error) { return find("statefulset/by-hand").Settled, nil })
		require.NoError(t, c.RestartConsumer(t.Context(), find("statefulset/by-hand"), "rotation-1"))
		require.False(t, find("statefulset/by-hand").Settled)
		cluster.Kubectl(t, "-n", namespace, "delete", "pod", "by-hand-0")
		kubetest.Eventually(t, "the pod is new", func(context.Context) (bool, error) { return find("statefulset/by-hand").Settled, nil })
	})
}
