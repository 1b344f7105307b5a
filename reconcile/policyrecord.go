package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
)

// What is in force must not be forgotten, for whoever can make the agent forget a policy needs nobody's approval to do
// without it. So it is recorded twice: in the status path, for people and for a new cluster, and in a Secret of the
// cluster ([Options].PolicyRecord), out of reach of those who can write to the repository. Once that Secret exists it
// alone counts, and what the status path says is put right.
//
// The Secret is written before what it says is followed. An agent that dies before the write has followed the record of
// before, one that dies after it finds the new one, and one that loses the answer reads it again.

// policiesFile is where the policies in force are recorded: below the status path, and as a key of the Secret.
const policiesFile = "policies.yaml"

// annotationRepository names the repository and the folder of statuses whose policies a record has.
const annotationRepository = "gitrota.dev/repository"

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

// readPolicies reads the record of the policies in force, without those that the guardrails do not allow any more.
func (c *Controller) readPolicies(ctx context.Context, written *gitsource.Snapshot) ([]inForce, error) {
	record, err := c.readRecord(ctx, written)
	if err != nil {
		return nil, err
	}
	var found []inForce
	for _, p := range record {
		read := manifest.PolicyOf(p.Document, p.Path, p.Line)
		confine(c.guards, read)
		if outside(c.guards, read) == nil {
			found = append(found, inForce{p, policyKey(c.guards, read), read})
		}
	}
	return found, nil
}

// readRecord returns what was recorded last: in the cluster, else by this process, else in Git.
func (c *Controller) readRecord(ctx context.Context, written *gitsource.Snapshot) ([]policy, error) {
	if err := c.readKept(ctx); err != nil {
		return nil, err
	}
	if c.kept != nil { // also where a reading was cut off after that, and nothing else is known yet
		record, err := parsePolicies([]byte(c.kept.Data[policiesFile].Reveal()))
		if err != nil {
			c.kept = nil // somebody may mend it
			return nil, fmt.Errorf("the Secret %s, the record of the policies in force, cannot be read: %w; restore its key %s from that file in the status path", c.PolicyRecord, err, policiesFile)
		}
		return record, nil
	}
	if c.policies != nil {
		return *c.policies, nil
	}
	content, _ := written.Get(c.StatusPath + "/" + policiesFile)
	record, err := parsePolicies(content)
	if err != nil {
		return nil, fmt.Errorf("%s/%s, the record of the policies in force, cannot be read: %w; restore it from an earlier commit", c.StatusPath, policiesFile, err)
	}
	return record, nil
}

// readKept reads the record of the cluster, if there is one and it is not known.
func (c *Controller) readKept(ctx context.Context) error {
	if c.PolicyRecord == "" || c.kept != nil {
		return nil
	}
	namespace, name, _ := strings.Cut(c.PolicyRecord, "/")
	secret, err := c.Engine.Cluster.Secret(ctx, namespace, name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the record of the policies in force: %w", err)
	}
	if of := secret.Annotations[annotationRepository]; of != c.recordOf() {
		return fmt.Errorf("the Secret %s records the policies in force of %q and not of %s; give each agent a Secret of its own or, if the repository has moved, set its annotation %s to %q",
			c.PolicyRecord, of, c.recordOf(), annotationRepository, c.recordOf())
	}
	c.kept = &secret
	return nil
}

// recordOf says whose policies in force are recorded.
func (c *Controller) recordOf() string { return c.Engine.Owner + " " + c.StatusPath }

// keepPolicies brings the record into the cluster, if it is to be there and is not. After an error, what is there is read
// again.
func (c *Controller) keepPolicies(ctx context.Context, record []policy) error {
	if c.PolicyRecord == "" {
		return nil
	}
	content, err := marshalPolicies(record)
	if err != nil || c.kept != nil && c.kept.Data[policiesFile].Reveal() == string(content) {
		return err
	}
	write, secret := c.Engine.Cluster.UpdateSecret, Secret{}
	if c.kept != nil {
		secret = c.kept.clone()
	} else {
		write = c.Engine.Cluster.CreateSecret
		secret.Namespace, secret.Name, _ = strings.Cut(c.PolicyRecord, "/")
		secret.Type = "Opaque"
		secret.Labels = map[string]string{"app.kubernetes.io/managed-by": "gitrota"}
		secret.Annotations = map[string]string{
			annotationRepository: c.recordOf(),
			"gitrota.dev/about":  "the RotationPolicies in force. Whoever can write this decides whose approval rotations need.",
		}
	}
	secret.Data = map[string]credential.Password{policiesFile: credential.NewPassword(string(content))}
	c.kept = nil
	secret, err = write(ctx, secret)
	if err != nil {
		return fmt.Errorf("recording the policies in force: %w", err)
	}
	c.kept = &secret
	return nil
}

// policyRecord is the record as it is written.
type policyRecord struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Policies   []policy `json:"policies"`
}

func parsePolicies(content []byte) ([]policy, error) {
	var record policyRecord
	err := yaml.UnmarshalStrict(content, &record)
	return record.Policies, err
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
