package provisioner

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
)

// arbiter is the workload of the pod that votes and stores nothing. Its labels are those of the replicas, but for the
// role, as it is with KubeDB: who wants SQL Servers has to look twice.
func arbiter(db *kubedb.MSSQLServer) *appsv1.StatefulSet {
	one := int32(1)
	selector := db.Selector()
	selector[kubedb.RoleLabel] = kubedb.RoleArbiter
	labels := db.Selector()
	labels[kubedb.RoleLabel] = kubedb.RoleArbiter
	labels[kubedb.ComponentLabel] = kubedb.Component
	return &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "StatefulSet"},
		ObjectMeta: owned(db, db.ArbiterName()),
		Spec: appsv1.StatefulSetSpec{
			Replicas:       &one,
			ServiceName:    db.GoverningServiceName(),
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
			Selector:       &metav1.LabelSelector{MatchLabels: selector},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: kubedb.CoordinatorContainer, Image: "mssql-coordinator:latest",
				}}},
			},
		},
	}
}

// removeArbiter removes the one that a group had while its replicas were even in number.
func (p *Provisioner) removeArbiter(ctx context.Context, db *kubedb.MSSQLServer) error {
	err := p.client.AppsV1().StatefulSets(db.Namespace).Delete(ctx, db.ArbiterName(), metav1.DeleteOptions{})
	if errors.IsNotFound(err) {
		return nil
	}
	return err
}

func isArbiter(pod *corev1.Pod) bool { return pod.Labels[kubedb.RoleLabel] == kubedb.RoleArbiter }
