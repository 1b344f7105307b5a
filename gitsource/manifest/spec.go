package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

func (r *Request) readSpec(root *yaml.Node) {
	r.Spec = Spec{Apply: ApplyIfReady, MaxRetries: 1}
	_, spec := get(root, "spec")
	if isNull(spec) || spec.Kind != yaml.MappingNode {
		r.problem(root, ReasonMissingField, "spec is missing", "give spec.type and spec.databaseRef.name")
		return
	}
	if !r.readType(spec) {
		return // the fields of other types are none of ours
	}
	r.checkFields(spec, "spec", specFields)
	r.readDatabaseRef(spec)
	r.readAuthentication(spec)
	r.readTimeout(spec)
	if apply, ok := r.str(spec, "apply", "spec.apply"); ok && apply != "" {
		r.Spec.Apply = apply
		if apply != ApplyIfReady && apply != ApplyAlways {
			_, value := get(spec, "apply")
			r.problem(value, ReasonInvalidField, fmt.Sprintf("spec.apply is %q", apply), "use IfReady or Always")
		}
	}
	if _, value := get(spec, "maxRetries"); !isNull(value) {
		retries, err := strconv.ParseInt(value.Value, 10, 32)
		if err != nil || retries < 0 || value.ShortTag() != "!!int" {
			r.problem(value, ReasonInvalidField, "spec.maxRetries is not a whole number from 0 up", "write it without quotes")
			return
		}
		r.Spec.MaxRetries = int(retries)
	}
}

// readType reports whether the request is one that gitrota performs.
func (r *Request) readType(spec *yaml.Node) bool {
	kind, ok := r.str(spec, "type", "spec.type")
	if !ok {
		return false
	}
	r.Spec.Type = kind
	_, value := get(spec, "type")
	switch {
	case kind == "":
		r.problem(spec, ReasonMissingField, "spec.type is missing", "write type: RotateAuth")
	case kind == TypeRotateAuth:
		return true
	case slices.Contains(otherTypes, kind):
		r.problem(value, ReasonUnsupportedType, fmt.Sprintf("spec.type %s is KubeDB's, and not served by gitrota", kind),
			"apply it to the cluster for KubeDB's operator, and keep it out of this folder")
	default:
		r.problem(value, ReasonUnsupportedType, fmt.Sprintf("spec.type %q is unknown", kind), "the type that gitrota serves is RotateAuth")
	}
	return false
}

func (r *Request) readDatabaseRef(spec *yaml.Node) {
	_, ref := get(spec, "databaseRef")
	if isNull(ref) || ref.Kind != yaml.MappingNode {
		r.problem(spec, ReasonMissingField, "spec.databaseRef.name is missing", "name the database to rotate")
		return
	}
	r.checkFields(ref, "spec.databaseRef", databaseFields)
	if r.checkName(ref, "name", "spec.databaseRef.name", isSubdomain, "name the database to rotate") {
		r.Spec.DatabaseRef.Name = text(ref, "name")
	}
}

func (r *Request) readAuthentication(spec *yaml.Node) {
	_, auth := get(spec, "authentication")
	if isNull(auth) {
		return
	}
	if auth.Kind != yaml.MappingNode {
		r.problem(auth, ReasonInvalidField, "spec.authentication is "+kindName(auth)+" and not a mapping", "")
		return
	}
	r.checkFields(auth, "spec.authentication", authFields)
	_, ref := get(auth, "secretRef")
	if isNull(ref) {
		return
	}
	if ref.Kind != yaml.MappingNode {
		r.problem(ref, ReasonInvalidField, "spec.authentication.secretRef is "+kindName(ref)+" and not a mapping", "")
		return
	}
	const where = "spec.authentication.secretRef"
	r.checkFields(ref, where, secretRefFields)
	r.secretRefLine = ref.Line
	group, _ := r.str(ref, "apiGroup", where+".apiGroup")
	kind, _ := r.str(ref, "kind", where+".kind")
	switch {
	case group == "virtual-secrets.dev":
		r.problem(ref, ReasonUnsupportedSecretRef, "virtual secrets (virtual-secrets.dev) are not supported", "use a Secret, encrypted with SOPS")
	case group != "":
		r.problem(ref, ReasonUnsupportedSecretRef, fmt.Sprintf("%s.apiGroup is %q, and a Secret has none", where, group), "leave it out")
	case kind != "" && kind != secretKind:
		r.problem(ref, ReasonUnsupportedSecretRef, fmt.Sprintf("%s.kind is %q", where, kind), "the only kind is Secret")
	}
	if r.checkName(ref, "name", where+".name", isSubdomain, "name the Secret with the new credential") {
		r.secretRefLine = at(document{root: ref}, "name").Line
		r.Spec.Authentication = &Authentication{SecretRef{Kind: secretKind, Name: text(ref, "name")}}
	}
}

func (r *Request) readTimeout(spec *yaml.Node) {
	_, value := get(spec, "timeout")
	if isNull(value) {
		return
	}
	timeout, err := time.ParseDuration(value.Value)
	if err != nil || timeout <= 0 || !isString(value) {
		r.problem(value, ReasonInvalidField, "spec.timeout is not a duration above zero", "write it with its unit, such as 90s, 5m or 1h30m")
		return
	}
	r.Spec.Timeout = &timeout
}
