// Package manifest reads what people write into the repository: rotation requests and the Secrets that they refer to.
//
// It is pure: bytes in, documents and problems out, and only [ReadCredential] needs keys. Whatever is wrong becomes a
// [Problem] with file and line, and never stops the rest from being read. It works on YAML nodes and converts nothing
// on its own: a password that YAML takes for a number is refused where a decoder would have changed it.
//
// Documents of other kinds are ignored, unless they belong to a group that gitrota serves: then a typing mistake is
// more likely than a purpose.
package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The kinds that are read.
const (
	opsGroup       = "ops.kubedb.com"
	requestVersion = opsGroup + "/v1alpha1"
	requestKind    = "MSSQLServerOpsRequest"
	gitrotaGroup   = "gitrota.dev"
	secretKind     = "Secret"
)

// Set is what a whole folder says.
type Set struct {
	// Requests are sorted by path and line. Each has a valid namespace and name, and may have problems.
	Requests []*Request
	// Secrets are the v1 Secrets, in the same order. Each has a namespace and a name.
	Secrets []*Secret
	// Problems are those that belong to none of the above.
	Problems []Problem
}

// File is what one file says. It depends on nothing but the file's path and content, and may be kept as long as these
// stay the same.
type File struct {
	requests []*Request
	secrets  []*Secret
	problems []Problem
}

// Parse reads the content of many files by path.
func Parse(files map[string][]byte) *Set {
	var parsed []*File
	for path, content := range files {
		parsed = append(parsed, ParseFile(path, content))
	}
	return Join(parsed...)
}

// ParseFile reads one file. Files that do not end in .yaml, .yml or .json say nothing.
func ParseFile(path string, content []byte) *File {
	f := &File{}
	if !isManifest(path) {
		return f
	}
	documents, problems := split(path, content)
	f.problems = problems
	for _, d := range documents {
		f.add(d, content)
	}
	f.problems = bounded(f.problems)
	return f
}

// maxProblems bounds what is said of one file or document: nobody reads more before correcting the first ones.
const maxProblems = 20

// bounded cuts a list of problems and says so in the last one.
func bounded(problems []Problem) []Problem {
	if len(problems) <= maxProblems {
		return problems
	}
	problems = sortProblems(problems)[:maxProblems]
	problems[maxProblems-1].Message += " (and there are more problems after this one)"
	return problems
}

// Unreadable stands for a file whose content could not be had, and says why.
func Unreadable(path, why string) *File {
	f := &File{}
	if isManifest(path) {
		f.problems = []Problem{{Path: path, Reason: ReasonUnreadableFile, Message: "the file was not read: " + why}}
	}
	return f
}

// Join puts files together and finds what no file knows alone: two documents with the same name.
func Join(files ...*File) *Set {
	set := &Set{}
	for _, f := range files {
		for _, r := range f.requests {
			own := *r
			set.Requests = append(set.Requests, &own)
		}
		for _, s := range f.secrets {
			own := *s
			set.Secrets = append(set.Secrets, &own)
		}
		set.Problems = append(set.Problems, f.problems...)
	}
	slices.SortFunc(set.Requests, func(a, b *Request) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
	slices.SortFunc(set.Secrets, func(a, b *Secret) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
	sortProblems(set.Problems)
	set.findTwins()
	return set
}

// Secret returns the Secret of that name, nil when the files have none.
func (s *Set) Secret(namespace, name string) *Secret {
	for _, secret := range s.Secrets {
		if secret.Namespace == namespace && secret.Name == name {
			return secret
		}
	}
	return nil
}

// AllProblems returns every problem of the set, those of its requests and Secrets too, by path and line.
func (s *Set) AllProblems() []Problem {
	all := slices.Clone(s.Problems)
	for _, r := range s.Requests {
		all = append(all, r.Problems...)
	}
	for _, secret := range s.Secrets {
		all = append(all, secret.Problems...)
	}
	return sortProblems(all)
}

// Validate returns everything that can be said about files without a cluster and without keys, also that a request
// refers to a Secret that is among them and cannot be used.
func Validate(files map[string][]byte) []Problem {
	set := Parse(files)
	problems := set.AllProblems()
	for _, r := range set.Requests {
		if r.Spec.Authentication == nil {
			continue
		}
		name := r.Spec.Authentication.SecretRef.Name
		secret := set.Secret(r.Namespace, name)
		if secret == nil {
			continue // it may be in the cluster
		}
		if flaw := secret.flaw(); flaw != nil {
			problems = append(problems, Problem{
				Path: r.Path, Line: r.secretRefLine, Namespace: r.Namespace, Name: r.Name, Reason: ReasonUnusableSecret,
				Message: fmt.Sprintf("spec.authentication.secretRef refers to the Secret %s/%s at %s, which cannot be used: %s",
					r.Namespace, name, flaw.Where(), flaw.Message),
				Hint: flaw.Hint,
			})
		}
	}
	return sortProblems(problems)
}

// findTwins gives both of two documents with one name a problem that names the other place.
func (s *Set) findTwins() {
	requests := map[string][]*Request{}
	for _, r := range s.Requests {
		requests[r.Namespace+"/"+r.Name] = append(requests[r.Namespace+"/"+r.Name], r)
	}
	for _, r := range s.Requests {
		for _, twin := range requests[r.Namespace+"/"+r.Name] {
			if twin != r {
				r.Problems = append(slices.Clone(r.Problems), twinProblem(r.place(), requestKind, twin.place()))
				break
			}
		}
	}
	secrets := map[string][]*Secret{}
	for _, secret := range s.Secrets {
		secrets[secret.Namespace+"/"+secret.Name] = append(secrets[secret.Namespace+"/"+secret.Name], secret)
	}
	for _, secret := range s.Secrets {
		for _, twin := range secrets[secret.Namespace+"/"+secret.Name] {
			if twin != secret {
				secret.Problems = append(slices.Clone(secret.Problems), twinProblem(secret.place(), secretKind, twin.place()))
				break
			}
		}
	}
}

func twinProblem(own Problem, kind string, other Problem) Problem {
	own.Reason = ReasonDuplicateName
	own.Message = fmt.Sprintf("there is another %s named %s/%s at %s", kind, own.Namespace, own.Name, other.Where())
	own.Hint = "rename or remove one of them"
	return own
}

// add sorts one document by its kind.
func (f *File) add(d document, source []byte) {
	version, kind := text(d.root, "apiVersion"), text(d.root, "kind")
	group, _, _ := strings.Cut(version, "/")
	_, sops := get(d.root, "sops")
	switch {
	case version == requestVersion && kind == requestKind:
		f.addRequest(d)
	case kind == secretKind && !strings.Contains(version, "/"):
		f.addSecret(d, source)
	case !isNull(sops) && (isEncrypted(version) || isEncrypted(kind)):
		f.problem(d, d.root, ReasonEncryptedMetadata, "SOPS has encrypted the kind of this document, so nobody can tell what it is", encryptHint)
	case kind == "List" && version == "v1":
		f.addItems(d, source)
	case kind == requestKind:
		f.problem(d, at(d, "apiVersion"), ReasonUnsupportedAPIVersion,
			fmt.Sprintf("%s is not served in apiVersion %q", kind, version), "use "+requestVersion)
	case group == opsGroup:
		hint := "gitrota serves " + requestVersion + " " + requestKind + " only; keep other requests out of its folder"
		if nearest(kind, []string{requestKind}) != "" {
			hint = fmt.Sprintf("did you mean %q?", requestKind)
		}
		f.problem(d, at(d, "kind"), ReasonUnknownKind, fmt.Sprintf("%s %q is not served by gitrota", version, kind), hint)
	case group == gitrotaGroup:
		f.problem(d, at(d, "kind"), ReasonUnknownKind,
			fmt.Sprintf("there is no kind %q in %s that this version of gitrota reads", kind, version), "check apiVersion and kind")
	}
}

// addItems reads a List as if its items were documents.
func (f *File) addItems(d document, source []byte) {
	_, items := get(d.root, "items")
	if items == nil || items.Kind != yaml.SequenceNode {
		return
	}
	for _, item := range items.Content {
		if item.Kind == yaml.MappingNode && text(item, "kind") != "List" {
			f.add(document{d.path, item}, source)
		}
	}
}

// at returns the node of a top-level key, or the document.
func at(d document, key string) *yaml.Node {
	if k, _ := get(d.root, key); k != nil {
		return k
	}
	return d.root
}

// problem adds one that belongs to no request and no Secret. Texts that the file's author wrote are cut short.
func (f *File) problem(d document, at *yaml.Node, reason, message, hint string) {
	f.problems = append(f.problems, Problem{Path: d.path, Line: at.Line, Reason: reason, Message: cut(message), Hint: hint})
}

// cut bounds a text that holds words from a file.
func cut(text string) string {
	if len(text) > 600 {
		text = strings.ToValidUTF8(text[:600], "") + "…"
	}
	return text
}
