package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Secret is one v1 Secret. It holds no plaintext: what is readable in Git is noted as a problem and dropped.
type Secret struct {
	Namespace, Name string
	Path            string      // of its file
	Line            int         // where it begins
	Type            string      // such as kubernetes.io/basic-auth; "" is Opaque
	Encrypted       bool        // SOPS has been at it
	Recipients      []Recipient // who can decrypt it; the documents of one file have them in common

	// Problems say why it must not be used. See also [Validate] for those that matter only to a request.
	Problems []Problem

	fields map[string]field // by section and key, such as "stringData.password"
	source []byte           // the whole file, whose documents share one MAC
}

// field is what a value looks like from outside.
type field struct {
	line  int
	empty bool
	plain bool   // readable in Git
	kind  string // what YAML or SOPS says it is, such as "a string"
}

// The keys of a Secret that make a credential.
const (
	usernameKey = "username"
	passwordKey = "password"
)

const encryptHint = "encrypt the values and nothing else: sops --encrypt --encrypted-regex '^(data|stringData)$' --in-place FILE"

// encrypted matches a value that SOPS wrote, and its type.
var encrypted = regexp.MustCompile(`^ENC\[AES256_GCM,data:.*,type:([a-z]+)\]$`)

func isEncrypted(value string) bool { return encrypted.MatchString(value) }

func (s *Secret) kind() string { return secretKind }

func (s *Secret) place() Problem {
	return Problem{Path: s.Path, Line: s.Line, Namespace: s.Namespace, Name: s.Name}
}

func (s *Secret) note(p Problem) { s.Problems = append(slices.Clone(s.Problems), p) }

func (s *Secret) problemAt(line int, reason, message, hint string) Problem {
	p := s.place()
	p.Line, p.Reason, p.Message, p.Hint = line, reason, cut(message), hint
	return p
}

func (f *File) addSecret(d document) {
	_, sops := get(d.root, "sops")
	_, meta := get(d.root, "metadata")
	s := &Secret{
		Path: d.path, Line: d.root.Line,
		Namespace: text(meta, "namespace"), Name: text(meta, "name"), Type: text(d.root, "type"),
		Encrypted: !isNull(sops), fields: map[string]field{},
	}
	note := func(at *yaml.Node, reason, message, hint string) {
		s.Problems = append(s.Problems, s.problemAt(at.Line, reason, message, hint))
	}
	if isEncrypted(s.Namespace) || isEncrypted(s.Name) || isEncrypted(s.Type) {
		s.Namespace, s.Name = "", ""
		note(d.root, ReasonEncryptedMetadata, "SOPS has encrypted the metadata or the type of this Secret, so no request can find it", encryptHint)
		f.problems = append(f.problems, s.Problems...)
		return
	}
	structure(d.root, note)
	for _, section := range []string{"data", "stringData"} {
		s.look(d.root, section, note)
	}
	if _, copied := get(annotations(meta), lastApplied); !isNull(copied) {
		note(copied, ReasonPlaintextSecret, "the annotation "+lastApplied+" repeats the whole Secret as it was applied, in plain text: "+
			"treat the password as leaked and never use it again", "remove the annotation; "+plaintextHint)
	}
	if !isLabel(s.Namespace) || !isSubdomain(s.Name) {
		note(d.root, ReasonMissingField, "metadata.namespace or metadata.name of this Secret is missing or is no Kubernetes name",
			"give both, so that a request can refer to it")
		s.Namespace, s.Name = "", ""
		for i := range s.Problems {
			s.Problems[i].Namespace, s.Problems[i].Name = "", ""
		}
		f.problems = append(f.problems, s.Problems...)
		return
	}
	s.Problems = bounded(sortProblems(s.Problems))
	f.secrets = append(f.secrets, s)
}

// lastApplied is where kubectl apply keeps a copy of what it was given.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func annotations(meta *yaml.Node) *yaml.Node {
	_, values := get(meta, "annotations")
	return values
}

// look notes what the values of a section look like, and which of them anybody can read.
func (s *Secret) look(root *yaml.Node, section string, note func(*yaml.Node, string, string, string)) {
	_, values := get(root, section)
	if isNull(values) {
		return
	}
	if values.Kind != yaml.MappingNode {
		if values.Kind != yaml.ScalarNode || !isEncrypted(values.Value) {
			note(values, ReasonPlaintextSecret, section+" is readable in Git, and in its history: treat what it holds as leaked", plaintextHint)
			return
		}
		note(values, ReasonInvalidSecret, section+" is not a mapping of keys to values", "")
		return
	}
	for i := 0; i+1 < len(values.Content); i += 2 {
		key, value := values.Content[i], values.Content[i+1]
		f := inspect(value)
		s.fields[section+"."+key.Value] = f
		isCredential := key.Value == usernameKey || key.Value == passwordKey
		switch {
		case f.empty:
		case f.plain && (!s.Encrypted || key.Value != usernameKey):
			note(value, ReasonPlaintextSecret, "a value of this Secret is readable in Git, and in its history: "+
				"treat the password as leaked and never use it again", plaintextHint)
		case !f.plain && !s.Encrypted:
			note(value, ReasonInvalidSecret, "a value is encrypted, but the sops block with the key to it is missing",
				"restore the file as SOPS wrote it")
		case isCredential && f.kind != "a string":
			note(value, ReasonNotAString, fmt.Sprintf("%s.%s was %s and not a string when it was encrypted, and would not come out as it was meant",
				section, key.Value, f.kind), "put it in quotes in the plaintext, and encrypt it again")
		}
	}
}

const plaintextHint = "choose a new password, and " + encryptHint

// inspect looks at a value without keeping it.
func inspect(value *yaml.Node) field {
	f := field{line: value.Line, kind: kindName(value)}
	if value.Kind != yaml.ScalarNode {
		f.plain = true
		return f
	}
	f.empty = isNull(value) || value.Value == ""
	m := encrypted.FindStringSubmatch(value.Value)
	if m == nil {
		f.plain = !f.empty
		return f
	}
	switch m[1] {
	case "str":
		f.kind = "a string"
	case "int", "float":
		f.kind = "a number"
	case "bool":
		f.kind = "a boolean"
	case "time":
		f.kind = "a date"
	default:
		f.kind = "of SOPS's type " + m[1]
	}
	return f
}

// flaw returns why no credential can be read from the Secret, a leak before anything else; nil when nothing speaks
// against it as far as one can see without a key.
func (s *Secret) flaw() *Problem {
	for i := range s.Problems {
		if s.Problems[i].Reason == ReasonPlaintextSecret {
			return &s.Problems[i]
		}
	}
	if len(s.Problems) > 0 {
		return &s.Problems[0]
	}
	refuse := func(line int, message, hint string) *Problem {
		p := s.problemAt(line, ReasonInvalidSecret, message, hint)
		return &p
	}
	switch s.Type {
	case "", "Opaque", "kubernetes.io/basic-auth":
	default:
		return refuse(s.Line, fmt.Sprintf("a Secret of the type %q holds no credential", s.Type), "use type: kubernetes.io/basic-auth")
	}
	for _, key := range []string{usernameKey, passwordKey} {
		f, ok := s.fields["stringData."+key]
		if !ok {
			f, ok = s.fields["data."+key]
		}
		switch {
		case !ok:
			return refuse(s.Line, "the Secret has no key "+key, "it needs username and password")
		case f.empty:
			return refuse(f.line, "the key "+key+" of the Secret is empty", "it needs username and password")
		}
	}
	if !s.Encrypted {
		return refuse(s.Line, "the Secret is not encrypted", strings.TrimSpace(encryptHint))
	}
	return nil
}
