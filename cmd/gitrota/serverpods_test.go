package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// runSQL runs SQL Server in the pods of a workload, whose sa gets its password from a key of a Secret at the first start.
// Where that is the auth Secret, their readiness probe logs in with it. They take a moment to go, as pods do.
func (w *world) runSQL(kind, name string, replicas int, secret string) {
	w.Helper()
	more := ""
	if kind == "StatefulSet" {
		more = "serviceName: " + name + "\n  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]"
	}
	mount := ""
	if kind == "StatefulSet" {
		mount = ", volumeMounts: [{name: data, mountPath: /var/opt/mssql}]"
	}
	probe := ""
	if secret == name+"-auth" { // a probe with a password that nobody renews would fail for good
		probe = ", readinessProbe: " + kubetest.LoginProbe
	}
	w.cluster.Apply(w.T, fmt.Sprintf(`
apiVersion: apps/v1
kind: %s
metadata: {name: %[2]s, namespace: %[3]s}
spec:
  replicas: %[4]d
  %[6]s
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}, annotations: {devcluster.gitrota.dev/stop-delay: 700ms}}
    spec:
      containers:
        - {name: mssql, image: server, env: [{name: MSSQL_SA_PASSWORD, valueFrom: {secretKeyRef: {name: %[5]s, key: password}}}]%[8]s%[7]s}
`, kind, name, w.namespace, replicas, secret, more, mount, probe))
	w.eventually(name+" runs", func() bool { return len(w.podsOf(name)) == replicas })
}

// podsOf are the UIDs of the ready pods with the label app, by their address.
func (w *world) podsOf(app string) map[string]string {
	w.Helper()
	pods, err := w.cluster.Client.CoreV1().Pods(w.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + app})
	require.NoError(w.T, err)
	found := map[string]string{}
	for _, pod := range pods.Items {
		for _, c := range pod.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" && pod.DeletionTimestamp == nil {
				found[pod.Status.PodIP] = string(pod.UID)
			}
		}
	}
	return found
}

// podLets tries a credential on the server of a pod.
func (w *world) podLets(address string, login credential.Credential) bool {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	session, err := mssql.Open(ctx, mssql.Endpoint{Name: address, Address: address + ":1433", TLS: mssql.TLS{Any: true}}, login)
	if err != nil {
		require.ErrorContains(w.T, err, "18456")
		return false
	}
	session.Close()
	return true
}

func TestServersInPodsAreRotatedWithoutKubeDB(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stories := []struct {
		name      string
		kind      string
		replicas  int
		ownSecret bool // the environment takes the password from the auth Secret, and not from another one
		where     string
	}{
		{"set", "StatefulSet", 1, true, "workload: {kind: StatefulSet, name: set}"},
		{"set-of-two", "StatefulSet", 2, true, "workload: {kind: StatefulSet, name: set-of-two}"},
		{"from-elsewhere", "StatefulSet", 1, false, "workload: {kind: StatefulSet, name: from-elsewhere}"},
		{"deployment", "Deployment", 1, true, "workload: {kind: Deployment, name: deployment}"},
		{"labels", "Deployment", 2, false, "selector: {matchLabels: {app: labels}}"},
	}
	before, pods, files := map[string]credential.Credential{}, map[string]map[string]string{}, map[string]string{}
	for _, story := range stories {
		before[story.name] = w.credential("sa")
		w.keep(story.name+"-auth", before[story.name])
		secret := story.name + "-auth"
		if !story.ownSecret {
			secret = story.name + "-initial"
			w.keep(secret, before[story.name])
		}
		w.runSQL(story.kind, story.name, story.replicas, secret)
		pods[story.name] = w.podsOf(story.name)
		files["rotations/"+story.name+".yaml"] = w.document(story.name, story.where, authSecret(story.name), trusted) + "---\n" + w.request(story.name, story.name, "timeout: 30s")
	}
	w.repo.Commit(files, "Rotate all")
	agent := w.agent()
	for _, story := range stories {
		w.ended(story.name)
	}
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			w := w.of(t)
			s := w.status(story.name)
			require.Equal(t, "Successful", s.phase(), s.why())
			after := w.kept(story.name + "-auth")
			require.NotEqual(t, before[story.name], after)
			w.requireKeeper(story.name+"-auth-keeper", after, before[story.name])
			now := w.podsOf(story.name)
			require.Len(t, now, story.replicas)
			for address := range now {
				require.True(t, w.podLets(address, after))
				require.False(t, w.podLets(address, before[story.name]))
			}
			if story.ownSecret {
				require.Equal(t, story.replicas, evictions(s))
				for address := range pods[story.name] {
					require.NotContains(t, now, address, "a pod that carried the password was replaced")
				}
			} else {
				require.Zero(t, evictions(s))
				require.Equal(t, pods[story.name], now, "the pods carry nothing that was changed")
			}
			require.NotContains(t, s.types(), "DatabasePauseSucceeded", "there is nobody to keep away")
		})
	}
	require.Equal(t, 0, agent.terminate())
}
