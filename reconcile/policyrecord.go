package reconcile

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
)

// policiesFile is where the policies in force are recorded, below the status path.
const policiesFile = "policies.yaml"

// policy is one that is in force, as it is recorded.
type policy struct {
	Namespace  string         `json:"namespace,omitempty"`
	Name       string         `json:"name"`
	Digest     string         `json:"digest"` // of what it says
	Path       string         `json:"path"`   // where it was when it came into force
	Line       int            `json:"line"`
	Commit     string         `json:"commit,omitempty"` // that brought it
	ApprovedBy []string       `json:"approvedBy,omitempty"`
	Document   map[string]any `json:"document"`
}

// sentence says for people what is in force.
func (p policy) sentence() string {
	text := fmt.Sprintf("The RotationPolicy %s of %s:%d is in force", p.Name, p.Path, p.Line)
	if p.Commit != "" {
		text += " as commit " + p.Commit + " has it"
	}
	if len(p.ApprovedBy) > 0 {
		text += ", approved by " + strings.Join(p.ApprovedBy, "; ")
	}
	return text + "."
}

// inForce is a recorded policy.
type inForce struct {
	policy
	key  string
	read *manifest.Policy // what it says
}

// readPolicies reads the record of the policies in force, without those that the guardrails do not allow any more. What
// this process knows is newer.
func (c *Controller) readPolicies(written *gitsource.Snapshot) ([]inForce, error) {
	var record []policy
	var err error
	if c.policies != nil {
		record = *c.policies
	} else if record, err = c.readRecord(written); err != nil {
		return nil, err
	}
	var found []inForce
	for _, p := range record {
		read := manifest.PolicyOf(p.Document, p.Path, p.Line)
		confine(c.guardrails(), read)
		if outside(c.guardrails(), read) == nil {
			found = append(found, inForce{p, policyKey(c.guardrails(), read), read})
		}
	}
	return found, nil
}

func (c *Controller) readRecord(written *gitsource.Snapshot) ([]policy, error) {
	content, there := written.Get(c.StatusPath + "/" + policiesFile)
	if !there {
		return nil, nil
	}
	var record policyRecord
	if err := yaml.UnmarshalStrict(content, &record); err != nil {
		return nil, fmt.Errorf("%s/%s, the record of the policies in force, cannot be read: %w; restore it from an earlier commit", c.StatusPath, policiesFile, err)
	}
	return record.Policies, nil
}

// policyRecord is the record as it is written.
type policyRecord struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Policies   []policy `json:"policies"`
}

// marshalPolicies writes the record; nil if there is nothing to record.
func marshalPolicies(policies []policy) ([]byte, error) {
	if len(policies) == 0 {
		return nil, nil
	}
	body, err := yaml.Marshal(policyRecord{"gitrota.dev/v1alpha1", "PoliciesInForce", policies})
	if err != nil {
		return nil, fmt.Errorf("writing the policies in force: %w", err)
	}
	return append([]byte("# Written by gitrota: the policies in force. A change of one needs the approval that it asks for itself.\n"), body...), nil
}
