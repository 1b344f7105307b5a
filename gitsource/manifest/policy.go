package manifest

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/policies/pace"
	"github.com/gitrota/gitrota/policies/schedule"
	"github.com/gitrota/gitrota/policies/selection"
)

// KindPolicy is the kind of policies, of gitrota, in Git.
const KindPolicy = "RotationPolicy"

// Policy is one RotationPolicy (gitrota.dev/v1alpha1): what goes for all rotations of some databases. A policy is about
// databases of all namespaces, whatever its own namespace is.
type Policy struct {
	Namespace, Name string // the namespace may be ""
	Path            string // of its file
	Line            int    // where it begins

	// Digest stands for its name and for what it says, whatever its place, order and comments are.
	Digest string
	Raw    map[string]any // the policy as it was written: apiVersion, kind, metadata (name and namespace) and spec

	Databases []Databases // which it is about; nil: a problem leaves it open

	// The sections, nil where the policy says nothing in one.
	Consumers   *Consumers // to restart after a rotation; MaxConcurrent 0: none
	Approval    *approval.Rule
	Schedule    *schedule.Rule
	Maintenance *schedule.Maintenance
	Password    *credential.Rules
	Limits      *pace.Limits

	Problems []Problem // why it cannot be used; the rest is then incomplete
}

// Databases are some of the databases that a policy is about.
type Databases struct {
	selection.Pattern
	Line int // where they are written
}

// Consumers say which users of an auth Secret are restarted after a rotation: the Deployments, StatefulSets and
// DaemonSets in its namespace that mount it or take their environment from it.
type Consumers struct {
	MaxConcurrent int `json:"maxConcurrent"` // how many at once, 1 or more
}

func (p *Policy) kind() string { return KindPolicy }

func (p *Policy) place() Problem {
	return Problem{Path: p.Path, Line: p.Line, Namespace: p.Namespace, Name: p.Name}
}

func (p *Policy) note(problem Problem) { p.Problems = append(slices.Clone(p.Problems), problem) }

var (
	policySections  = []string{"consumers", "approval", "schedule", "maintenance", "password", "limits"}
	policyFields    = append([]string{"databases"}, policySections...)
	databasesFields = []string{"namespace", "name", "kind", "labels"}
)

var policyNaming = naming{metadata: "give metadata.name", name: "every policy needs a name of its own"}

// addPolicy reads a RotationPolicy. Of one without a usable name only the problems are kept.
func (f *File) addPolicy(d document) {
	p := &Policy{Path: d.path, Line: d.root.Line}
	in, named := f.read(d, policyNaming, func(in *reader) {
		in.known(d.root, "the policy", documentFields)
		p.readSpec(in, d.root)
	})
	if named {
		p.Namespace, p.Name, p.Problems = in.own.Namespace, in.own.Name, in.problems
		p.Raw = rawPolicy(d.root, p.Namespace, p.Name)
		p.Digest = digest(p.Raw)
		f.policies = append(f.policies, p)
	}
}

// rawPolicy keeps what the record of the policies in force repeats of one.
func rawPolicy(root *yaml.Node, namespace, name string) map[string]any {
	metadata := map[string]any{"name": name}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	raw := map[string]any{"apiVersion": gitrotaVersion, "kind": KindPolicy, "metadata": metadata}
	if _, spec := get(root, "spec"); !isNull(spec) {
		raw["spec"] = plain(spec)
	}
	return raw
}

func (p *Policy) readSpec(in *reader, root *yaml.Node) {
	spec := in.mapping(root, "spec", "spec", policyFields)
	if spec == nil {
		if len(given(root, "spec")) > 0 {
			return // it is no mapping, as was said
		}
		in.problem(root, ReasonMissingField, "spec is missing", oneSection)
		return
	}
	if len(in.problems) == 0 && len(given(spec, policySections...)) == 0 {
		in.problem(spec, ReasonMissingField, "spec has no section, and so the policy says nothing", oneSection)
	}
	if len(given(spec, "databases")) == 0 {
		p.Databases = []Databases{{selection.Pattern{Namespace: "*", Name: "*"}, p.Line}}
	}
	before := len(in.problems)
	for i, item := range in.list(spec, "databases", "spec.databases") {
		p.Databases = append(p.Databases, readDatabases(in, item, fmt.Sprintf("spec.databases[%d]", i)))
	}
	if len(in.problems) > before {
		p.Databases = nil
	}
	p.Consumers = readConsumers(in, spec)
	p.Approval = readApproval(in, spec, "approval")
	p.Schedule = readSchedule(in, spec)
	p.Maintenance = readMaintenance(in, spec)
	p.Password = readPassword(in, spec)
	p.Limits = readLimits(in, spec)
}

var oneSection = "give one of " + strings.Join(policySections, ", ")

// readDatabases reads one item of spec.databases.
func readDatabases(in *reader, item *yaml.Node, where string) Databases {
	if !in.isMapping(item, where, databasesFields, "write {namespace: shop, name: orders}") {
		return Databases{}
	}
	glob := func(field string) string {
		text, ok := in.str(item, field, where+"."+field)
		if ok && text != "" && !selection.IsGlob(text) {
			_, value := get(item, field)
			in.problem(value, ReasonInvalidField, fmt.Sprintf("%s.%s %q cannot match a Kubernetes name", where, field, cut(text)),
				"use lower case letters, digits, dashes and dots, and * for any characters")
		}
		if text == "" {
			return "*"
		}
		return text
	}
	d := Databases{selection.Pattern{Namespace: glob("namespace"), Name: glob("name")}, item.Line}
	d.Kind, _ = in.str(item, "kind", where+".kind")
	if d.Kind != "" && d.Kind != KindMSSQLServer && d.Kind != KindServer {
		_, value := get(item, "kind")
		in.problem(value, ReasonInvalidField, fmt.Sprintf("%s.kind is %q", where, cut(d.Kind)), "use MSSQLServer or SQLServer, or leave it out for both")
	}
	if labels := in.mapping(item, "labels", where+".labels", nil); labels != nil {
		d.Labels = in.labels(labels, where+".labels", "databases", "copy key and value from the labels of the database")
		if len(d.Labels) == 0 {
			in.problem(labels, ReasonInvalidField, where+".labels is empty", "leave it out, or put something into it")
		}
	}
	return d
}
