package manifest

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/credential"
)

// ReadCredential decrypts a Secret and returns its username and password. What YAML would not read as a string is
// refused and never converted. The problem's texts hold no part of the values.
func ReadCredential(secret *Secret, keys sopsfile.Keys) (credential.Credential, *Problem) {
	if flaw := secret.flaw(); flaw != nil {
		return credential.Credential{}, flaw
	}
	refuse := func(line int, reason, message, hint string) (credential.Credential, *Problem) {
		p := secret.problemAt(line, reason, message, hint)
		return credential.Credential{}, &p
	}
	plain, err := sopsfile.Decrypt(secret.source, keys)
	if err != nil {
		return refuse(secret.Line, ReasonUndecryptable, "the Secret cannot be decrypted: "+err.Error(), "")
	}
	root := secret.find(plain)
	if root == nil {
		return refuse(secret.Line, ReasonUndecryptable, "the decrypted file does not hold this Secret any more", "encrypt it again")
	}
	var values [2]string
	for i, key := range []string{usernameKey, passwordKey} {
		value, line, flaw := secret.value(root, key)
		if flaw != "" {
			return refuse(line, ReasonInvalidSecret, "the key "+key+" of the Secret "+flaw, "correct it and encrypt the file again")
		}
		values[i] = value
	}
	return credential.Credential{Username: values[0], Password: credential.NewPassword(values[1])}, nil
}

// find returns the Secret's document in the decrypted file.
func (s *Secret) find(plain []byte) *yaml.Node {
	documents, _ := split(s.Path, plain)
	for _, d := range documents {
		_, meta := get(d.root, "metadata")
		if text(d.root, "kind") == secretKind && text(meta, "namespace") == s.Namespace && text(meta, "name") == s.Name {
			return d.root
		}
	}
	return nil
}

// value returns a key's text, from stringData if it is there, as in Kubernetes; or what is wrong with it and the line
// in the encrypted file.
func (s *Secret) value(root *yaml.Node, key string) (value string, line int, flaw string) {
	_, section := get(root, "stringData")
	_, node := get(section, key)
	line = s.fields["stringData."+key].line
	inBase64 := node == nil
	if inBase64 {
		_, section = get(root, "data")
		_, node = get(section, key)
		line = s.fields["data."+key].line
	}
	if node == nil || !isString(node) {
		return "", line, "is not a string"
	}
	value = node.Value
	if inBase64 {
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", line, "is under data, but is not base64: use stringData for plain text"
		}
		value = string(raw)
	}
	switch {
	case value == "":
		return "", line, "is empty"
	case !utf8.ValidString(value):
		return "", line, "is not UTF-8 text"
	case strings.ContainsAny(value, "\r\n\x00"):
		return "", line, "holds a line break, perhaps one at its end that an editor or echo has left"
	}
	return value, line, ""
}
