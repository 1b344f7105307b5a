package provisioner

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
)

// handedDown are the annotations of a database that are for its pods.
var handedDown = []string{kubedb.FaultsAnnotation, kubedb.StopDelayAnnotation}

// rolesPeriod is how often a group is asked for its primary, which moves without anything happening to an object.
const rolesPeriod = 500 * time.Millisecond

// syncRoles does what KubeDB's coordinator does in a container of each pod: it says in a label which replica is the
// primary, and moves it where a test asks for that. It also hands a test's annotations down to the pods. None of that
// ends with a pause, which is the provisioner's.
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
	pods = slices.DeleteFunc(pods, isArbiter)
	primary, failover := p.primaryOf(db, pods)
	before, handed := p.handed.recall(key), map[types.UID]map[string]string{}
	for _, pod := range pods {
		role := kubedb.RoleSecondary
		if pod.Name == primary {
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
	if !db.IsGroup() {
		return 0, nil
	}
	return rolesPeriod, failover
}

// primaryOf is the pod that is the primary: the only one of a standalone server, and the one that a group says. Replicas
// that are not wanted any more leave the group once their pods are gone. The error is about a failover that a test asked
// for and that cannot be had yet.
func (p *Provisioner) primaryOf(db *kubedb.MSSQLServer, pods []*corev1.Pod) (string, error) {
	if !db.IsGroup() {
		return db.PodName(0), nil
	}
	var members []string
	for ordinal := range int(db.Replicas()) {
		members = append(members, db.PodName(ordinal))
	}
	for _, pod := range pods {
		members = append(members, pod.Name)
	}
	p.groups.Keep(db.UID, members)
	err := p.groups.Failover(db.UID, db.Annotations[kubedb.PrimaryAnnotation])
	return p.groups.Primary(db.UID), err
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
