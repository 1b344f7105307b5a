package reconcile

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// The errors that a [Cluster] returns for callers to branch on. All others are [fault.Error]s or unclassified.
var (
	// ErrNotFound: the object does not exist.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the object changed since it was read; read it again and decide again.
	ErrConflict = errors.New("changed by somebody else in the meantime")
	// ErrAPIUnavailable: the Kubernetes API does not answer. Nothing can be decided or recorded until it does.
	ErrAPIUnavailable = errors.New("the Kubernetes API does not answer")
)

// Cluster is what a rotation needs of Kubernetes. Its methods are safe for concurrent use, end with their context, and
// read from the API server, never from a cache: decisions about passwords must not rest on what was true a moment ago.
type Cluster interface {
	// Database reads a MSSQLServer. ErrNotFound if there is none.
	Database(ctx context.Context, namespace, name string) (Database, error)
	// PausedDatabases lists the databases that are paused, by whomever, in all namespaces.
	PausedDatabases(ctx context.Context) ([]Database, error)
	// Pause makes KubeDB leave the database alone, if it is not paused already; reason says who paused it and why.
	// Resume undoes the pause with that reason and leaves any other. Both are idempotent.
	Pause(ctx context.Context, db Database, reason string) error
	Resume(ctx context.Context, db Database, reason string) error

	// Pods returns the database's pods that run a SQL Server, those that end included, in the order of the replicas.
	Pods(ctx context.Context, db Database) ([]Pod, error)
	// Evict asks for a pod's end, if it is still the one with that UID. It does not wait.
	Evict(ctx context.Context, pod Pod) error

	// Secret reads a Secret by its name. ErrNotFound if there is none.
	Secret(ctx context.Context, namespace, name string) (Secret, error)
	// CreateSecret fails with ErrConflict if the Secret exists, UpdateSecret if it is not any more what was read: its
	// UID and its resource version are conditions of the write. Both return what was written.
	CreateSecret(ctx context.Context, s Secret) (Secret, error)
	UpdateSecret(ctx context.Context, s Secret) (Secret, error)

	// Missing lists what gitrota may not do in the namespace and needs to, each as "verb resource".
	Missing(ctx context.Context, namespace string) ([]string, error)
	// Event tells people who look at the database what happens. It never fails the rotation.
	Event(ctx context.Context, db Database, reason, message string)
}

// Servers opens sessions on SQL Servers. The engine itself takes care that no server is asked too often.
type Servers interface {
	Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (Session, error)
}

// Session is one authenticated connection to a SQL Server, as [mssql.Session] documents it.
type Session interface {
	Accepts(ctx context.Context, login string, passwords ...credential.Password) ([]bool, error)
	SetPassword(ctx context.Context, login string, password credential.Password) error
	Close()
}

// SQLServers is the [Servers] that speaks to real ones.
type SQLServers struct{}

// Open implements [Servers].
func (SQLServers) Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (Session, error) {
	session, err := mssql.Open(ctx, endpoint, login)
	if err != nil {
		return nil, err // not a nil *mssql.Session in a non-nil Session
	}
	return session, nil
}

// Database is a KubeDB MSSQLServer.
type Database struct {
	Namespace, Name, UID string
	Phase                string // KubeDB's status.phase: Ready, NotReady, Provisioning, ...
	Mode                 string // spec.topology.mode; empty is standalone
	Replicas             int
	AuthSecret           string

	Paused      bool
	PauseReason string // the message of the Paused condition

	// RootCAs signed the servers' certificates; nil where the servers sign their own (spec.tls.clientTLS false).
	RootCAs *x509.CertPool
}

// Replica is the name of a replica's pod, as StatefulSets and PetSets count them.
func (d Database) Replica(ordinal int) string { return fmt.Sprintf("%s-%d", d.Name, ordinal) }

// Pod is a pod with a SQL Server in it.
type Pod struct {
	Namespace, Name, UID string
	Address              string // host:port of its SQL Server; empty while it has no address
	ServerName           string // the name that its certificate holds
	Ready                bool   // it runs, is ready, and has not been told to end
	Ending               bool   // it has been told to end
	// PasswordFrom holds the names of the Secrets that the pod's environment takes values from.
	PasswordFrom []string
}

// Secret is a Kubernetes Secret. All its values print as <secret>.
type Secret struct {
	Namespace, Name      string
	UID, ResourceVersion string // of what was read; the conditions of an update
	Type                 string
	Immutable            bool
	Labels, Annotations  map[string]string
	Data                 map[string]credential.Password
}

// credential reads username and password as kubernetes.io/basic-auth names them.
func (s Secret) credential() credential.Credential {
	return credential.Credential{Username: s.Data["username"].Reveal(), Password: s.Data["password"]}
}

// clone returns a copy whose maps may be changed.
func (s Secret) clone() Secret {
	s.Labels, s.Annotations, s.Data = maps.Clone(s.Labels), maps.Clone(s.Annotations), maps.Clone(s.Data)
	return s
}

// LogValue keeps logs short.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.Namespace + "/" + s.Name) }
