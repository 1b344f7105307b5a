package provisioner

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
)

// handedDown are the annotations of a database that are for its pods.
var handedDown = []string{kubedb.FaultsAnnotation, kubedb.StopDelayAnnotation}

// syncRoles does what KubeDB's coordinator does in a container of each pod: it says in a label which replica is the
// primary. It also hands a test's annotations down to the pods. Neither ends with a pause, which is the provisioner's.
func (p *Provisioner) syncRoles(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	db, err := p.ours(ctx, key)
	if err != nil || db == nil {
		p.handed.replace(key, nil)
		return 0, err
	}
	pods, err := p.podsOf(db)
	if err != nil {
		return 0, err
	}
	before, handed := p.handed.recall(key), map[types.UID]map[string]string{}
	primary := primaryOf(pods)
	for _, pod := range pods {
		role := kubedb.RoleSecondary
		if pod == primary {
			role = kubedb.RolePrimary
		}
		labels := map[string]any{}
		if pod.Labels[kubedb.RoleLabel] != role {
			labels[kubedb.RoleLabel] = role
		}
		annotations := changed(before[pod.UID], db.Annotations)
		if len(labels) > 0 || len(annotations) > 0 {
			if err := p.patchPod(ctx, pod, labels, annotations); err != nil {
				return 0, err
			}
		}
		handed[pod.UID] = db.Annotations
	}
	p.handed.replace(key, handed)
	return 0, nil
}

// primaryOf keeps the primary that is there as long as it is, and then takes the first replica that is ready, or just
// the first.
func primaryOf(pods []*corev1.Pod) *corev1.Pod {
	var first, firstReady *corev1.Pod
	for _, pod := range pods {
		switch {
		case pod.DeletionTimestamp != nil:
			continue
		case pod.Labels[kubedb.RoleLabel] == kubedb.RolePrimary:
			return pod
		}
		if first == nil {
			first = pod
		}
		if firstReady == nil && isReady(pod) {
			firstReady = pod
		}
	}
	if firstReady != nil {
		return firstReady
	}
	return first
}

// changed is the patch of a pod's annotations by which it gets what has changed on the database since it was handed
// some. What somebody wrote to the pod itself stays until then.
func changed(handed, now map[string]string) map[string]any {
	patch := map[string]any{}
	for _, name := range handedDown {
		switch value := now[name]; {
		case value == handed[name]:
		case value == "":
			patch[name] = nil // which removes it
		default:
			patch[name] = value
		}
	}
	return patch
}

func (p *Provisioner) patchPod(ctx context.Context, pod *corev1.Pod, labels, annotations map[string]any) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID, "labels": labels, "annotations": annotations},
	})
	if err != nil {
		return err
	}
	_, err = p.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "mssql-coordinator"})
	if errors.IsNotFound(err) || errors.IsInvalid(err) { // it is gone, or another is in its place, whose uid is not ours to set
		return nil // an event to come
	}
	return err
}
