// Package kubedb has what a devcluster shares with KubeDB: the kinds MSSQLServer and MSSQLServerOpsRequest, and the
// names and labels by which others find the objects of a database. It is written from KubeDB's public documentation.
package kubedb

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// MSSQLServers is the resource of the databases.
var MSSQLServers = schema.GroupVersionResource{Group: "kubedb.com", Version: "v1alpha2", Resource: "mssqlservers"}

// Labels and values by which the objects of a database are known.
const (
	NameLabel      = "app.kubernetes.io/name"
	InstanceLabel  = "app.kubernetes.io/instance"
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ComponentLabel = "app.kubernetes.io/component"
	RoleLabel      = "kubedb.com/role"

	Name          = "mssqlservers.kubedb.com"
	ManagedBy     = "kubedb.com"
	Component     = "database"
	RolePrimary   = "primary"
	RoleSecondary = "secondary"
	RoleArbiter   = "arbiter"
)

// ActiveFromAnnotation is on an auth Secret: since when its credential is in use, in RFC 3339.
const ActiveFromAnnotation = "kubedb.com/auth-active-from"

// Container is the name of the container that is SQL Server, Port where it listens, DataPath where its files are and
// TLSPath where a certificate is that it was given.
const (
	Container = "mssql"
	Port      = 1433
	DataPath  = "/var/opt/mssql"
	TLSPath   = "/var/opt/mssql/tls"
)

// CoordinatorContainer is that of KubeDB's own program beside each SQL Server of a group. An arbiter has nothing else.
const CoordinatorContainer = "mssql-coordinator"

// Env of a SQL Server container that is KubeDB's: a user's podTemplate cannot set it.
const (
	UsernameEnv = "MSSQL_SA_USERNAME"
	PasswordEnv = "MSSQL_SA_PASSWORD"
	HADREnv     = "MSSQL_ENABLE_HADR"
	AgentEnv    = "MSSQL_AGENT_ENABLED"
)

// SAUser is the login that the auth Secret is about.
const SAUser = "sa"

// Conditions of a database.
const (
	ConditionProvisioningStarted = "ProvisioningStarted"
	ConditionReplicaReady        = "ReplicaReady"
	ConditionPrimaryReady        = "AGPrimaryReplicaReady" // of a group only
	ConditionAcceptingConnection = "AcceptingConnection"
	ConditionReady               = "Ready"
	ConditionProvisioned         = "Provisioned"
	ConditionPaused              = "Paused" // somebody else works on the database: the provisioner keeps its hands off
)

// Phases of a database.
const (
	PhaseProvisioning = "Provisioning"
	PhaseReady        = "Ready"
	PhaseCritical     = "Critical"
	PhaseNotReady     = "NotReady"
)

// Values of a MSSQLServer's fields.
const (
	StorageEphemeral      = "Ephemeral"
	ModeAvailabilityGroup = "AvailabilityGroup"
	ModeDistributedAG     = "DistributedAG"
	DeletionWipeOut       = "WipeOut"
	DeletionDelete        = "Delete"
)

// MSSQLServer has the fields of the kind that devcluster reads. It writes them as patches, which keep the others.
type MSSQLServer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   Spec   `json:"spec"`
	Status Status `json:"status"`
}

// Spec is what the user wants.
type Spec struct {
	Version        string                            `json:"version"`
	Replicas       *int32                            `json:"replicas"`
	StorageType    string                            `json:"storageType"`
	Storage        *corev1.PersistentVolumeClaimSpec `json:"storage"`
	PodTemplate    PodTemplate                       `json:"podTemplate"`
	AuthSecret     *AuthSecret                       `json:"authSecret"`
	TLS            *TLS                              `json:"tls"`
	Topology       *Topology                         `json:"topology"`
	DeletionPolicy string                            `json:"deletionPolicy"`
}

// PodTemplate is what the user adds to the pods.
type PodTemplate struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     corev1.PodSpec    `json:"spec"`
}

// AuthSecret names the Secret with sa's credential.
type AuthSecret struct {
	Kind              string `json:"kind"`
	Name              string `json:"name"`
	ActiveFrom        string `json:"activeFrom"`
	ExternallyManaged bool   `json:"externallyManaged"`
}

// TLS says whether the server uses a certificate of the issuer.
type TLS struct {
	ClientTLS bool `json:"clientTLS"`
}

// Topology says whether the replicas are an availability group.
type Topology struct {
	Mode              string             `json:"mode"`
	AvailabilityGroup *AvailabilityGroup `json:"availabilityGroup"`
}

// AvailabilityGroup says what the replicas share.
type AvailabilityGroup struct {
	Databases []string `json:"databases"`
}

// Status is what the provisioner reports.
type Status struct {
	Phase              string      `json:"phase,omitempty"`
	ObservedGeneration int64       `json:"observedGeneration,omitempty"`
	Conditions         []Condition `json:"conditions,omitempty"`
}

// Condition is one thing that is said of a database.
type Condition struct {
	Type               string                 `json:"type"`
	Status             metav1.ConditionStatus `json:"status"`
	ObservedGeneration int64                  `json:"observedGeneration,omitempty"`
	Severity           string                 `json:"severity,omitempty"`
	LastTransitionTime metav1.Time            `json:"lastTransitionTime"`
	Reason             string                 `json:"reason,omitempty"`
	Message            string                 `json:"message,omitempty"`
}

// Read returns the fields of a MSSQLServer that came from the API server.
func Read(object *unstructured.Unstructured) (*MSSQLServer, error) {
	var db MSSQLServer
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &db); err != nil {
		return nil, fmt.Errorf("reading MSSQLServer %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return &db, nil
}

// IsPaused reports whether somebody else works on the database, so that the provisioner must not.
func (db *MSSQLServer) IsPaused() bool { return db.Status.Is(ConditionPaused) }

// IsUnmanaged reports whether the provisioner is to leave the database alone for good.
func (db *MSSQLServer) IsUnmanaged() bool { return db.Annotations[UnmanagedAnnotation] == "true" }

// Is reports whether the condition is there and true.
func (s *Status) Is(conditionType string) bool {
	return slices.ContainsFunc(s.Conditions, func(c Condition) bool {
		return c.Type == conditionType && c.Status == metav1.ConditionTrue
	})
}

// Set puts a condition in, or changes the one of its type. The time of its last change stays where its status does.
func (s *Status) Set(condition Condition) {
	i := slices.IndexFunc(s.Conditions, func(c Condition) bool { return c.Type == condition.Type })
	if i < 0 {
		s.Conditions = append(s.Conditions, condition)
		return
	}
	if s.Conditions[i].Status == condition.Status {
		condition.LastTransitionTime = s.Conditions[i].LastTransitionTime
	}
	s.Conditions[i] = condition
}

// AuthSecretName is that of the Secret with sa's credential.
func (db *MSSQLServer) AuthSecretName() string {
	if db.Spec.AuthSecret != nil && db.Spec.AuthSecret.Name != "" {
		return db.Spec.AuthSecret.Name
	}
	return db.Name + "-auth"
}

// CertSecretName is that of the Secret with the server's certificate.
func (db *MSSQLServer) CertSecretName() string { return db.Name + "-server-cert" }

// GoverningServiceName is that of the headless Service, which gives each pod a name of its own.
func (db *MSSQLServer) GoverningServiceName() string { return db.Name + "-pods" }

// ClientTLS reports whether the server uses a certificate of the issuer.
func (db *MSSQLServer) ClientTLS() bool { return db.Spec.TLS != nil && db.Spec.TLS.ClientTLS }

// IsGroup reports whether the replicas are an availability group.
func (db *MSSQLServer) IsGroup() bool {
	return db.Spec.Topology != nil && (db.Spec.Topology.Mode == ModeAvailabilityGroup || db.Spec.Topology.Mode == ModeDistributedAG)
}

// Replicas is how many pods there are to be.
func (db *MSSQLServer) Replicas() int32 {
	if db.Spec.Replicas == nil {
		return 1
	}
	return *db.Spec.Replicas
}

// Selector has the labels by which the database's pods are found.
func (db *MSSQLServer) Selector() map[string]string {
	return map[string]string{NameLabel: Name, InstanceLabel: db.Name, ManagedByLabel: ManagedBy}
}

// OwnerReference makes the database the owner of an object, which then goes when the database goes.
func (db *MSSQLServer) OwnerReference() metav1.OwnerReference {
	return *metav1.NewControllerRef(db, MSSQLServers.GroupVersion().WithKind("MSSQLServer"))
}
