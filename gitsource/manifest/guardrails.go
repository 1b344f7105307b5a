package manifest

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/policies/hosts"
	"github.com/gitrota/gitrota/policies/selection"
)

// KindGuardrails is the kind of the agent's guardrails, of gitrota, in a local file and never in Git.
const KindGuardrails = "Guardrails"

var (
	guardrailsFields = []string{"paths", "hosts", "sops", "approval", "policyApproval", "bots", "maxConcurrent", "escrow", "denyList", "denyListFile"}
	pathFields       = []string{"path", "namespaces"}
	sopsFields       = []string{"recipients", "keyServices"}
	escrowFields     = []string{"recipients"}
)

// ParseGuardrails reads the one document of a guardrails file. Whatever is wrong makes them unusable: an agent that
// started without one of them would allow what somebody has forbidden. The caller reads DenyListFile.
func ParseGuardrails(file string, content []byte) (guardrails.Guardrails, []Problem) {
	documents, problems := split(file, content)
	if len(problems) > 0 {
		return guardrails.Guardrails{}, problems
	}
	if len(documents) != 1 {
		return guardrails.Guardrails{}, []Problem{{Path: file, Reason: ReasonInvalidYAML,
			Message: fmt.Sprintf("the file has %d and not one document", len(documents)), Hint: "put all guardrails into one document of the kind " + KindGuardrails}}
	}
	root := documents[0].root
	in := &reader{own: Problem{Path: file, Line: root.Line}}
	structure(root, in.problem)
	if len(in.problems) > 0 {
		return guardrails.Guardrails{}, sortProblems(in.problems)
	}
	var g guardrails.Guardrails
	if version, kind := text(root, "apiVersion"), text(root, "kind"); version != gitrotaVersion || kind != KindGuardrails {
		in.problem(root, ReasonUnknownKind, fmt.Sprintf("this is %q in %q, and not %s in %s", cut(kind), cut(version), KindGuardrails, gitrotaVersion),
			"begin the file with apiVersion: "+gitrotaVersion+" and kind: "+KindGuardrails)
	} else {
		in.known(root, "the document", documentFields)
		g = readGuardrails(in, root)
	}
	if len(in.problems) > 0 {
		return guardrails.Guardrails{}, bounded(sortProblems(in.problems))
	}
	return g, nil
}

func readGuardrails(in *reader, root *yaml.Node) guardrails.Guardrails {
	spec := in.mapping(root, "spec", "spec", guardrailsFields)
	if spec == nil {
		if len(given(root, "spec")) > 0 {
			return guardrails.Guardrails{} // it is no mapping, as was said
		}
		in.problem(root, ReasonMissingField, "spec is missing, and so the guardrails allow everything", "start the agent without --guardrails, or give some")
		return guardrails.Guardrails{}
	}
	g := guardrails.Guardrails{
		Paths: readPaths(in, spec), Hosts: readHosts(in, spec),
		PolicyApproval: readApproval(in, spec, "policyApproval"),
		Bots:           in.words(spec, "bots", "spec.bots"),
		MaxConcurrent:  in.number(spec, "maxConcurrent", "spec.maxConcurrent", 1, math.MaxInt32, guardrails.DefaultMaxConcurrent),
		DenyList:       in.words(spec, "denyList", "spec.denyList"),
	}
	if rule := readApproval(in, spec, "approval"); rule != nil {
		g.Approval = *rule
	}
	if sops := in.mapping(spec, "sops", "spec.sops", sopsFields); sops != nil {
		g.Recipients = in.words(sops, "recipients", "spec.sops.recipients")
		g.KeyServices = in.words(sops, "keyServices", "spec.sops.keyServices")
		for _, kind := range g.KeyServices {
			if !slices.Contains(guardrails.KindsOfKeys, kind) {
				_, list := get(sops, "keyServices")
				in.problem(list, ReasonInvalidField, fmt.Sprintf("spec.sops.keyServices has %q", cut(kind)), "the kinds are "+strings.Join(guardrails.KindsOfKeys, ", "))
			}
		}
	}
	if escrow := in.mapping(spec, "escrow", "spec.escrow", escrowFields); escrow != nil {
		g.Escrow = readEscrow(in, escrow)
	}
	if file, ok := in.str(spec, "denyListFile", "spec.denyListFile"); ok && file != "" {
		g.DenyListFile = file
		if _, value := get(spec, "denyListFile"); path.Base(file) != file || file == ".." || file == "." {
			in.problem(value, ReasonInvalidField, fmt.Sprintf("spec.denyListFile %q is not the name of a file", cut(file)),
				"put the file beside this one, and give its name without a folder")
		}
	}
	return g
}

func readPaths(in *reader, spec *yaml.Node) []guardrails.Path {
	var paths []guardrails.Path
	lines := map[string]int{}
	for i, item := range in.list(spec, "paths", "spec.paths") {
		where := fmt.Sprintf("spec.paths[%d]", i)
		if !in.isMapping(item, where, pathFields, "write {path: rotations/team-a, namespaces: [team-a]}") {
			continue
		}
		folder, ok := in.str(item, "path", where+".path")
		folder = strings.TrimSuffix(folder, "/")
		switch _, value := get(item, "path"); {
		case !ok:
		case folder == "":
			in.problem(item, ReasonMissingField, where+".path is missing", "name a folder of the repository")
		case !guardrails.IsPath(folder):
			in.problem(value, ReasonInvalidField, fmt.Sprintf("%s.path %q is not a path in the repository", where, cut(folder)),
				"write it from the top of the repository, such as rotations/team-a, without . and ..")
		case lines[folder] > 0:
			in.problem(value, ReasonInvalidField, fmt.Sprintf("%s.path %q is that of line %d again", where, cut(folder), lines[folder]), "put all its namespaces into one")
		default:
			lines[folder] = value.Line
		}
		p := guardrails.Path{Path: folder, Namespaces: in.words(item, "namespaces", where+".namespaces")}
		if len(given(item, "namespaces")) == 0 {
			in.problem(item, ReasonMissingField, where+".namespaces is missing", "name the namespaces that files there may be about; * stands for any characters")
		}
		for _, glob := range p.Namespaces {
			if !selection.IsGlob(glob) {
				_, list := get(item, "namespaces")
				in.problem(list, ReasonInvalidField, fmt.Sprintf("%s.namespaces has %q, which cannot match a Kubernetes name", where, cut(glob)),
					"use lower case letters, digits, dashes and dots, and * for any characters")
			}
		}
		paths = append(paths, p)
	}
	return paths
}

func readHosts(in *reader, spec *yaml.Node) hosts.List {
	var all hosts.List
	_, list := get(spec, "hosts")
	for _, host := range in.words(spec, "hosts", "spec.hosts") {
		some, err := hosts.Parse(host)
		if err == nil && len(some) != 1 {
			err = fmt.Errorf("%q is not one host", cut(host))
		}
		if err != nil {
			in.problem(list, ReasonInvalidField, "spec.hosts: "+err.Error(), "write each as sql1.example.com:1433, sql1.example.com or *.db.example.com")
		}
		all = append(all, some...)
	}
	return all
}

func readEscrow(in *reader, escrow *yaml.Node) []string {
	const hint = "give public keys as age-keygen prints them, age1…"
	recipients := in.words(escrow, "recipients", "spec.escrow.recipients")
	if len(given(escrow, "recipients")) == 0 {
		in.problem(escrow, ReasonMissingField, "spec.escrow.recipients is missing", hint)
	}
	_, list := get(escrow, "recipients")
	for i, recipient := range recipients {
		switch {
		case strings.HasPrefix(recipient, "AGE-SECRET-KEY-"):
			in.problem(list, ReasonPlaintextSecret, fmt.Sprintf("spec.escrow.recipients[%d] is a private key", i), "make another one, and "+hint)
		case !sopsfile.IsRecipient(recipient):
			in.problem(list, ReasonInvalidField, fmt.Sprintf("spec.escrow.recipients has %q, which is not an age recipient", cut(recipient)), hint)
		}
	}
	return recipients
}
