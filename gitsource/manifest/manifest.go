// Package manifest reads what people write into the repository: rotation requests, the Secrets and servers that they
// refer to, and policies.
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
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Set is what a whole folder says.
type Set struct {
	// Requests are sorted by path and line. Each has a valid namespace and name, and may have problems.
	Requests []*Request
	// Secrets are the v1 Secrets, in the same order. Each has a namespace and a name.
	Secrets []*Secret
	// Servers and Policies are in the same order, too. Each has a valid name, a server also a namespace, and may have
	// problems.
	Servers  []*Server
	Policies []*Policy
	// Problems are those that belong to none of the above.
	Problems []Problem
	// Labels are those of the MSSQLServers, by namespace/name, which only the cluster knows: whoever does sets them.
	Labels map[string]map[string]string
}

// File is what one file says. It depends on nothing but the file's path and content, and may be kept as long as these
// stay the same.
type File struct {
	requests []*Request
	secrets  []*Secret
	servers  []*Server
	policies []*Policy
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
		f.add(d)
	}
	f.seal(content)
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

// Unreadable stands for a file whose content could not be had, and says why. The path is quoted if it cannot be printed.
func Unreadable(path, why string) *File {
	f := &File{}
	if isManifest(strings.TrimSuffix(path, `"`)) {
		f.problems = []Problem{{Path: path, Reason: ReasonUnreadableFile, Message: "the file was not read: " + why}}
	}
	return f
}

// Join puts files together and finds what no file knows alone: documents with the same name, servers with the same
// Secret.
func Join(files ...*File) *Set {
	set := &Set{}
	for _, f := range files {
		set.Requests = append(set.Requests, copies(f.requests)...)
		set.Secrets = append(set.Secrets, copies(f.secrets)...)
		set.Servers = append(set.Servers, copies(f.servers)...)
		set.Policies = append(set.Policies, copies(f.policies)...)
		set.Problems = append(set.Problems, f.problems...)
	}
	order(set.Requests)
	order(set.Secrets)
	order(set.Servers)
	order(set.Policies)
	findSharedSecrets(set.Servers)
	sortProblems(set.Problems)
	return set
}

// copies keeps apart what a file says, which is the same for ever, and what is wrong with it in one set.
func copies[T any](documents []*T) []*T {
	var own []*T
	for _, d := range documents {
		c := *d
		own = append(own, &c)
	}
	return own
}

// order sorts the documents of one kind by path and line, and finds those that share a name.
func order[T twin](documents []T) {
	slices.SortFunc(documents, func(a, b T) int {
		x, y := a.place(), b.place()
		return cmp.Or(strings.Compare(x.Path, y.Path), cmp.Compare(x.Line, y.Line))
	})
	findTwins(documents)
}

// Secret returns the Secret of that name, nil when the files have none.
func (s *Set) Secret(namespace, name string) *Secret { return find(s.Secrets, namespace, name) }

// Server returns the SQLServer of that name, nil when the files have none. It may have problems.
func (s *Set) Server(namespace, name string) *Server { return find(s.Servers, namespace, name) }

func find[T any, P interface {
	*T
	place() Problem
}](documents []P, namespace, name string) P {
	for _, d := range documents {
		if p := d.place(); p.Namespace == namespace && p.Name == name {
			return d
		}
	}
	return nil
}

// AllProblems returns every problem of the set, those of its documents too, by path and line.
func (s *Set) AllProblems() []Problem {
	all := slices.Clone(s.Problems)
	for _, r := range s.Requests {
		all = append(all, r.Problems...)
	}
	for _, secret := range s.Secrets {
		all = append(all, secret.Problems...)
	}
	for _, server := range s.Servers {
		all = append(all, server.Problems...)
	}
	for _, policy := range s.Policies {
		all = append(all, policy.Problems...)
	}
	return sortProblems(all)
}

// problem adds one that belongs to none of the documents that are kept. Texts that the file's author wrote are cut short.
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
