package reconcile

import (
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
)

// DefaultTimeout bounds a step of a request that does not say spec.timeout. KubeDB names no default; five minutes is
// what its guide uses.
const DefaultTimeout = 5 * time.Minute

// Request is what somebody asked for, as plain data that survives in the keeper: one MSSQLServerOpsRequest of type
// RotateAuth, or one RotationRollback.
type Request struct {
	Kind      string `json:"kind"` // manifest.KindRequest or manifest.KindRollback
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// ID is the rotation id, a digest of namespace, name and the normalised spec.
	ID string `json:"id"`

	Database   string        `json:"database"`
	SecretRef  string        `json:"secretRef,omitempty"` // the Secret with the new credential; empty: generate one
	Timeout    time.Duration `json:"timeout,omitempty"`   // for each step; 0 means DefaultTimeout
	Always     bool          `json:"always,omitempty"`    // spec.apply: rotate whatever the database's phase is
	MaxRetries int           `json:"maxRetries"`          // how often a failed step is tried again

	// Undo is, of a rollback, the rotation that it undoes; empty: whichever came last.
	Undo string `json:"undo,omitempty"`
	// Server is the SQLServer document that Database names; nil: it names a MSSQLServer of KubeDB. What it said when the
	// request was taken up counts until the request has ended.
	Server *manifest.ServerSpec `json:"server,omitempty"`
	// Consumers are to be restarted after the rotation; nil: none.
	Consumers *manifest.Consumers `json:"consumers,omitempty"`
	// Password is what passwords have to be like; nil: as SQL Server's own policy wants them. What it said when the request
	// was taken up counts until the request has ended.
	Password *credential.Rules `json:"password,omitempty"`

	// Manifest is the request as its author wrote it, without a status: apiVersion, kind, metadata and spec.
	Manifest map[string]any `json:"manifest"`
	Source   Source         `json:"source"`
	// ApprovedBy are the approvals that count, where any were asked for: who, and where each is to be found.
	ApprovedBy []string `json:"approvedBy,omitempty"`
}

// Key names the request: namespace/name.
func (r Request) Key() string { return r.Namespace + "/" + r.Name }

// DatabaseKey names the database: namespace/name. Requests with the same key never run at the same time.
func (r Request) DatabaseKey() string { return r.Namespace + "/" + r.Database }

func (r Request) passwordRules() credential.Rules {
	if r.Password == nil {
		return credential.Rules{}
	}
	return *r.Password
}

func (r Request) stepTimeout() time.Duration {
	if r.Timeout > 0 {
		return r.Timeout
	}
	return DefaultTimeout
}

// Source is where a request came from.
type Source struct {
	Commit string    `json:"commit,omitempty"` // the commit that brought the request
	Author string    `json:"author,omitempty"` // its author, "Name <address>"
	Merge  string    `json:"merge,omitempty"`  // the commit that merged it into the branch; empty: it came by itself
	Merger string    `json:"merger,omitempty"` // the committer of that, "Name <address>"
	Signer string    `json:"signer,omitempty"` // who signed it, "principal key"; empty: that was not asked for
	Time   time.Time `json:"time,omitzero"`    // when it was committed
	Path   string    `json:"path,omitempty"`
	Line   int       `json:"line,omitempty"`
}

// Supplied is a credential that a user supplied for a request, or the classified reason why it cannot be used.
type Supplied struct {
	Credential credential.Credential
	From       string // where it was found, for people: "Git, rotations/demo/user.yaml:1"
	Err        error
}
