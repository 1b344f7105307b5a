package manifest

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/credential"
)

// SealCredential writes a credential as a Secret that SOPS has encrypted for age recipients, one or more: the file that
// [ReadCredential] reads. Its values are encrypted, its name and namespace are not.
func SealCredential(namespace, name string, c credential.Credential, recipients []string) ([]byte, error) {
	type metadata struct {
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace"`
	}
	plain, err := yaml.Marshal(struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   metadata          `yaml:"metadata"`
		Type       string            `yaml:"type"`
		StringData map[string]string `yaml:"stringData"`
	}{"v1", secretKind, metadata{name, namespace}, "kubernetes.io/basic-auth", map[string]string{usernameKey: c.Username, passwordKey: c.Password.Reveal()}})
	if err != nil {
		return nil, fmt.Errorf("writing the Secret %s/%s: it cannot be encoded", namespace, name) // the cause may quote it
	}
	return sopsfile.Encrypt(plain, recipients, "^(data|stringData)$")
}
