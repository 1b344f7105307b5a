package podrunner

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
)

// observed is what the pod runner sees of a pod. The zero value is a pod that runs, and whose SQL Server does not listen.
type observed struct {
	address   string
	startedAt time.Time     // of the containers, or of the one that failed last
	failure   *startFailure // why SQL Server does not run; nil when it does
	restarts  int32         // of SQL Server
	ready     bool          // SQL Server listens; true for a pod that has none
	faults    string        // the annotation that SQL Server obeys
}

// podStatus is what a kubelet would report of the pod. What has not changed since the last report is as it was there,
// so that the same observation gives the same status.
func podStatus(pod *corev1.Pod, seen observed, now time.Time) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	status.Phase = corev1.PodRunning
	if seen.failure != nil && seen.restarts == 0 {
		status.Phase = corev1.PodPending
	}
	status.HostIP, status.HostIPs = nodeAddress, []corev1.HostIP{{IP: nodeAddress}}
	status.PodIP, status.PodIPs = seen.address, []corev1.PodIP{{IP: seen.address}}
	if status.StartTime == nil {
		status.StartTime = &metav1.Time{Time: now}
	}
	status.InitContainerStatuses = nil
	for _, container := range pod.Spec.InitContainers {
		status.InitContainerStatuses = append(status.InitContainerStatuses, initStatus(pod, container, status.StartTime.Time))
	}
	status.ContainerStatuses = nil
	var unready []string
	for _, container := range pod.Spec.Containers {
		one := containerStatus(pod, container, seen)
		status.ContainerStatuses = append(status.ContainerStatuses, one)
		if !one.Ready {
			unready = append(unready, one.Name)
		}
	}
	reason, message := "", ""
	if len(unready) > 0 {
		reason, message = "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
	}
	gates := reason == "" && !slices.ContainsFunc(pod.Spec.ReadinessGates, func(gate corev1.PodReadinessGate) bool {
		return !slices.ContainsFunc(status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue
		})
	})
	for _, c := range []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
		{Type: corev1.PodReady, Status: truth(gates), Reason: reason, Message: message},
		{Type: corev1.ContainersReady, Status: truth(reason == ""), Reason: reason, Message: message},
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
	} {
		setCondition(&status, c, now)
	}
	if seen.faults != "" {
		setCondition(&status, corev1.PodCondition{Type: kubedb.FaultsCondition, Status: corev1.ConditionTrue, Message: seen.faults}, now)
	} else {
		status.Conditions = slices.DeleteFunc(status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kubedb.FaultsCondition })
	}
	return status
}

// containerStatus is Running for every container but a SQL Server that could not be started.
func containerStatus(pod *corev1.Pod, container corev1.Container, seen observed) corev1.ContainerStatus {
	status := corev1.ContainerStatus{
		Name:        container.Name,
		Image:       container.Image,
		ImageID:     "devcluster://" + container.Image,
		ContainerID: fmt.Sprintf("devcluster://%s-%s-%d", pod.UID, container.Name, seen.restarts),
		Ready:       true,
		Started:     new(bool),
		State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(seen.startedAt)}},
	}
	*status.Started = true
	if container.Name != kubedb.Container {
		return status
	}
	status.RestartCount = seen.restarts
	status.Ready = seen.ready
	if seen.failure == nil {
		return status
	}
	status.Ready, *status.Started = false, false
	status.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: seen.failure.reason, Message: seen.failure.Error()}}
	if seen.restarts == 0 {
		status.ContainerID = ""
		return status
	}
	status.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: 1, Reason: "Error", Message: seen.failure.Error(), FinishedAt: metav1.NewTime(seen.startedAt),
	}}
	return status
}

// initStatus says that the container did what it had to: nothing here runs them.
func initStatus(pod *corev1.Pod, container corev1.Container, at time.Time) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name:        container.Name,
		Image:       container.Image,
		ImageID:     "devcluster://" + container.Image,
		ContainerID: fmt.Sprintf("devcluster://%s-%s", pod.UID, container.Name),
		Ready:       true,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			Reason: "Completed", StartedAt: metav1.NewTime(at), FinishedAt: metav1.NewTime(at),
		}},
	}
}

// setCondition puts a condition in, with the time of its last change.
func setCondition(status *corev1.PodStatus, condition corev1.PodCondition, now time.Time) {
	condition.LastTransitionTime = metav1.NewTime(now)
	i := slices.IndexFunc(status.Conditions, func(c corev1.PodCondition) bool { return c.Type == condition.Type })
	if i < 0 {
		status.Conditions = append(status.Conditions, condition)
		return
	}
	if status.Conditions[i].Status == condition.Status {
		condition.LastTransitionTime = status.Conditions[i].LastTransitionTime
	}
	condition.ObservedGeneration = status.Conditions[i].ObservedGeneration
	status.Conditions[i] = condition
}

// sameStatus compares as the API server would: it keeps times to the second.
func sameStatus(a, b corev1.PodStatus) bool { return equality.Semantic.DeepEqual(a, b) }

func truth(is bool) corev1.ConditionStatus {
	if is {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}
