package manifest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Request is one MSSQLServerOpsRequest.
type Request struct {
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

	secretRefLine int
}

// Spec says what to rotate and how. Fields that are not in the file have their default.
type Spec struct {
	Type           string // RotateAuth
	DatabaseRef    DatabaseRef
	Authentication *Authentication // nil: generate a password
	Timeout        *time.Duration  // of each step; nil: the agent's default
	Apply          string          // IfReady or Always
	MaxRetries     int             // how often a failed step is tried again
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

// The fields that may be there. What the API server adds is tolerated, since people copy from kubectl get -o yaml.
var (
	requestFields  = []string{"apiVersion", "kind", "metadata", "spec", "status"}
	metadataFields = []string{"name", "namespace", "labels", "annotations", "creationTimestamp", "uid", "resourceVersion",
		"generation", "managedFields", "ownerReferences", "finalizers", "selfLink"}
	specFields      = []string{"type", "databaseRef", "authentication", "timeout", "apply", "maxRetries"}
	databaseFields  = []string{"name"}
	authFields      = []string{"secretRef"}
	secretRefFields = []string{"apiGroup", "kind", "name"}
)

// place is a problem without a reason, at the request.
func (r *Request) place() Problem {
	return Problem{Path: r.Path, Line: r.Line, Namespace: r.Namespace, Name: r.Name}
}

// problem notes one at a node.
func (r *Request) problem(at *yaml.Node, reason, message, hint string) {
	p := r.place()
	p.Line, p.Reason, p.Message, p.Hint = at.Line, reason, cut(message), hint
	r.Problems = append(r.Problems, p)
}

// addRequest reads a request. Without a usable name it can have no status, and only its problems are kept.
func (f *File) addRequest(d document) {
	r := &Request{Path: d.path, Line: d.root.Line}
	_, meta := get(d.root, "metadata")
	r.Namespace, r.Name = text(meta, "namespace"), text(meta, "name")
	structure(d.root, r.problem)
	sound := len(r.Problems) == 0
	named := r.readMetadata(d.root, meta)
	if sound {
		r.readSpec(d.root)
		r.checkFields(d.root, "the request", requestFields)
	}
	if !named {
		for _, p := range r.Problems {
			p.Namespace, p.Name = "", ""
			f.problems = append(f.problems, p)
		}
		return
	}
	r.Problems = bounded(sortProblems(r.Problems))
	r.Raw = rawRequest(d.root, meta)
	r.ID = r.rotationID()
	f.requests = append(f.requests, r)
}

// readMetadata checks the metadata and reports whether namespace and name can be used.
func (r *Request) readMetadata(root, meta *yaml.Node) bool {
	if isNull(meta) || meta.Kind != yaml.MappingNode {
		r.problem(root, ReasonMissingField, "metadata is missing", "give metadata.namespace and metadata.name")
		return false
	}
	r.checkFields(meta, "metadata", metadataFields)
	namespaced := r.checkName(meta, "namespace", "metadata.namespace", isLabel,
		"name it: without it, the request would go to whatever namespace somebody has selected")
	named := r.checkName(meta, "name", "metadata.name", isSubdomain, "every request needs a name of its own")
	for _, field := range []string{"labels", "annotations"} {
		_, values := get(meta, field)
		if isNull(values) {
			continue
		}
		if values.Kind != yaml.MappingNode {
			r.problem(values, ReasonInvalidField, "metadata."+field+" is "+kindName(values)+" and not a mapping", "")
			continue
		}
		for i := 1; i < len(values.Content); i += 2 {
			if !isString(values.Content[i]) {
				r.problem(values.Content[i], ReasonInvalidField,
					fmt.Sprintf("a value in metadata.%s is %s and not a string", field, kindName(values.Content[i])), "put it in quotes")
			}
		}
	}
	return namespaced && named
}

// checkName reports whether a field holds a valid Kubernetes name.
func (r *Request) checkName(in *yaml.Node, field, where string, valid func(string) bool, whenMissing string) bool {
	name, ok := r.str(in, field, where)
	if !ok {
		return false
	}
	if name == "" {
		r.problem(in, ReasonMissingField, where+" is missing", whenMissing)
		return false
	}
	if !valid(name) {
		_, value := get(in, field)
		r.problem(value, ReasonInvalidField, fmt.Sprintf("%s %q is not a Kubernetes name", where, cut(name)),
			"use lower case letters, digits and dashes, beginning and ending with a letter or digit")
		return false
	}
	return true
}

// str returns a field's text, "" when the field is not there. It is false, and a problem noted, when the field holds
// anything but a string.
func (r *Request) str(in *yaml.Node, field, where string) (string, bool) {
	_, value := get(in, field)
	if isNull(value) {
		return "", true
	}
	if !isString(value) {
		hint := ""
		if value.Kind == yaml.ScalarNode {
			hint = "put it in quotes"
		}
		r.problem(value, ReasonInvalidField, where+" is "+kindName(value)+" and not a string", hint)
		return "", false
	}
	return value.Value, true
}

// checkFields notes every field that is not known.
func (r *Request) checkFields(in *yaml.Node, where string, known []string) {
	if in.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(in.Content); i += 2 {
		key := in.Content[i]
		if slices.Contains(known, key.Value) || key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			continue
		}
		hint := "the fields here are " + strings.Join(known, ", ")
		if like := nearest(key.Value, known); like != "" {
			hint = fmt.Sprintf("did you mean %q?", like)
		}
		r.problem(key, ReasonUnknownField, fmt.Sprintf("%s has no field %q", where, cut(key.Value)), hint)
	}
}

// rawRequest keeps what a status file repeats of a request.
func rawRequest(root, meta *yaml.Node) map[string]any {
	metadata := map[string]any{}
	for _, field := range []string{"name", "namespace", "labels", "annotations"} {
		if _, value := get(meta, field); !isNull(value) {
			metadata[field] = plain(value)
		}
	}
	raw := map[string]any{"apiVersion": requestVersion, "kind": requestKind, "metadata": metadata}
	if _, spec := get(root, "spec"); !isNull(spec) {
		raw["spec"] = plain(spec)
	}
	return raw
}
