package podrunner

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/gitrota/gitrota/cmd/devcluster/work"
)

// Volumes binds every PersistentVolumeClaim to a folder, <root>/<namespace>/<claim>, and removes the folder when the
// claim is deleted.
type Volumes struct {
	client  kubernetes.Interface
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	root    string
	queue   *work.Queue
}

// NewVolumes returns Volumes that are at work once the informers and Run are.
func NewVolumes(client kubernetes.Interface, factory informers.SharedInformerFactory, root string, log *slog.Logger) (*Volumes, error) {
	claims, volumes := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	v := &Volumes{client: client, claims: claims.Lister(), volumes: volumes.Lister(), root: root}
	v.queue = work.NewQueue("bind a volume", v.sync, log)
	// A volume whose claim was deleted while nobody looked is found by its own coming.
	if err := v.queue.Watch(volumes.Informer(), claimOf); err != nil {
		return nil, err
	}
	return v, v.queue.Watch(claims.Informer(), nil)
}

// Run works until ctx ends.
func (v *Volumes) Run(ctx context.Context) { v.queue.Run(ctx, 2) }

func claimOf(object metav1.Object) []types.NamespacedName {
	volume, ok := object.(*corev1.PersistentVolume)
	if !ok || volume.Spec.ClaimRef == nil {
		return nil
	}
	return []types.NamespacedName{{Namespace: volume.Spec.ClaimRef.Namespace, Name: volume.Spec.ClaimRef.Name}}
}

func (v *Volumes) sync(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	claim, err := v.claims.PersistentVolumeClaims(key.Namespace).Get(key.Name)
	if errors.IsNotFound(err) {
		claim, err = nil, nil
	}
	if err != nil {
		return 0, err
	}
	if err := v.removeStale(ctx, key, claim); err != nil {
		return 0, err
	}
	if claim == nil || claim.DeletionTimestamp != nil || isBound(claim) {
		return 0, nil
	}
	return 0, v.bind(ctx, claim)
}

// removeStale removes the volumes that were bound to an earlier claim of the same name, with what is in the folder.
func (v *Volumes) removeStale(ctx context.Context, key types.NamespacedName, claim *corev1.PersistentVolumeClaim) error {
	volumes, err := v.volumes.List(labels.Everything())
	if err != nil {
		return err
	}
	for _, volume := range volumes {
		ref := volume.Spec.ClaimRef
		if ref == nil || ref.Namespace != key.Namespace || ref.Name != key.Name || (claim != nil && ref.UID == claim.UID) {
			continue
		}
		if err := os.RemoveAll(v.folder(key)); err != nil {
			return err
		}
		if err := v.release(ctx, volume.DeepCopy()); err != nil && !errors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// release deletes a volume. One that is still marked as bound would be protected from that.
func (v *Volumes) release(ctx context.Context, volume *corev1.PersistentVolume) error {
	volume.Status.Phase = corev1.VolumeReleased
	if _, err := v.client.CoreV1().PersistentVolumes().UpdateStatus(ctx, volume, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return v.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
}

// bind makes the folder, a volume that stands for it, and marks both as bound to each other.
func (v *Volumes) bind(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	folder := v.folder(types.NamespacedName{Namespace: claim.Namespace, Name: claim.Name})
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	capacity := claim.Spec.Resources.Requests
	volume, err := v.client.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volumeName(claim), Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisionerName}},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      capacity,
			StorageClassName:              className(claim),
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}, metav1.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		volume, err = v.client.CoreV1().PersistentVolumes().Get(ctx, volumeName(claim), metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	if volume.Status.Phase != corev1.VolumeBound {
		volume.Status.Phase = corev1.VolumeBound
		if _, err := v.client.CoreV1().PersistentVolumes().UpdateStatus(ctx, volume, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	claim = claim.DeepCopy()
	if claim.Spec.VolumeName == "" {
		claim.Spec.VolumeName = volume.Name
		if claim, err = v.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, claim, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	claim.Status.Phase = corev1.ClaimBound
	claim.Status.AccessModes = claim.Spec.AccessModes
	claim.Status.Capacity = capacity
	_, err = v.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	return err
}

func (v *Volumes) folder(claim types.NamespacedName) string {
	return filepath.Join(v.root, claim.Namespace, claim.Name)
}

func volumeName(claim *corev1.PersistentVolumeClaim) string { return "pvc-" + string(claim.UID) }

func isBound(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Spec.VolumeName == volumeName(claim) && claim.Status.Phase == corev1.ClaimBound
}

func className(claim *corev1.PersistentVolumeClaim) string {
	if claim.Spec.StorageClassName == nil {
		return storageClassName
	}
	return *claim.Spec.StorageClassName
}
