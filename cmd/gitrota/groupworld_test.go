package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// group makes an availability group and waits until it is Ready. Its first replica is the primary. Its pods take a
// moment to go, as pods do: one that is back under its name before the disruption controller has seen it going is
// taken for one that still has to go, for two minutes.
func (w *world) group(name string, replicas int64, changes ...func(*unstructured.Unstructured)) {
	w.Helper()
	changes = append(changes, kubetest.AvailabilityGroup(replicas), kubetest.Annotated("devcluster.gitrota.dev/stop-delay", "700ms"))
	w.database(name, changes...)
}

// syncDelay has replicas that start take their time to be in step.
func syncDelay(d time.Duration) func(*unstructured.Unstructured) {
	return kubetest.Annotated("devcluster.gitrota.dev/sync-delay", d.String())
}

// replicaNames are the pods of a group that are SQL Servers, in the order of their names.
func (w *world) replicaNames(database string) (names []string) {
	w.Helper()
	for _, pod := range w.replicas(database) {
		names = append(names, pod.Name)
	}
	return names
}

func (w *world) replicas(database string) []corev1.Pod {
	w.Helper()
	pods, err := w.cluster.Client.CoreV1().Pods(w.namespace).List(context.Background(), metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/instance=" + database + ",kubedb.com/role!=arbiter",
	})
	require.NoError(w.T, err)
	return pods.Items
}

// uids are those of a group's pods, the arbiter's too, by name.
func (w *world) uids(database string) map[string]string { return w.traces(database).Pods }

// podOpens tries a credential on one replica with a real login, in a database or in none.
func (w *world) podOpens(name, database string, login credential.Credential) bool {
	w.Helper()
	pod, err := w.cluster.Client.CoreV1().Pods(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
	require.NoError(w.T, err)
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	session, err := mssql.Open(ctx, mssql.Endpoint{Name: name, Address: pod.Status.PodIP + ":1433", Database: database, TLS: mssql.TLS{Any: true}}, login)
	if err != nil {
		require.ErrorContains(w.T, err, "18456")
		return false
	}
	session.Close()
	return true
}

// replicaLog is what one replica has written about logins and changes.
func (w *world) replicaLog(pod string) string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.cluster.Volume(w.namespace, "data-"+pod), "log", "errorlog"))
	if !os.IsNotExist(err) { // it has not started yet
		require.NoError(w.T, err)
	}
	return string(text)
}

// at lists when a replica wrote what.
func (w *world) at(pod, what string) (times []time.Time) {
	w.Helper()
	wanted := regexp.MustCompile(what)
	for line := range strings.Lines(w.replicaLog(pod)) {
		if !wanted.MatchString(line) {
			continue
		}
		written, err := time.Parse("2006-01-02 15:04:05.00", line[:22])
		require.NoError(w.T, err, line)
		times = append(times, written)
	}
	return times
}

// changes, starts and refusals are when a replica's password was changed, when it was started, and when a login failed that
// was not its own probe's.
func (w *world) changes(pod string) []time.Time {
	return w.at(pod, "Password of login 'sa' was changed")
}
func (w *world) starts(pod string) []time.Time {
	return w.at(pod, "SQL Server is now ready for client connections")
}
func (w *world) refusals(pod string) []time.Time { return w.at(pod, refusedOutside.String()) }

// replicaFaults makes one replica misbehave.
func (w *world) replicaFaults(pod, json string) {
	w.Helper()
	w.cluster.Kubectl(w.T, "-n", w.namespace, "annotate", "--overwrite", "pod", pod, "devcluster.gitrota.dev/faults="+json)
	time.Sleep(time.Second) // the annotation travels to the server
}

// shut makes one replica let nobody in and end whatever is asked on an open session, and waits until it does.
func (w *world) shut(pod string) {
	w.Helper()
	found, err := w.cluster.Client.CoreV1().Pods(w.namespace).Get(w.Context(), pod, metav1.GetOptions{})
	require.NoError(w.T, err)
	w.replicaFaults(pod, `{"refuseConnections":true,"statements":[{"drop":"before"}]}`)
	w.eventually(pod+" lets nobody in", func() bool {
		ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
		defer cancel()
		session, err := mssql.Open(ctx, mssql.Endpoint{Name: pod, Address: found.Status.PodIP + ":1433", TLS: mssql.TLS{Any: true}}, w.live("db"))
		if err == nil {
			session.Close()
		}
		return err != nil
	})
}

// frozen stops an agent, as a node does that has no time for it, while something happens. What it has sent goes on.
func (p *agentProcess) frozen(meanwhile func()) {
	p.w.Helper()
	require.NoError(p.w.T, p.cmd.Process.Signal(syscall.SIGSTOP))
	meanwhile()
	require.NoError(p.w.T, p.cmd.Process.Signal(syscall.SIGCONT))
}

// failover makes a replica the primary and waits until the label says so.
func (w *world) failover(database, pod string) {
	w.Helper()
	w.cluster.Kubectl(w.T, "-n", w.namespace, "annotate", "--overwrite", "mssqlserver", database, "devcluster.gitrota.dev/primary="+pod)
	w.eventually(pod+" is the primary", func() bool { return w.primary(database) == pod })
}

func (w *world) primary(database string) string {
	w.Helper()
	for _, pod := range w.replicas(database) {
		if pod.Labels["kubedb.com/role"] == "primary" {
			return pod.Name
		}
	}
	return ""
}

// scale asks for another number of replicas.
func (w *world) scale(database string, replicas int) {
	w.Helper()
	w.cluster.Kubectl(w.T, "-n", w.namespace, "patch", "mssqlserver", database, "--type=merge", "-p", fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
}

// requireEverywhere checks that the auth Secret opens every replica of a group and what was in it before none, and that
// each was changed once since.
func (w *world) requireEverywhere(database string, before credential.Credential) {
	w.Helper()
	live := w.live(database)
	require.NotEqual(w.T, before.Password, live.Password)
	require.Equal(w.T, before, w.previous(database))
	for _, pod := range w.replicaNames(database) {
		require.Len(w.T, w.changes(pod), 1, "%s was changed once", pod)
		require.Empty(w.T, w.refusals(pod), "%s was asked, no login was tried in vain", pod)
	}
	for _, pod := range w.replicaNames(database) {
		require.True(w.T, w.podOpens(pod, "", live), "the auth Secret opens %s", pod)
		require.False(w.T, w.podOpens(pod, "", before), "the previous credential is refused by %s", pod)
	}
}

// requireUnchanged checks that the auth Secret holds what it held, and that it opens every replica of a group.
func (w *world) requireUnchanged(database string, before credential.Credential) {
	w.Helper()
	require.Equal(w.T, before, w.live(database))
	for _, pod := range w.replicaNames(database) {
		require.True(w.T, w.podOpens(pod, "", before), "the auth Secret opens %s", pod)
	}
}

// groupConditions are those of a successful rotation of a group whose replicas were changed and restarted in this
// order, and listed in that of their names.
func groupConditions(changed, restarted []string, listed ...string) (types []string) {
	types = []string{"RotateAuth", "CredentialStaged", "DatabasePauseSucceeded", "UpdateCredential"}
	for _, replica := range changed {
		types = append(types, "CredentialApplied--"+replica)
	}
	types = append(types, "CredentialPromoted", "UpdatePetSets")
	for _, pod := range listed {
		types = append(types, "GetPod--"+pod)
	}
	for _, pod := range restarted {
		types = append(types, "EvictPod--"+pod, "CheckPodRunning--"+pod)
	}
	return append(types, "RestartNodes", "CredentialVerified", "PreviousCredentialRejected", "DatabaseResumed", "Successful")
}
