package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
)

// maxName bounds names so that name and ".yaml" fit into a file's name. Kubernetes would allow 8 more.
const maxName = 245

var (
	label     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// IsNamespace and IsName report whether a text can be the name of a namespace, and of anything in it.
func IsNamespace(name string) bool { return isLabel(name) }
func IsName(name string) bool      { return isSubdomain(name) }

func isLabel(name string) bool     { return len(name) <= 63 && label.MatchString(name) }
func isSubdomain(name string) bool { return len(name) <= maxName && subdomain.MatchString(name) }

// rotationID digests what the request means. The encoding is fixed: the ids of requests that ran years ago are in Git
// and in the cluster, and must come out the same. A request with problems has an id too, of its spec as written, so
// that its refusal is recorded once.
func (r *Request) rotationID() string {
	type secretRef struct {
		APIGroup string `json:"apiGroup"`
		Kind     string `json:"kind"`
		Name     string `json:"name"`
	}
	type spec struct {
		Type       string     `json:"type"`
		Database   string     `json:"database"`
		SecretRef  *secretRef `json:"secretRef"`
		Timeout    string     `json:"timeout"`
		Apply      string     `json:"apply"`
		MaxRetries int        `json:"maxRetries"`
	}
	type rollback struct {
		Database   string `json:"database"`
		RotationID string `json:"rotationId"`
		Timeout    string `json:"timeout"`
		Apply      string `json:"apply"`
		MaxRetries int    `json:"maxRetries"`
	}
	meant := struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		Spec      any    `json:"spec"`
	}{RequestVersion + "/" + KindRequest, r.Namespace, r.Name, nil}
	if r.Kind == KindRollback {
		meant.Kind = gitrotaVersion + "/" + KindRollback
	}

	timeout := ""
	if r.Spec.Timeout != nil {
		timeout = r.Spec.Timeout.String()
	}
	switch {
	case len(r.Problems) > 0:
		meant.Spec = r.Raw["spec"]
	case r.Kind == KindRollback:
		meant.Spec = rollback{r.Spec.DatabaseRef.Name, r.Spec.RotationID, timeout, r.Spec.Apply, r.Spec.MaxRetries}
	default:
		s := spec{Type: r.Spec.Type, Database: r.Spec.DatabaseRef.Name, Timeout: timeout, Apply: r.Spec.Apply, MaxRetries: r.Spec.MaxRetries}
		if r.Spec.Authentication != nil {
			ref := r.Spec.Authentication.SecretRef
			s.SecretRef = &secretRef{ref.APIGroup, ref.Kind, ref.Name}
		}
		meant.Spec = s
	}
	return digest(meant)
}

// digest stands for plain values: 32 hexadecimal digits.
func digest(plain any) string {
	text, err := json.Marshal(plain)
	if err != nil {
		panic("manifest: plain values cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:32]
}
