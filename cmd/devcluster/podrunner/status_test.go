package podrunner

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
)

func TestPodStatus(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "db-0", UID: "u1"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "mssql"}, {Name: "exporter"}}},
	}
	running := observed{address: "127.9.8.7", startedAt: now, ready: true}
	failed := observed{address: "127.9.8.7", startedAt: now, failure: &startFailure{badConfig, errors.New(`secret "db-auth" not found`)}}

	t.Run("a pod whose server listens is Running and Ready", func(t *testing.T) {
		status := podStatus(pod, running, now)
		require.Equal(t, corev1.PodRunning, status.Phase)
		require.Equal(t, "127.9.8.7", status.PodIP)
		require.Equal(t, corev1.ConditionTrue, conditionOf(status, corev1.PodReady).Status)
		require.True(t, status.ContainerStatuses[0].Ready)
	})
	t.Run("a pod whose server does not listen is Running and not Ready", func(t *testing.T) {
		status := podStatus(pod, observed{address: "127.9.8.7", startedAt: now}, now)
		require.Equal(t, corev1.PodRunning, status.Phase)
		require.Equal(t, "containers with unready status: [mssql]", conditionOf(status, corev1.PodReady).Message)
		require.True(t, status.ContainerStatuses[1].Ready, "the exporter is none of its business")
	})
	t.Run("a server that never started leaves the pod Pending and says why", func(t *testing.T) {
		status := podStatus(pod, failed, now)
		require.Equal(t, corev1.PodPending, status.Phase)
		require.Equal(t, &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: `secret "db-auth" not found`},
			status.ContainerStatuses[0].State.Waiting)
	})
	t.Run("a server that crashed is Waiting, with its restarts counted", func(t *testing.T) {
		status := podStatus(pod, observed{restarts: 3, startedAt: now, failure: &startFailure{crashedSoon, errors.New("weak password")}}, now)
		require.Equal(t, corev1.PodRunning, status.Phase)
		require.Equal(t, "CrashLoopBackOff", status.ContainerStatuses[0].State.Waiting.Reason)
		require.EqualValues(t, 3, status.ContainerStatuses[0].RestartCount)
		require.Equal(t, "weak password", status.ContainerStatuses[0].LastTerminationState.Terminated.Message)
	})
	t.Run("the same observation later is the same status", func(t *testing.T) {
		reported := pod.DeepCopy()
		reported.Status = podStatus(pod, running, now)
		require.True(t, sameStatus(reported.Status, podStatus(reported, running, now.Add(time.Hour))))
	})
	t.Run("a condition that changes gets a new time, and one of somebody else stays", func(t *testing.T) {
		reported := pod.DeepCopy()
		reported.Status = podStatus(pod, failed, now)
		theirs := corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}
		reported.Status.Conditions = append(reported.Status.Conditions, theirs)
		status := podStatus(reported, running, now.Add(time.Minute))
		require.Equal(t, metav1.NewTime(now.Add(time.Minute)), conditionOf(status, corev1.PodReady).LastTransitionTime)
		require.Equal(t, metav1.NewTime(now), conditionOf(status, corev1.PodInitialized).LastTransitionTime)
		require.Contains(t, status.Conditions, theirs)
	})
	t.Run("the faults in force are told, until there are none", func(t *testing.T) {
		faulty := running
		faulty.faults = `{"silent":true}`
		reported := pod.DeepCopy()
		reported.Status = podStatus(pod, faulty, now)
		require.Equal(t, `{"silent":true}`, conditionOf(reported.Status, kubedb.FaultsCondition).Message)
		require.Empty(t, conditionOf(podStatus(reported, running, now), kubedb.FaultsCondition))
	})
}

func conditionOf(status corev1.PodStatus, conditionType corev1.PodConditionType) corev1.PodCondition {
	for _, c := range status.Conditions {
		if c.Type == conditionType {
			return c
		}
	}
	return corev1.PodCondition{}
}
