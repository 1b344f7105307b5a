package manifest

import (
	"slices"
	"time"
)

// The kinds of what a request can rotate.
const (
	KindMSSQLServer = "MSSQLServer" // of KubeDB, in the cluster
	KindServer      = "SQLServer"   // of gitrota, in Git
)

// What a SQLServer that does not say otherwise has.
const (
	defaultContainer   = "mssql"
	defaultPort        = 1433
	defaultGracePeriod = 10 * time.Minute
)

// Server is one SQLServer (gitrota.dev/v1alpha1): a SQL Server that KubeDB does not manage, as what rotates its logins
// has to know it. It lives in Git only.
type Server struct {
	Namespace, Name string
	Path            string // of its file
	Line            int    // where it begins
	Labels          map[string]string

	Spec     ServerSpec
	Problems []Problem // why it cannot be used; the Spec is then incomplete

	authSecretLine int
}

func (s *Server) kind() string { return KindServer }

func (s *Server) place() Problem {
	return Problem{Path: s.Path, Line: s.Line, Namespace: s.Namespace, Name: s.Name}
}

func (s *Server) note(p Problem) { s.Problems = append(slices.Clone(s.Problems), p) }

// ServerSpec says where the servers are, which login rotates, and how to trust them. Exactly one of Workload, Selector
// and Endpoints is set. It is plain data, which the keeper of a rotation remembers.
type ServerSpec struct {
	Workload  *Workload         `json:"workload,omitempty"`  // its pods run SQL Server
	Selector  map[string]string `json:"selector,omitempty"`  // labels of pods that run SQL Server
	Endpoints []string          `json:"endpoints,omitempty"` // host:port of servers outside of the cluster, in lower case

	Container string `json:"container,omitempty"` // the container in the pods that is SQL Server; "" with Endpoints only
	Port      int    `json:"port,omitempty"`      // where SQL Server listens in the pods; 0 with Endpoints only

	// AuthSecret holds the login that rotates; clients read it.
	AuthSecret SecretKeys `json:"authSecret"`
	// Admin is the login that changes the one that rotates; nil: the login changes its own password.
	Admin *SecretKeys `json:"admin,omitempty"`
	// LoginPair are two logins that take turns: the idle one is changed, then the auth Secret switches to it. It needs
	// an Admin. Empty: the login of the auth Secret keeps its name.
	LoginPair []string `json:"loginPair,omitempty"`
	// GracePeriod is how long the login that was switched away from stays valid. With LoginPair only; default 10m.
	GracePeriod time.Duration `json:"gracePeriod,omitempty"`
	// ContainedDatabase is the contained database that the login is a user of; empty: it is a login of the server.
	ContainedDatabase string `json:"containedDatabase,omitempty"`

	TLS ServerTLS `json:"tls"`
}

// Workload names a StatefulSet or Deployment in the document's namespace.
type Workload struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// SecretKeys names a Secret in the document's namespace and the keys in it; their defaults are username and password.
type SecretKeys struct {
	Name        string `json:"name"`
	UsernameKey string `json:"usernameKey"`
	PasswordKey string `json:"passwordKey"`
}

// ServerTLS says how the servers' certificates are checked. Exactly one of CASecret, Certificate and
// TrustServerCertificate is set, or none of them: then the system's authorities have to have signed it.
type ServerTLS struct {
	CASecret               *CASecret `json:"caSecret,omitempty"`
	Certificate            string    `json:"certificate,omitempty"` // the very certificate, in PEM
	ServerName             string    `json:"serverName,omitempty"`  // the name in it; default: the host, or the pod's name
	TrustServerCertificate bool      `json:"trustServerCertificate,omitempty"`
}

// CASecret names a Secret with a certificate authority; the key's default is ca.crt.
type CASecret struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}
