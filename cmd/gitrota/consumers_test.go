package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

var consumersOnce sync.Once

// mayRestart grants what the install manifests grant where policies have consumers restarted. The API server takes its
// time to obey: until then, a request would be refused for a missing right.
func (w *world) mayRestart() {
	w.Helper()
	consumersOnce.Do(func() { w.cluster.Kubectl(w.T, "apply", "-f", "../../examples/install/consumers/rbac.yaml") })
	w.eventually("the rights are in force", func() bool {
		answer, err := w.cluster.Run(w.Context(), nil, "auth", "can-i", "patch", "daemonsets", "--all-namespaces", "--as=system:serviceaccount:gitrota:gitrota")
		return err == nil && strings.TrimSpace(answer) == "yes" // no is an exit code of 1
	})
}

// policy has the consumers of the databases restarted whose names match.
func (w *world) policy(databases string, concurrent int) string {
	return fmt.Sprintf("apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: consumers-%[1]s}\nspec:\n"+
		"  databases: [{namespace: %[2]s, name: %[1]s}]\n  consumers: {restart: true, maxConcurrent: %[3]d}\n", databases, w.namespace, concurrent)
}

// consumer is a workload whose pods are not ready before the test lets them be, by the readiness gate let-in.
func (w *world) consumer(kind, name, spec, uses string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: %s
metadata: {name: %[2]s, namespace: %[3]s}
spec:
  selector: {matchLabels: {consumer: %[2]s}}
  %[4]s
  template:
    metadata: {labels: {consumer: %[2]s}}
    spec: {readinessGates: [{conditionType: example.com/let-in}], %[5]s}
---
`, kind, name, w.namespace, spec, uses)
}

func inEnv(secret string) string {
	return "containers: [{name: app, image: app, env: [{name: P, valueFrom: {secretKeyRef: {name: " + secret + ", key: password}}}]}]"
}

func mounted(volume string) string {
	return "containers: [{name: app, image: app, volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, " + volume + "}]"
}

// waiting are the consumers with a pod that is not ready, and the name of that pod.
func (w *world) waiting() map[string]string {
	w.Helper()
	pods, err := w.cluster.Client.CoreV1().Pods(w.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "consumer"})
	require.NoError(w.T, err)
	found := map[string]string{}
	for _, pod := range pods.Items {
		ready := pod.DeletionTimestamp != nil
		for _, c := range pod.Status.Conditions {
			ready = ready || c.Type == "Ready" && c.Status == "True"
		}
		if !ready {
			found[pod.Labels["consumer"]] = pod.Name
		}
	}
	return found
}

// while waits as eventually does, but not for a request that has ended: the test then fails with how it ended.
func (w *world) while(request, what string, holds func() bool) {
	w.Helper()
	kubetest.Eventually(w.T, what, func(context.Context) (bool, error) {
		if holds() {
			return true, nil
		}
		s, waiting := w.status(request), w.waiting()
		require.False(w.T, s.ended(), "waiting until %s; %s has ended as %s: %s; pods that wait: %v", what, request, s.phase(), s.why(), waiting)
		return false, fmt.Errorf("%s is %q with the conditions %v; pods that wait: %v", request, s.phase(), s.types(), waiting)
	})
}

// letIn makes a pod ready.
func (w *world) letIn(pod string) {
	w.Helper()
	_, err := w.cluster.Client.CoreV1().Pods(w.namespace).Patch(context.Background(), pod, types.StrategicMergePatchType,
		[]byte(`{"status":{"conditions":[{"type":"example.com/let-in","status":"True"}]}}`), metav1.PatchOptions{}, "status")
	require.NoError(w.T, err)
}

// run applies consumers and lets all their pods in.
func (w *world) run(consumers string, pods int) {
	w.Helper()
	w.cluster.Apply(w.T, consumers)
	met := map[string]bool{}
	w.eventually("all consumers run", func() bool {
		for _, pod := range w.waiting() {
			w.letIn(pod)
			met[pod] = true
		}
		return len(met) == pods && len(w.waiting()) == 0
	})
}

// podNames are the names of a consumer's pods.
func (w *world) podNames(consumer string) string {
	return w.cluster.Kubectl(w.T, "-n", w.namespace, "get", "pods", "-l", "consumer="+consumer, "-o", "jsonpath={.items[*].metadata.uid}")
}

func TestThoseWhoUseTheSecretAreRestartedAFewAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mayRestart()
	s, document := w.shop("shop")
	w.run(w.consumer("Deployment", "web", "replicas: 1", inEnv("shop-auth"))+
		w.consumer("Deployment", "worker", "replicas: 1", inEnv("shop-auth"))+
		w.consumer("StatefulSet", "ledger", "replicas: 1\n  serviceName: ledger", mounted("secret: {secretName: shop-auth}"))+
		w.consumer("DaemonSet", "probe", "", mounted("projected: {sources: [{secret: {name: shop-auth}}]}"))+
		w.consumer("Deployment", "asleep", "replicas: 0", inEnv("shop-auth"))+
		w.consumer("Deployment", "held", "replicas: 1", inEnv("shop-auth"))+
		w.consumer("Deployment", "stranger", "replicas: 1", inEnv("other-auth")+", automountServiceAccountToken: false"), 6)
	w.cluster.Kubectl(t, "-n", w.namespace, "rollout", "pause", "deployment/held")
	before := map[string]string{}
	for _, name := range []string{"web", "worker", "ledger", "probe", "held", "stranger"} {
		before[name] = w.podNames(name)
	}
	w.repo.Commit(map[string]string{"rotations/shop.yaml": document, "rotations/policy.yaml": w.policy("shop", 2), "rotations/r.yaml": w.request("r", "shop", "timeout: 1h")}, "Rotate shop")
	agent := w.agent("--allow-hosts", "127.0.0.1")

	w.while("r", "two are under way", func() bool { return len(w.waiting()) == 2 })
	w.while("r", "the status is in Git", func() bool { return w.status("r").condition("CredentialVerified").Status == "True" })
	require.Equal(t, "Progressing", w.status("r").phase(), "they are waited for")
	require.Len(t, w.waiting(), 2, "and no third one is told before")
	w.eventually("r has ended", func() bool {
		waiting := w.waiting()
		require.LessOrEqual(t, len(waiting), 2)
		for _, pod := range waiting {
			w.letIn(pod)
			break
		}
		return w.status("r").ended()
	})

	r := w.status("r")
	require.Equal(t, "Successful", r.phase(), r.why())
	restarted := r.condition("ConsumersRestarted")
	require.Equal(t, "False", restarted.Status, "two have not been seen to work")
	require.Equal(t, "NotAllVerified", restarted.Reason)
	require.Equal(t, "4 of 6 run with the new credential; these run no pods, or do not replace them, and take it when they do: deployment/asleep, deployment/held", restarted.Message)
	for _, name := range []string{"web", "worker", "ledger", "probe"} {
		require.NotEqual(t, before[name], w.podNames(name), name)
	}
	for _, name := range []string{"held", "stranger"} {
		require.Equal(t, before[name], w.podNames(name), name)
	}
	w.requireOneTruth(s)
	require.Equal(t, 0, agent.terminate())
}

func TestAConsumerThatDoesNotComeBackFailsTheRequestAndNotTheCredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mayRestart()
	s, document := w.shop("shop")
	before := w.kept("shop-auth")
	w.run(w.consumer("Deployment", "web", "replicas: 1", inEnv("shop-auth")), 1)
	w.repo.Commit(map[string]string{"rotations/shop.yaml": document, "rotations/policy.yaml": w.policy("shop", 1), "rotations/r.yaml": w.request("r", "shop", "timeout: 5s")}, "Rotate shop")
	agent := w.agent("--allow-hosts", "127.0.0.1")
	r := w.ended("r")
	require.Equal(t, "Failed", r.phase())
	require.Equal(t, "ConsumersNotReady", r.condition("Failed").Reason, r.why())
	require.Contains(t, r.why(), "not all pods of deployment/web are new and ready yet; see kubectl rollout status; the credential itself is in order")
	require.NotContains(t, r.types(), "RecoveryRequired")
	require.NotEqual(t, before, w.kept("shop-auth"))
	require.Equal(t, before, w.kept("shop-auth", "username.prev", "password.prev"))
	w.requireOneTruth(s)

	w.eventually("web comes back after all", func() bool {
		for _, pod := range w.waiting() {
			w.letIn(pod)
		}
		return len(w.waiting()) == 0
	})
	w.repo.Commit(map[string]string{"rotations/next.yaml": w.request("next", "shop", "timeout: 1m")}, "Rotate shop again")
	w.eventually("next has ended", func() bool {
		for _, pod := range w.waiting() {
			w.letIn(pod)
		}
		return w.status("next").ended()
	})
	require.Equal(t, "Successful", w.status("next").phase(), w.status("next").why())
	require.Equal(t, "these run with the new credential: deployment/web", w.status("next").condition("ConsumersRestarted").Message)
	require.Equal(t, 0, agent.terminate())
}

func TestMissingRightsToRestartConsumersAreNamedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, document := w.shop("shop")
	before := w.kept("shop-auth")
	args := append(w.agentArgs("--allow-hosts", "127.0.0.1"), "--kubeconfig", w.kubeconfigWithout("nothing"), "--once")
	w.repo.Commit(map[string]string{"rotations/shop.yaml": document, "rotations/policy.yaml": w.policy("shop", 1), "rotations/r.yaml": w.request("r", "shop")}, "Rotate shop")
	require.Equal(t, 1, w.start(args...).wait())
	r := w.status("r")
	require.Equal(t, "PermissionMissing", r.condition("Failed").Reason)
	var missing []string
	for _, kind := range []string{"deployments", "statefulsets", "daemonsets"} {
		missing = append(missing, "list "+kind+".apps", "patch "+kind+".apps")
	}
	require.Equal(t, "in the namespace "+w.namespace+" gitrota may not: "+strings.Join(missing, ", ")+
		"; apply the component consumers of gitrota's install manifests too, which lets it restart workloads", r.why())
	require.Equal(t, before, w.kept("shop-auth"))
	require.False(t, w.keeps("shop"))
	succeeded, failed := s.StandIn().Logins("app")
	require.Zero(t, succeeded+failed)
}
