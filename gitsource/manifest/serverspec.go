package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	documentFields = []string{"apiVersion", "kind", "metadata", "spec"}
	serverFields   = []string{"workload", "selector", "endpoints", "container", "port", "authSecret", "admin", "loginPair",
		"gracePeriod", "containedDatabase", "tls"}
	secretKeysFields = []string{"name", "usernameKey", "passwordKey"}
)

var serverNaming = naming{
	metadata:  "give metadata.namespace and metadata.name",
	namespace: "name it: requests, Secrets and pods of this server are looked for there",
	name:      "requests refer to it by its name",
}

// addServer reads a SQLServer. One without a usable name cannot be referred to, and only its problems are kept.
func (f *File) addServer(d document) {
	s := &Server{Path: d.path, Line: d.root.Line}
	in, named := f.read(d, serverNaming, func(in *reader) {
		in.known(d.root, "the server", documentFields)
		s.Labels = labelsOf(d.root)
		s.readSpec(in, d.root)
	})
	if named {
		s.Namespace, s.Name, s.Problems = in.own.Namespace, in.own.Name, in.problems
		f.servers = append(f.servers, s)
	}
}

func (s *Server) readSpec(in *reader, root *yaml.Node) {
	spec := in.mapping(root, "spec", "spec", serverFields)
	if spec == nil {
		if len(given(root, "spec")) > 0 {
			return // it is no mapping, as was said
		}
		in.problem(root, ReasonMissingField, "spec is missing", "say in it where the server is, and name its authSecret")
		return
	}
	s.readPlace(in, spec)
	s.readLogins(in, spec)
	s.readTLS(in, spec)
}

// readLogins reads which login rotates, and who changes it.
func (s *Server) readLogins(in *reader, spec *yaml.Node) {
	if auth := s.readSecretKeys(in, spec, "authSecret"); auth != nil {
		s.Spec.AuthSecret, s.authSecretLine = *auth, given(spec, "authSecret")[0].Line
	} else if len(given(spec, "authSecret")) == 0 {
		in.problem(spec, ReasonMissingField, "spec.authSecret is missing", "name the Secret with the login that rotates, which clients read")
	}
	s.Spec.Admin = s.readSecretKeys(in, spec, "admin")
	if s.Spec.Admin != nil && s.Spec.Admin.Name != "" && s.Spec.Admin.Name == s.Spec.AuthSecret.Name {
		in.problem(given(spec, "admin")[0], ReasonInvalidField,
			"spec.admin.name is the authSecret, and the login that rotates changes its own password where there is no admin",
			"leave spec.admin out, or name the Secret of another login")
	}
	s.readLoginPair(in, spec)
	if name, ok := in.str(spec, "containedDatabase", "spec.containedDatabase"); ok && name != "" {
		_, value := get(spec, "containedDatabase")
		if flaw := sysnameFlaw(name); flaw != "" {
			in.problem(value, ReasonInvalidField, "spec.containedDatabase "+flaw, "give the name of a database")
		}
		s.Spec.ContainedDatabase = name
	}
}

// secretKey matches what Kubernetes allows, with room for the .prev that gitrota adds.
var secretKey = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,248}$`)

// readSecretKeys returns nil where the field is not there or is no mapping.
func (s *Server) readSecretKeys(in *reader, spec *yaml.Node, field string) *SecretKeys {
	where := "spec." + field
	node := in.mapping(spec, field, where, secretKeysFields)
	if node == nil {
		return nil
	}
	keys := &SecretKeys{
		Name:        in.name(node, "name", where+".name", isSubdomain, "name the Secret, which is in the server's namespace"),
		UsernameKey: s.readKey(in, node, "usernameKey", where, usernameKey),
		PasswordKey: s.readKey(in, node, "passwordKey", where, passwordKey),
	}
	if keys.UsernameKey == keys.PasswordKey {
		in.problem(given(spec, field)[0], ReasonInvalidField, where+" has username and password under one key", "give usernameKey and passwordKey different values")
	}
	return keys
}

// readKey returns the name of a key in a Secret.
func (s *Server) readKey(in *reader, mapping *yaml.Node, field, where, byDefault string) string {
	key, ok := in.str(mapping, field, where+"."+field)
	if !ok || key == "" {
		return byDefault
	}
	if !secretKey.MatchString(key) || strings.HasPrefix(key, "..") || key == "." {
		_, value := get(mapping, field)
		in.problem(value, ReasonInvalidField, fmt.Sprintf("%s.%s %q is not a key of a Secret", where, field, cut(key)),
			"use letters, digits, dashes, underscores and dots")
		return byDefault
	}
	return key
}
