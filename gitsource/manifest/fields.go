package manifest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// reader reads the fields of one document and notes what is wrong with them.
type reader struct {
	own      Problem // the place and the name of the document, without a reason
	problems []Problem
}

// naming says what to do about metadata that is missing. An empty namespace means that none is needed.
type naming struct{ metadata, namespace, name string }

// metadataFields may be there. What the API server adds is tolerated, since people copy from kubectl get -o yaml.
var metadataFields = []string{"name", "namespace", "labels", "annotations", "creationTimestamp", "uid", "resourceVersion",
	"generation", "managedFields", "ownerReferences", "finalizers", "selfLink"}

// read reads a document: its metadata always, and its body where no key is there twice or something else makes it
// unclear what the author meant. It reports whether the document has a usable name. Where it has none, nobody can ask
// for the document, and its problems are the file's.
func (f *File) read(d document, wanted naming, body func(*reader)) (*reader, bool) {
	in := &reader{own: Problem{Path: d.path, Line: d.root.Line}}
	_, meta := get(d.root, "metadata")
	in.own.Namespace, in.own.Name = text(meta, "namespace"), text(meta, "name")
	structure(d.root, in.problem)
	sound := len(in.problems) == 0
	named := in.metadata(d.root, meta, wanted)
	if sound {
		body(in)
	}
	if !named {
		for _, p := range in.problems {
			p.Namespace, p.Name = "", ""
			f.problems = append(f.problems, p)
		}
		return in, false
	}
	in.problems = bounded(sortProblems(in.problems))
	return in, true
}

// problem notes one at a node.
func (in *reader) problem(at *yaml.Node, reason, message, hint string) {
	p := in.own
	p.Line, p.Reason, p.Message, p.Hint = at.Line, reason, cut(message), hint
	in.problems = append(in.problems, p)
}

// metadata checks the metadata and reports whether namespace and name can be used.
func (in *reader) metadata(root, meta *yaml.Node, wanted naming) bool {
	if isNull(meta) || meta.Kind != yaml.MappingNode {
		in.problem(root, ReasonMissingField, "metadata is missing", wanted.metadata)
		return false
	}
	in.known(meta, "metadata", metadataFields)
	namespaced := true
	if _, namespace := get(meta, "namespace"); wanted.namespace != "" || !isNull(namespace) {
		namespaced = in.name(meta, "namespace", "metadata.namespace", isLabel, wanted.namespace) != ""
	}
	named := in.name(meta, "name", "metadata.name", isSubdomain, wanted.name) != ""
	for _, field := range []string{"labels", "annotations"} {
		_, values := get(meta, field)
		if isNull(values) {
			continue
		}
		if values.Kind != yaml.MappingNode {
			in.problem(values, ReasonInvalidField, "metadata."+field+" is "+kindName(values)+" and not a mapping", "")
			continue
		}
		for i := 1; i < len(values.Content); i += 2 {
			if !isString(values.Content[i]) {
				in.problem(values.Content[i], ReasonInvalidField,
					fmt.Sprintf("a value in metadata.%s is %s and not a string", field, kindName(values.Content[i])), "put it in quotes")
			}
		}
	}
	return namespaced && named
}

// labelsOf returns the labels in a document's metadata, nil if there are none. What is wrong with them is noted elsewhere.
func labelsOf(root *yaml.Node) map[string]string {
	_, meta := get(root, "metadata")
	_, labels := get(meta, "labels")
	if isNull(labels) || labels.Kind != yaml.MappingNode {
		return nil
	}
	found := map[string]string{}
	for i := 0; i+1 < len(labels.Content); i += 2 {
		found[labels.Content[i].Value] = labels.Content[i+1].Value
	}
	return found
}

// known notes every field that is not known.
func (in *reader) known(mapping *yaml.Node, where string, known []string) {
	if mapping.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key := mapping.Content[i]
		if slices.Contains(known, key.Value) || key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			continue
		}
		hint := "the fields here are " + strings.Join(known, ", ")
		if like := nearest(key.Value, known); like != "" {
			hint = fmt.Sprintf("did you mean %q?", like)
		}
		in.problem(key, ReasonUnknownField, fmt.Sprintf("%s has no field %q", where, cut(key.Value)), hint)
	}
}

// name returns a Kubernetes name, "" where the field does not hold a valid one.
func (in *reader) name(mapping *yaml.Node, field, where string, valid func(string) bool, whenMissing string) string {
	name, ok := in.str(mapping, field, where)
	switch {
	case !ok:
		return ""
	case name == "":
		in.problem(mapping, ReasonMissingField, where+" is missing", whenMissing)
		return ""
	case !valid(name):
		_, value := get(mapping, field)
		in.problem(value, ReasonInvalidField, fmt.Sprintf("%s %q is not a Kubernetes name", where, cut(name)),
			"use lower case letters, digits and dashes, beginning and ending with a letter or digit")
		return ""
	}
	return name
}

// str returns a field's text, "" when the field is not there. It is false, and a problem noted, when the field holds
// anything but a string.
func (in *reader) str(mapping *yaml.Node, field, where string) (string, bool) {
	_, value := get(mapping, field)
	if isNull(value) {
		return "", true
	}
	return in.scalar(value, where)
}

// scalar returns the text of a value that has to be a string.
func (in *reader) scalar(value *yaml.Node, where string) (string, bool) {
	if isString(value) {
		return value.Value, true
	}
	hint := ""
	if value.Kind == yaml.ScalarNode {
		hint = "put it in quotes"
	}
	in.problem(value, ReasonInvalidField, where+" is "+kindName(value)+" and not a string", hint)
	return "", false
}

// mapping returns a field's mapping, whose fields it checks, and nil where there is none. With nil, any may be there.
func (in *reader) mapping(mapping *yaml.Node, field, where string, known []string) *yaml.Node {
	_, value := get(mapping, field)
	if isNull(value) {
		return nil
	}
	if value.Kind != yaml.MappingNode {
		in.problem(value, ReasonInvalidField, where+" is "+kindName(value)+" and not a mapping", "")
		return nil
	}
	if known != nil {
		in.known(value, where, known)
	}
	return value
}

// isMapping reports whether an item of a list is a mapping, whose fields it checks.
func (in *reader) isMapping(item *yaml.Node, where string, known []string, likeThis string) bool {
	if item.Kind != yaml.MappingNode {
		in.problem(item, ReasonInvalidField, where+" is "+kindName(item)+" and not a mapping", likeThis)
		return false
	}
	in.known(item, where, known)
	return true
}

// list returns the items of a field, nil where it is not there or holds none.
func (in *reader) list(mapping *yaml.Node, field, where string) []*yaml.Node {
	_, value := get(mapping, field)
	switch {
	case isNull(value):
		return nil
	case value.Kind != yaml.SequenceNode:
		in.problem(value, ReasonInvalidField, where+" is "+kindName(value)+" and not a list", "")
		return nil
	case len(value.Content) == 0:
		in.problem(value, ReasonInvalidField, where+" is empty", "leave it out, or put something into it")
	}
	return value.Content
}

// boolean returns a field that is true or false, and whether it is there.
func (in *reader) boolean(mapping *yaml.Node, field, where string) (value, given bool) {
	_, node := get(mapping, field)
	if isNull(node) {
		return false, false
	}
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!bool" {
		in.problem(node, ReasonInvalidField, where+" is "+kindName(node)+" and not a boolean", "write true or false, without quotes")
		return false, true
	}
	return strings.EqualFold(node.Value, "true"), true
}

// number returns a whole number within bounds, or the default where the field is not there or wrong.
func (in *reader) number(mapping *yaml.Node, field, where string, from, to, byDefault int) int {
	_, value := get(mapping, field)
	if isNull(value) {
		return byDefault
	}
	n, err := strconv.ParseInt(value.Value, 10, 32)
	if err != nil || int(n) < from || int(n) > to || value.ShortTag() != "!!int" {
		bounds := fmt.Sprintf("from %d to %d", from, to)
		if to == math.MaxInt32 {
			bounds = fmt.Sprintf("from %d up", from)
		}
		in.problem(value, ReasonInvalidField, where+" is not a whole number "+bounds, "write it without quotes")
		return byDefault
	}
	return int(n)
}

// duration returns a field's duration, nil where it is not there or wrong.
func (in *reader) duration(mapping *yaml.Node, field, where string, mayBeZero bool) *time.Duration {
	_, value := get(mapping, field)
	if isNull(value) {
		return nil
	}
	d, err := time.ParseDuration(value.Value)
	switch {
	case err == nil && isString(value) && (d > 0 || mayBeZero && d == 0):
		return &d
	case mayBeZero:
		in.problem(value, ReasonInvalidField, where+" is not a duration of zero or more", "write it with its unit, such as 0s, 90s or 10m")
	default:
		in.problem(value, ReasonInvalidField, where+" is not a duration above zero", "write it with its unit, such as 90s, 5m or 1h30m")
	}
	return nil
}

// given returns, in the order of the file, the keys of those fields that are there.
func given(mapping *yaml.Node, fields ...string) []*yaml.Node {
	var keys []*yaml.Node
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if slices.Contains(fields, mapping.Content[i].Value) && !isNull(mapping.Content[i+1]) {
			keys = append(keys, mapping.Content[i])
		}
	}
	return keys
}
