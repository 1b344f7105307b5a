package reconcile

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/approval"
)

// A policy that asks for approval would be worth nothing if whoever may push could take it away first, or put a more
// specific one beside it. So a change of a policy, its removal and a new one too, is itself judged: by every policy in
// force that may be about one of its databases, and by what the guardrails ask for. Until it is approved, what the policy
// said before goes on being in force. What is in force is recorded, so that a restart finds it (policyrecord.go). Policies
// for which nobody's word is needed are not recorded, and in force as they stand.

// policyChange is a policy that is not what is in force.
type policyChange struct {
	key    string
	old    *inForce         // nil: there was none
	wanted *manifest.Policy // nil: it was removed
	commit string           // that brought or removed it
	claim                   // without files: nobody's word is needed
}

// withPolicies returns the set with the policies in force in place of those that were written down, and how to take it over
// once all else is known.
func (c *Controller) withPolicies(ctx context.Context, revision string, set *manifest.Set, blobs map[string]string, written *gitsource.Snapshot) (*manifest.Set, func(), error) {
	allowed, refused := fence(c.guards, set.Policies)
	set = set.WithPolicies(allowed)
	before, err := c.readPolicies(ctx, written)
	if err != nil {
		return nil, nil, err
	}
	changes, err := c.changesOf(ctx, revision, set, blobs, before)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	followed, record, waiting := c.settlePolicies(set, before, changes)
	c.mu.Unlock()
	if err := c.keepPolicies(ctx, record); err != nil {
		return nil, nil, err
	}
	return set.WithPolicies(followed), func() {
		c.policies, c.policyChanges, c.policyProblems = &record, changes, append(waiting, refused...)
	}, nil
}

// changesOf compares the policies of the manifests with those in force.
func (c *Controller) changesOf(ctx context.Context, revision string, set *manifest.Set, blobs map[string]string, before []inForce) ([]policyChange, error) {
	wanted := map[string]*manifest.Policy{}
	for _, p := range set.Policies {
		wanted[policyKey(c.guards, p)] = p // of two with one name both have a problem, and are not followed anyway
	}
	var changes []policyChange
	for _, old := range before {
		if now := wanted[old.key]; now == nil || now.Digest != old.Digest {
			changes = append(changes, policyChange{key: old.key, old: &old, wanted: now})
		}
		delete(wanted, old.key)
	}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		changes = append(changes, policyChange{key: key, wanted: wanted[key]})
	}
	for i := range changes {
		if err := c.claimOf(ctx, revision, blobs, &changes[i], c.rulesOf(changes[i], before)); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// claimOf gathers what the approval of a policy's change rests on.
func (c *Controller) claimOf(ctx context.Context, revision string, blobs map[string]string, change *policyChange, rules []approval.Rule) error {
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
	change.Bots = c.guards.Bots
	change.add(f, origin.Landed.Time)
	return nil
}

// rulesOf returns what the change of a policy has to satisfy.
func (c *Controller) rulesOf(change policyChange, before []inForce) []approval.Rule {
	rules := c.policyGuards()
	for _, p := range before {
		touched := change.old != nil && p.read.Overlaps(change.old.read) || change.wanted != nil && p.read.Overlaps(change.wanted)
		known := func(rule approval.Rule) bool { return reflect.DeepEqual(rule, *p.read.Approval) }
		if needsWord(p.read.Approval) && touched && !slices.ContainsFunc(rules, known) {
			rules = append(rules, *p.read.Approval)
		}
	}
	return rules
}

// policyGuards returns what the guardrails ask for.
func (c *Controller) policyGuards() (rules []approval.Rule) {
	guards := c.guards
	guard := guards.Approval
	if guards.PolicyApproval != nil {
		guard = *guards.PolicyApproval
	}
	if needsWord(&guard) {
		rules = append(rules, guard)
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
func (c *Controller) settlePolicies(set *manifest.Set, before []inForce, changes []policyChange) (followed []*manifest.Policy, record []policy, waiting []manifest.Problem) {
	changed := map[string]policyChange{}
	for _, change := range changes {
		changed[change.key] = change
	}
	recorded := map[string]policy{}
	for _, old := range before {
		recorded[old.key] = old.policy
	}
	for _, p := range set.Policies {
		change, differs := changed[policyKey(c.guards, p)]
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
			followed = append(followed, change.old.read)
			if change.wanted == nil {
				waiting = append(waiting, notInForce(change.old.Path, change.old.Line, change.old.Namespace, change.old.Name, "was removed", v))
			}
		}
	}
	guarded := len(c.policyGuards()) > 0
	for _, key := range slices.Sorted(maps.Keys(recorded)) {
		p := manifest.PolicyOf(recorded[key].Document, recorded[key].Path, recorded[key].Line)
		if guarded || slices.ContainsFunc(followed, func(other *manifest.Policy) bool { return needsWord(other.Approval) && other.Overlaps(p) }) {
			record = append(record, recorded[key])
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
