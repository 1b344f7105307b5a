package manifest

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// The kinds of requests. They share one space of names in a namespace, for their statuses do.
const (
	KindRequest  = "MSSQLServerOpsRequest" // of KubeDB: set another password
	KindRollback = "RotationRollback"      // of gitrota: go back to the password before
)

// Request is one MSSQLServerOpsRequest or RotationRollback.
type Request struct {
	Kind            string // KindRequest or KindRollback
	Namespace, Name string
	Path            string // of its file
	Line            int    // where it begins

	// ID is the rotation id: 32 hexadecimal digits that stand for namespace, name and what the spec means. Comments,
	// order, labels, annotations, the file's place and defaults that are written out do not change it.
	ID string

	Spec Spec

	// Raw is the request as it was written, for printing: apiVersion, kind, metadata (name, namespace, labels and
	// annotations only) and spec, as maps, slices, strings, numbers and booleans.
	Raw map[string]any

	// Problems say why the request cannot be run. The Spec is then incomplete.
	Problems []Problem

	databaseLine, secretRefLine int // of the names that they refer to
}

// Spec says what to rotate and how. Fields that are not in the file have their default.
type Spec struct {
	Type           string // RotateAuth; "" for a rollback, which has no type
	DatabaseRef    DatabaseRef
	Authentication *Authentication // nil: generate a password
	Timeout        *time.Duration  // of each step; nil: the agent's default
	Apply          string          // IfReady or Always
	MaxRetries     int             // how often a failed step is tried again
	RotationID     string          // of a rollback: the rotation that it undoes; "": whichever came last
}

// DatabaseRef names the database, in the request's namespace.
type DatabaseRef struct{ Name string }

// Authentication says where the new credential is.
type Authentication struct{ SecretRef SecretRef }

// SecretRef names a Secret in the request's namespace. APIGroup is always "", and Kind always Secret.
type SecretRef struct{ APIGroup, Kind, Name string }

// The values of spec.type and spec.apply that are served.
const (
	TypeRotateAuth = "RotateAuth"
	ApplyIfReady   = "IfReady"
	ApplyAlways    = "Always"
)

// otherTypes are the types of KubeDB that only its own operator performs.
var otherTypes = []string{
	"UpdateVersion", "HorizontalScaling", "VerticalScaling", "VolumeExpansion", "Restart", "Reconfigure",
	"ReconfigureTLS", "StorageMigration",
}

// requestFields may be there. A status comes along when somebody copies a status file.
var requestFields = []string{"apiVersion", "kind", "metadata", "spec", "status"}

var requestNaming = naming{
	metadata:  "give metadata.namespace and metadata.name",
	namespace: "name it: without it, the request would go to whatever namespace somebody has selected",
	name:      "every request needs a name of its own",
}

func (r *Request) kind() string { return r.Kind }

// place is a problem without a reason, at the request.
func (r *Request) place() Problem {
	return Problem{Path: r.Path, Line: r.Line, Namespace: r.Namespace, Name: r.Name}
}

// note adds a problem and leaves those alone that a copy shares.
func (r *Request) note(p Problem) { r.Problems = append(slices.Clone(r.Problems), p) }

// addRequest reads a request. Without a usable name it can have no status, and only its problems are kept.
func (f *File) addRequest(d document, kind string) {
	r := &Request{Kind: kind, Path: d.path, Line: d.root.Line}
	in, named := f.read(d, requestNaming, func(in *reader) {
		in.known(d.root, "the request", requestFields)
		if kind == KindRollback {
			r.readRollback(in, d.root)
		} else {
			r.readSpec(in, d.root)
		}
	})
	if !named {
		return
	}
	r.Namespace, r.Name, r.Problems = in.own.Namespace, in.own.Name, in.problems
	r.Raw = rawRequest(d.root)
	r.ID = r.rotationID()
	f.requests = append(f.requests, r)
}

// rawRequest keeps what a status file repeats of a request.
func rawRequest(root *yaml.Node) map[string]any {
	_, meta := get(root, "metadata")
	metadata := map[string]any{}
	for _, field := range []string{"name", "namespace", "labels", "annotations"} {
		if _, value := get(meta, field); !isNull(value) {
			metadata[field] = plain(value)
		}
	}
	raw := map[string]any{"apiVersion": text(root, "apiVersion"), "kind": text(root, "kind"), "metadata": metadata}
	if _, spec := get(root, "spec"); !isNull(spec) {
		raw["spec"] = plain(spec)
	}
	return raw
}
