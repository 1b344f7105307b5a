package provisioner

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
)

// The names of volumes in the pods.
const (
	dataVolume = "data"
	tlsVolume  = "server-cert"
)

var statefulSets = appsv1.SchemeGroupVersion.WithResource("statefulsets")

// object is one that a database has, and where it is in the API.
type object struct {
	resource schema.GroupVersionResource
	content  runtime.Object
}

// objects are those that a database has beside its Secrets.
func objects(db *kubedb.MSSQLServer) []object {
	services := schema.GroupVersionResource{Version: "v1", Resource: "services"}
	all := []object{
		{services, service(db, db.GoverningServiceName(), "", corev1.ClusterIPNone)},
		{services, service(db, db.Name, kubedb.RolePrimary, "")},
		{services, service(db, db.Name+"-stats", "", "")},
	}
	if db.IsGroup() {
		all = append(all, object{services, service(db, db.Name+"-secondary", kubedb.RoleSecondary, "")})
	}
	if db.IsGroup() && db.Replicas() > 1 {
		all = append(all, object{policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets"), disruptionBudget(db)})
	}
	all = append(all, object{statefulSets, statefulSet(db)})
	if db.HasArbiter() {
		all = append(all, object{statefulSets, arbiter(db)})
	}
	return all
}

// service leads to the pods of a role, or to all pods, ready or not, where there is no role.
func service(db *kubedb.MSSQLServer, name, role, clusterIP string) *corev1.Service {
	selector := db.Selector()
	if role != "" {
		selector[kubedb.RoleLabel] = role
	}
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: owned(db, name),
		Spec: corev1.ServiceSpec{
			ClusterIP:                clusterIP,
			Selector:                 selector,
			PublishNotReadyAddresses: clusterIP == corev1.ClusterIPNone,
			Ports:                    []corev1.ServicePort{{Name: "primary", Port: kubedb.Port, TargetPort: intstr.FromString("db"), Protocol: corev1.ProtocolTCP}},
		},
	}
}

// disruptionBudget keeps evictions from taking a second replica of a group before the first one is back.
func disruptionBudget(db *kubedb.MSSQLServer) *policyv1.PodDisruptionBudget {
	one := intstr.FromInt32(1)
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: policyv1.SchemeGroupVersion.String(), Kind: "PodDisruptionBudget"},
		ObjectMeta: owned(db, db.Name),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: &one,
			Selector:       &metav1.LabelSelector{MatchLabels: db.Selector()},
		},
	}
}

// statefulSet stands for KubeDB's PetSet, which is like it. The pods are replaced only when somebody deletes or evicts
// them.
func statefulSet(db *kubedb.MSSQLServer) *appsv1.StatefulSet {
	replicas := db.Replicas()
	labels := db.Selector()
	labels[kubedb.ComponentLabel] = kubedb.Component
	maps.Copy(labels, db.Spec.PodTemplate.Metadata.Labels)
	annotations := maps.Clone(db.Spec.PodTemplate.Metadata.Annotations)
	if db.IsGroup() {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[kubedb.GroupAnnotation] = db.Group().Annotation()
	}
	set := &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "StatefulSet"},
		ObjectMeta: owned(db, db.Name),
		Spec: appsv1.StatefulSetSpec{
			Replicas:            &replicas,
			ServiceName:         db.GoverningServiceName(),
			PodManagementPolicy: appsv1.ParallelPodManagement,
			UpdateStrategy:      appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
			Selector:            &metav1.LabelSelector{MatchLabels: db.Selector()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec:       podSpec(db),
			},
			PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
				WhenDeleted: appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
				WhenScaled:  appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
			},
		},
	}
	if db.Spec.DeletionPolicy == kubedb.DeletionWipeOut || db.Spec.DeletionPolicy == kubedb.DeletionDelete {
		set.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
	}
	if db.Spec.StorageType != kubedb.StorageEphemeral {
		set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
			ObjectMeta: metav1.ObjectMeta{Name: dataVolume, Labels: db.Selector()},
			Spec:       storage(db),
		}}
	}
	return set
}

func storage(db *kubedb.MSSQLServer) corev1.PersistentVolumeClaimSpec {
	if db.Spec.Storage != nil {
		return *db.Spec.Storage
	}
	return corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}
}

// podSpec is the user's, with a container that is SQL Server.
func podSpec(db *kubedb.MSSQLServer) corev1.PodSpec {
	spec := *db.Spec.PodTemplate.Spec.DeepCopy()
	i := slices.IndexFunc(spec.Containers, func(c corev1.Container) bool { return c.Name == kubedb.Container })
	if i < 0 {
		spec.Containers = append([]corev1.Container{{Name: kubedb.Container}}, spec.Containers...)
		i = 0
	}
	server := &spec.Containers[i]
	if server.Image == "" {
		server.Image = "mcr.microsoft.com/mssql/server:" + db.Spec.Version
	}
	server.Ports = append(server.Ports, corev1.ContainerPort{Name: "db", ContainerPort: kubedb.Port, Protocol: corev1.ProtocolTCP})
	server.Env = environment(db, server.Env)
	server.VolumeMounts = append(server.VolumeMounts, corev1.VolumeMount{Name: dataVolume, MountPath: kubedb.DataPath})
	if db.Spec.StorageType == kubedb.StorageEphemeral {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: dataVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	if db.ClientTLS() {
		server.VolumeMounts = append(server.VolumeMounts, corev1.VolumeMount{Name: tlsVolume, MountPath: kubedb.TLSPath, ReadOnly: true})
		spec.Volumes = append(spec.Volumes, corev1.Volume{
			Name:         tlsVolume,
			VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: db.CertSecretName()}},
		})
	}
	return spec
}

// environment is the user's, without what is not theirs to set, and the credential from the auth Secret: a pod has the
// password of the time when it was started.
func environment(db *kubedb.MSSQLServer, users []corev1.EnvVar) []corev1.EnvVar {
	fromAuthSecret := func(name, key string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: db.AuthSecretName()}, Key: key,
		}}}
	}
	own := []corev1.EnvVar{
		fromAuthSecret(kubedb.UsernameEnv, corev1.BasicAuthUsernameKey),
		fromAuthSecret(kubedb.PasswordEnv, corev1.BasicAuthPasswordKey),
	}
	if db.IsGroup() {
		own = append(own, corev1.EnvVar{Name: kubedb.HADREnv, Value: "1"}, corev1.EnvVar{Name: kubedb.AgentEnv, Value: "true"})
	}
	reserved := []string{kubedb.UsernameEnv, kubedb.PasswordEnv, kubedb.HADREnv, kubedb.AgentEnv}
	users = slices.DeleteFunc(users, func(v corev1.EnvVar) bool { return slices.Contains(reserved, v.Name) })
	return append(own, users...)
}

// owned is the metadata of an object that goes when its database goes.
func owned(db *kubedb.MSSQLServer, name string) metav1.ObjectMeta {
	labels := db.Selector()
	labels[kubedb.ComponentLabel] = kubedb.Component
	return metav1.ObjectMeta{
		Namespace: db.Namespace, Name: name, Labels: labels,
		OwnerReferences: []metav1.OwnerReference{db.OwnerReference()},
	}
}

// withoutStatus is the object as a server-side apply sends it: what we want, and nothing of what others report.
func (o object) withoutStatus() (map[string]any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o.content)
	if err != nil {
		return nil, fmt.Errorf("writing down a %T: %w", o.content, err)
	}
	delete(content, "status")
	return content, nil
}
