package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// The errors that a [Cluster] returns for callers to branch on. All others are [fault.Error]s or unclassified.
var (
	// ErrNotFound: the object does not exist.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the object changed since it was read; read it again and decide again.
	ErrConflict = errors.New("changed by somebody else in the meantime")
	// ErrForbidden: the API server refuses to do it, for the lack of a right or for some other rule of the cluster's. It may
	// be that it has just started, and has not read the roles yet. It is wrapped in a [fault.Error] of class Wait.
	ErrForbidden = errors.New("the Kubernetes API refuses")
	// ErrAPIUnavailable: the Kubernetes API does not answer. Nothing can be decided or recorded until it does.
	ErrAPIUnavailable = errors.New("the Kubernetes API does not answer")
)

// Cluster is what a rotation needs of Kubernetes. Its methods are safe for concurrent use, end with their context, and
// read from the API server, never from a cache: decisions about passwords must not rest on what was true a moment ago.
type Cluster interface {
	// Target reads what a request rotates: the MSSQLServer of KubeDB that it names or, where request.Server is set, what
	// that document describes. ErrNotFound if the MSSQLServer or the workload does not exist.
	Target(ctx context.Context, request Request) (Target, error)
	// Targets lists the MSSQLServers in all namespaces.
	Targets(ctx context.Context) ([]Target, error)
	// Pause makes KubeDB leave a MSSQLServer alone, if it is not paused already; reason says who paused it and why. It fails
	// with ErrConflict if the MSSQLServer is not any more what was read. Resume undoes the pause with that reason and leaves
	// any other. Both are idempotent.
	Pause(ctx context.Context, target Target, reason string) error
	Resume(ctx context.Context, target Target, reason string) error

	// Replicas returns the target's servers, pods that end included, by name. A pod without a SQL Server in it, such as
	// the arbiter of an availability group, is none.
	Replicas(ctx context.Context, target Target) ([]Replica, error)
	// Evict asks for a pod's end, if it is still the one with that UID. It does not wait.
	Evict(ctx context.Context, replica Replica) error

	// Secret reads a Secret by its name. ErrNotFound if there is none.
	Secret(ctx context.Context, namespace, name string) (Secret, error)
	// CreateSecret fails with ErrConflict if the Secret exists, UpdateSecret if it is not any more what was read: its
	// UID and its resource version are conditions of the write. Both return what was written.
	CreateSecret(ctx context.Context, s Secret) (Secret, error)
	UpdateSecret(ctx context.Context, s Secret) (Secret, error)

	// Consumers lists the Deployments, StatefulSets and DaemonSets whose pods mount the Secret or take their environment
	// from it, by kind and name; the target's own workload is none.
	Consumers(ctx context.Context, target Target) ([]Consumer, error)
	// RestartConsumer has the consumer's pods replaced, by an annotation of its pod template that holds the rotation id.
	// It does not wait, and does nothing where the annotation is there already. ErrConflict if the consumer is not any more
	// what was listed.
	RestartConsumer(ctx context.Context, consumer Consumer, rotationID string) error

	// Missing lists what gitrota may not do in the target's namespace and needs to, each as "verb resource". What
	// consumers need counts only if they are to be restarted.
	Missing(ctx context.Context, target Target, consumers bool) ([]string, error)
	// Event tells people who look at the target what happens. It never fails the rotation.
	Event(ctx context.Context, target Target, reason, message string)
}

// Servers opens sessions on SQL Servers. The engine itself takes care that no server is asked too often.
type Servers interface {
	Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (Session, error)
	// OpenWithNewPassword logs in with a password that has expired or must be changed, and changes it by that.
	OpenWithNewPassword(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential, next credential.Password) (Session, error)
}

// Session is one authenticated connection to a SQL Server, as [mssql.Session] documents it.
type Session interface {
	Facts(ctx context.Context, login string) (mssql.Facts, error)
	Accepts(ctx context.Context, login string, passwords ...credential.Password) ([]bool, mssql.Hash, error)
	SetPassword(ctx context.Context, change mssql.Change) error
	Group(ctx context.Context) (mssql.Group, error)
	Sessions(ctx context.Context, login string) (int, error)
	EndOlder(ctx context.Context) (int, error)
	Close()
}

// SQLServers is the [Servers] that speaks to real ones.
type SQLServers struct{}

// Open implements [Servers].
func (SQLServers) Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (Session, error) {
	return opened(mssql.Open(ctx, endpoint, login))
}

// OpenWithNewPassword implements [Servers].
func (SQLServers) OpenWithNewPassword(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential, next credential.Password) (Session, error) {
	return opened(mssql.OpenWithNewPassword(ctx, endpoint, login, next))
}

func opened(session *mssql.Session, err error) (Session, error) {
	if err != nil {
		return nil, err // not a nil *mssql.Session in a non-nil Session
	}
	return session, nil
}

// Target is what a request rotates: a MSSQLServer of KubeDB, or what a SQLServer document describes.
type Target struct {
	Kind                 string // manifest.KindMSSQLServer or manifest.KindServer
	Namespace, Name, UID string // the UID is that of the MSSQLServer; empty for a document
	Version              string // the resource version of the MSSQLServer that was read; empty for a document
	Phase                string // KubeDB's status.phase: Ready, NotReady, Provisioning, ...; empty for a document
	Mode                 string // KubeDB's spec.topology.mode; empty is standalone
	Replicas             int    // how many servers there have to be
	Group                bool   // they are, or may be, an availability group

	AuthSecret  manifest.SecretKeys
	Admin       *manifest.SecretKeys // nil: the login changes its own password
	LoginPair   []string             // two logins that take turns; empty: one login keeps its name
	GracePeriod time.Duration        // how long the other login of a pair stays valid

	// ExternallyManaged: KubeDB was told that somebody else looks after the auth Secret.
	ExternallyManaged bool

	Paused      bool
	PauseReason string // the message of the Paused condition

	// What follows is of a MSSQLServer only. Labels are its own. Created is when it was made, ActiveFrom since when its
	// credential is in use, as KubeDB says; zero: it does not. RotateAfter is spec.authSecret.rotateAfter, unless
	// spec.autoOps.disabled is set; 0: none.
	Labels              map[string]string
	Created, ActiveFrom time.Time
	RotateAfter         time.Duration

	// TLS is how the certificate of each replica is checked, which has a server name of its own.
	TLS mssql.TLS

	// Spec is the document; nil for a MSSQLServer. It is what Replicas finds the servers by.
	Spec *manifest.ServerSpec
}

// KubeDB reports whether the target is KubeDB's, which has to be paused.
func (t Target) KubeDB() bool { return t.Kind == manifest.KindMSSQLServer }

// String names the target for people, as "MSSQLServer demo/orders".
func (t Target) String() string { return t.Kind + " " + t.Namespace + "/" + t.Name }

// Replica is one SQL Server: a pod, or an endpoint outside of the cluster.
type Replica struct {
	Namespace, Name, UID string
	Endpoint             mssql.Endpoint // how to reach it; the address is empty while it has none
	Primary              bool           // as its label says; of an availability group
	Ready                bool           // it runs, is ready, and has not been told to end
	Ending               bool           // it has been told to end
	Pod                  bool           // it can be evicted
	// PasswordFrom holds the names of the Secrets that the pod's environment takes values from.
	PasswordFrom []string
}

// Consumer is a workload whose pods use an auth Secret.
type Consumer struct {
	Kind, Namespace, Name, UID string
	Version                    string // the resource version of what was read
	RotationID                 string // that its pods were replaced for, or are being
	Wanted                     int    // pods that there are to be
	Paused                     bool   // its pods are not replaced while it is
	Settled                    bool   // the controller has seen the last change, and all pods are new and ready
}

// String names the consumer as kubectl does, "deployment/shop".
func (c Consumer) String() string { return strings.ToLower(c.Kind) + "/" + c.Name }

// Secret is a Kubernetes Secret. All its values print as <secret>.
type Secret struct {
	Namespace, Name      string
	UID, ResourceVersion string // of what was read; the conditions of an update
	Type                 string
	Immutable            bool
	Owners               []Owner // the objects that the Secret goes with
	// Writers tells for each key which manager wrote it last, as the API server names its clients ("flux", "kubectl-edit").
	Writers             map[string]string
	Labels, Annotations map[string]string
	Data                map[string]credential.Password
}

// Owner is an object that a Secret belongs to.
type Owner struct {
	Kind, Name string
	UID        string
	Controller bool // it is the one that looks after the Secret
}

// credential reads username and password from the keys that hold them.
func (s Secret) credential(keys manifest.SecretKeys) credential.Credential {
	return credential.Credential{Username: s.Data[keys.UsernameKey].Reveal(), Password: s.Data[keys.PasswordKey]}
}

// basicAuth are the keys of kubernetes.io/basic-auth.
func basicAuth(name string) manifest.SecretKeys {
	return manifest.SecretKeys{Name: name, UsernameKey: "username", PasswordKey: "password"}
}

// version tells one content of the Secret from another; a Secret that is not there has one, too.
func (s Secret) version() string {
	if s.UID == "" {
		return "absent"
	}
	return s.UID + "/" + s.ResourceVersion
}

// writer names who wrote the password last.
func (s Secret) writer(keys manifest.SecretKeys) string {
	switch writer := s.Writers[keys.PasswordKey]; {
	case s.UID == "":
		return "somebody who deleted it"
	case writer != "":
		return writer
	}
	return "somebody unknown"
}

// clone returns a copy whose maps may be changed.
func (s Secret) clone() Secret {
	s.Labels, s.Annotations, s.Data = maps.Clone(s.Labels), maps.Clone(s.Annotations), maps.Clone(s.Data)
	return s
}

// LogValue keeps logs short.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.Namespace + "/" + s.Name) }
