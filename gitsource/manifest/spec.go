package manifest

import (
	"fmt"
	"math"
	"slices"

	"go.yaml.in/yaml/v3"
)

// The fields of a MSSQLServerOpsRequest that are served.
var (
	specFields      = []string{"type", "databaseRef", "authentication", "timeout", "apply", "maxRetries"}
	databaseFields  = []string{"name"}
	authFields      = []string{"secretRef"}
	secretRefFields = []string{"apiGroup", "kind", "name"}
)

func (r *Request) readSpec(in *reader, root *yaml.Node) {
	r.Spec = Spec{Apply: ApplyIfReady, MaxRetries: 1}
	_, spec := get(root, "spec")
	if isNull(spec) || spec.Kind != yaml.MappingNode {
		in.problem(root, ReasonMissingField, "spec is missing", "give spec.type and spec.databaseRef.name")
		return
	}
	if !r.readType(in, spec) {
		return // the fields of other types are none of ours
	}
	in.known(spec, "spec", specFields)
	r.readDatabaseRef(in, spec, "name the database to rotate")
	r.readAuthentication(in, spec)
	r.readManner(in, spec)
}

// readManner reads how the request is to be carried out, which is the same for all kinds.
func (r *Request) readManner(in *reader, spec *yaml.Node) {
	r.Spec.Timeout = in.duration(spec, "timeout", "spec.timeout", false)
	if apply, ok := in.str(spec, "apply", "spec.apply"); ok && apply != "" {
		r.Spec.Apply = apply
		if apply != ApplyIfReady && apply != ApplyAlways {
			_, value := get(spec, "apply")
			in.problem(value, ReasonInvalidField, fmt.Sprintf("spec.apply is %q", apply), "use IfReady or Always")
		}
	}
	r.Spec.MaxRetries = in.number(spec, "maxRetries", "spec.maxRetries", 0, math.MaxInt32, 1)
}

// readType reports whether the request is one that gitrota performs.
func (r *Request) readType(in *reader, spec *yaml.Node) bool {
	kind, ok := in.str(spec, "type", "spec.type")
	if !ok {
		return false
	}
	r.Spec.Type = kind
	_, value := get(spec, "type")
	switch {
	case kind == "":
		in.problem(spec, ReasonMissingField, "spec.type is missing", "write type: RotateAuth")
	case kind == TypeRotateAuth:
		return true
	case slices.Contains(otherTypes, kind):
		in.problem(value, ReasonUnsupportedType, fmt.Sprintf("spec.type %s is KubeDB's, and not served by gitrota", kind),
			"apply it to the cluster for KubeDB's operator, and keep it out of this folder")
	default:
		in.problem(value, ReasonUnsupportedType, fmt.Sprintf("spec.type %q is unknown", kind), "the type that gitrota serves is RotateAuth")
	}
	return false
}

func (r *Request) readDatabaseRef(in *reader, spec *yaml.Node, whenMissing string) {
	_, ref := get(spec, "databaseRef")
	if isNull(ref) || ref.Kind != yaml.MappingNode {
		in.problem(spec, ReasonMissingField, "spec.databaseRef.name is missing", whenMissing)
		return
	}
	in.known(ref, "spec.databaseRef", databaseFields)
	r.Spec.DatabaseRef.Name = in.name(ref, "name", "spec.databaseRef.name", isSubdomain, whenMissing)
	r.databaseLine = at(document{root: ref}, "name").Line
}

func (r *Request) readAuthentication(in *reader, spec *yaml.Node) {
	auth := in.mapping(spec, "authentication", "spec.authentication", authFields)
	const where = "spec.authentication.secretRef"
	ref := in.mapping(auth, "secretRef", where, secretRefFields)
	if ref == nil {
		return
	}
	group, _ := in.str(ref, "apiGroup", where+".apiGroup")
	kind, _ := in.str(ref, "kind", where+".kind")
	switch {
	case group == "virtual-secrets.dev":
		in.problem(ref, ReasonUnsupportedSecretRef, "virtual secrets (virtual-secrets.dev) are not supported", "use a Secret, encrypted with SOPS")
	case group != "":
		in.problem(ref, ReasonUnsupportedSecretRef, fmt.Sprintf("%s.apiGroup is %q, and a Secret has none", where, group), "leave it out")
	case kind != "" && kind != secretKind:
		in.problem(ref, ReasonUnsupportedSecretRef, fmt.Sprintf("%s.kind is %q", where, kind), "the only kind is Secret")
	}
	if name := in.name(ref, "name", where+".name", isSubdomain, "name the Secret with the new credential"); name != "" {
		r.secretRefLine = at(document{root: ref}, "name").Line
		r.Spec.Authentication = &Authentication{SecretRef{Kind: secretKind, Name: name}}
	}
}
