package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/approval"
)

// A policy that asks for approval would be worth nothing if whoever may push could take it away first. So a change of a
// policy, its removal too, is itself judged: by the policy as it was, and by what the guardrails ask for. Until it is
// approved, what the policy said before goes on being in force. What is in force stands in the status path, beside the
// statuses, so that a restart finds it. Policies for which nobody's word is needed are not recorded, and in force as
// they stand.

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

func (p policy) key() string { return p.Namespace + "/" + p.Name }

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

// read reads the recorded policy as a manifest.
func (p policy) read() *manifest.Policy { return manifest.PolicyOf(p.Document, p.Path, p.Line) }

// policyChange is a policy that is not what is in force.
type policyChange struct {
	key    string
	old    *policy          // nil: there was none
	wanted *manifest.Policy // nil: it was removed
	commit string           // that brought or removed it
	claim                   // without files: nobody's word is needed
}

// inForce returns the set with the policies in force in place of those that were written down, and how to take it over
// once all else is known.
func (c *Controller) inForce(ctx context.Context, revision string, set *manifest.Set, blobs map[string]string, written *gitsource.Snapshot) (*manifest.Set, func(), error) {
	before, err := c.readPolicies(written)
	if err != nil {
		return nil, nil, err
	}
	changes, err := c.changesOf(ctx, revision, set, blobs, before)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	followed, record, waiting := c.settlePolicies(set, before, changes)
	followed, refused := fence(c.guardrails(), followed)
	return set.WithPolicies(followed), func() {
		c.policies, c.policyChanges, c.policyProblems = &record, changes, append(waiting, refused...)
	}, nil
}

// changesOf compares the policies of the manifests with those in force.
func (c *Controller) changesOf(ctx context.Context, revision string, set *manifest.Set, blobs map[string]string, inForce []policy) ([]policyChange, error) {
	wanted := map[string]*manifest.Policy{}
	for _, p := range set.Policies {
		wanted[p.Namespace+"/"+p.Name] = p // of two with one name both have a problem, and are not followed anyway
	}
	var changes []policyChange
	for _, old := range inForce {
		if now := wanted[old.key()]; now == nil || now.Digest != old.Digest {
			changes = append(changes, policyChange{key: old.key(), old: &old, wanted: now})
		}
		delete(wanted, old.key())
	}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		changes = append(changes, policyChange{key: key, wanted: wanted[key]})
	}
	for i := range changes {
		if err := c.claimOf(ctx, revision, blobs, &changes[i]); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// claimOf gathers what the approval of a policy's change rests on.
func (c *Controller) claimOf(ctx context.Context, revision string, blobs map[string]string, change *policyChange) error {
	rules := c.policyRules(change.old)
	path := ""
	if change.wanted != nil {
		path = change.wanted.Path
	} else {
		path = change.old.Path
	}
	origin := c.origins[blobs[path]]
	if len(rules) == 0 {
		change.commit = origin.Hash
		return nil
	}
	blob, there := blobs[path]
	if origin.Hash == "" {
		find := c.Repository.Origins
		if !there {
			find = c.Repository.Removals
		}
		found, err := find(ctx, revision, path)
		if err != nil {
			return fmt.Errorf("finding the commit that changed the policy %s: %w", change.key, err)
		}
		if origin = found[path]; there {
			c.origins[blob] = origin
		}
	}
	change.commit = origin.Hash
	f, err := c.evidence(ctx, revision, path, blob, origin, rules)
	if err != nil {
		return err
	}
	change.Bots = c.guardrails().Bots
	change.add(f, origin.Landed.Time)
	return nil
}

// policyRules returns what the change of a policy has to satisfy.
func (c *Controller) policyRules(old *policy) (rules []approval.Rule) {
	guards := c.guardrails()
	guard := guards.Approval
	if guards.PolicyApproval != nil {
		guard = *guards.PolicyApproval
	}
	if needsWord(&guard) {
		rules = append(rules, guard)
	}
	if old != nil {
		if before := old.read(); needsWord(before.Approval) {
			rules = append(rules, *before.Approval)
		}
	}
	return rules
}

// needsWord reports whether a rule asks for more than being on the branch.
func needsWord(rule *approval.Rule) bool {
	return rule != nil && rule.Mode != "" && rule.Mode != approval.Merge
}

// verdictOn judges a change of a policy. It is false as long as the forge has not been asked. The caller holds the lock.
func (c *Controller) verdictOn(change policyChange) (approval.Verdict, bool) {
	if len(change.Files) == 0 {
		return approval.Verdict{Approved: true}, true
	}
	in, known := c.withReviews(change.claim)
	if !known {
		return approval.Verdict{Message: "the forge is being asked"}, false
	}
	return approval.Judge(in), true
}

// verdicts are those on the changes of policies, by what is known now. The caller holds the lock.
func (c *Controller) verdicts() []approval.Verdict {
	var list []approval.Verdict
	for _, change := range c.policyChanges {
		v, _ := c.verdictOn(change)
		list = append(list, v)
	}
	return list
}

// settlePolicies returns the policies in force, and what there is to say about changes that are not. The caller holds the
// lock.
func (c *Controller) settlePolicies(set *manifest.Set, inForce []policy, changes []policyChange) (followed []*manifest.Policy, record []policy, waiting []manifest.Problem) {
	changed := map[string]policyChange{}
	for _, change := range changes {
		changed[change.key] = change
	}
	recorded := map[string]policy{}
	for _, old := range inForce {
		recorded[old.key()] = old
	}
	for _, p := range set.Policies {
		change, differs := changed[p.Namespace+"/"+p.Name]
		if !differs {
			followed = append(followed, p)
			continue
		}
		v, _ := c.verdictOn(change)
		if !v.Approved {
			waiting = append(waiting, notInForce(p.Path, p.Line, p.Namespace, p.Name, "was changed", v))
			continue
		}
		followed = append(followed, p)
		recorded[change.key] = policy{
			Namespace: p.Namespace, Name: p.Name, Digest: p.Digest, Path: p.Path, Line: p.Line, Commit: change.commit, ApprovedBy: v.By, Document: p.Raw,
		}
	}
	for _, change := range changes {
		v, _ := c.verdictOn(change)
		switch {
		case v.Approved && change.wanted == nil:
			delete(recorded, change.key)
		case !v.Approved && change.old != nil:
			followed = append(followed, change.old.read())
			if change.wanted == nil {
				waiting = append(waiting, notInForce(change.old.Path, change.old.Line, change.old.Namespace, change.old.Name, "was removed", v))
			}
		}
	}
	guarded := len(c.policyRules(nil)) > 0
	for _, key := range slices.Sorted(maps.Keys(recorded)) {
		if p := recorded[key]; guarded || needsWord(p.read().Approval) {
			record = append(record, p)
		}
	}
	return followed, record, waiting
}

// notInForce says that a change of a policy waits.
func notInForce(path string, line int, namespace, name, what string, v approval.Verdict) manifest.Problem {
	return manifest.Problem{
		Path: path, Line: line, Namespace: namespace, Name: name, Reason: ReasonPolicyNotApproved,
		Message: fmt.Sprintf("the RotationPolicy %s %s, and the change is not in force: %s", name, what, v.Message),
		Hint:    "what was in force before is still in force",
	}
}

// readPolicies reads the record of the policies in force. What this process knows is newer.
func (c *Controller) readPolicies(written *gitsource.Snapshot) ([]policy, error) {
	if c.policies != nil {
		return *c.policies, nil
	}
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
