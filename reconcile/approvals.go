package reconcile

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/schedule"
)

// A request runs only with the approval that the policies in force and the guardrails ask for. What is approved is the
// content of the files that it rests on, as the branch has them at the commit that is judged; every load of the
// repository judges anew, until the request begins. Where neither a policy nor the guardrails say anything, being on the
// branch is enough, and nothing is said of it.

// claim is what the approval of one request rests on.
type claim struct {
	approval.Input
	reviews []needed // what the forge has to be asked for, in the order of the files; one without a path needs nothing
}

// claims gathers what the approvals of the requests that have not ended rest on. What the forge knows is not among it.
func (c *Controller) claims(ctx context.Context, revision string, set *manifest.Set, blobs map[string]string, inGit map[string]Status) (map[string]claim, error) {
	found := map[string]claim{}
	guards := c.guards
	for _, r := range set.Requests {
		key := r.Namespace + "/" + r.Name
		if s, ok := inGit[key]; ok && s.Phase.Finished() && s.Request.ID == r.ID || len(set.Blockers(r, set.Database(r.Namespace, r.Spec.DatabaseRef.Name))) > 0 {
			continue
		}
		rules, asked := c.approvalRules(set, r)
		if !asked {
			continue
		}
		own := claim{Input: approval.Input{Bots: guards.Bots}}
		for _, file := range set.Sources(r) {
			f, err := c.evidence(ctx, revision, file, blobs[file], c.origins[blobs[file]], rules)
			if err != nil {
				return nil, err
			}
			own.add(f, c.origins[blobs[file]].Landed.Time)
		}
		found[key] = own
	}
	return found, nil
}

// approvalRules returns the rules that a request has to satisfy, and whether anybody has said anything about approval.
func (c *Controller) approvalRules(set *manifest.Set, r *manifest.Request) (rules []approval.Rule, asked bool) {
	if guard := c.guards.Approval; guard.Mode != "" {
		rules, asked = append(rules, guard), true
	}
	policy, _ := set.RulesFor(set.Database(r.Namespace, r.Spec.DatabaseRef.Name)) // a problem is a blocker
	if policy.Approval != nil {
		rules, asked = append(rules, *policy.Approval), true
	}
	return rules, asked
}

// strictness reports whether anybody asks for approvals at all.
func (c *Controller) strictness(set *manifest.Set) bool {
	return c.guards.Approval.Mode != "" || slices.ContainsFunc(set.Policies, func(p *manifest.Policy) bool { return p.Approval != nil })
}

// add notes a file, and what has to be asked for it.
func (own *claim) add(f approval.File, landed time.Time) {
	own.Files = append(own.Files, f)
	need := needed{}
	if asksFor(f.Rules, approval.Reviews) {
		need = needed{path: f.Path, blob: f.Blob, landed: f.Landed.Hash, at: landed}
	}
	own.reviews = append(own.reviews, need)
}

// evidence gathers what Git has to say about a file: who brought its content, who merged it, and who has signed for it.
func (c *Controller) evidence(ctx context.Context, revision, file, blob string, origin gitsource.Origin, rules []approval.Rule) (approval.File, error) {
	f := approval.File{Path: file, Blob: contentOf(blob), Rules: rules, Added: c.signedCommit(origin.Commit), Landed: c.signedCommit(origin.Landed)}
	if !asksFor(rules, approval.Signatures) {
		return f, nil
	}
	since, err := c.since(ctx, revision, origin.Hash)
	if err != nil {
		return f, err
	}
	for _, commit := range since {
		for _, subject := range commit.Trailers(approval.Trailer) {
			if subject == approval.Subject(f.Path, f.Blob) {
				f.Approving = append(f.Approving, c.signedCommit(commit))
			}
		}
	}
	return f, nil
}

// contentOf takes the hash of a file's content out of a key of path and blob; empty for a file that is not there.
func contentOf(key string) string {
	return key[strings.LastIndexByte(key, '@')+1:]
}

// since returns the commits after another one. Many files ask for the same ones.
func (c *Controller) since(ctx context.Context, revision, commit string) ([]gitsource.Commit, error) {
	key := revision + " " + commit
	if list, known := c.between[key]; known {
		return list, nil
	}
	list, err := c.Repository.Between(ctx, revision, commit)
	if err == nil {
		c.between[key] = list
	}
	return list, err
}

// signedCommit says who has signed a commit.
func (c *Controller) signedCommit(commit gitsource.Commit) approval.Commit {
	described := approval.Commit{
		Hash: commit.Hash, Author: commit.Author.String(), Address: commit.Author.Email, Committer: commit.Committer.String(),
	}
	if c.ApprovalSigners == nil {
		described.Problem = "gitrota was given no allowed signers (--approval-signers)"
		return described
	}
	signer, err := c.ApprovalSigners.Verify(commit.Raw)
	switch {
	case err == nil:
		described.Principal, described.Key = signer.Principal, signer.Key
	case !isUnsigned(err):
		described.Problem = err.Error()
	}
	return described
}

func asksFor(rules []approval.Rule, mode approval.Mode) bool {
	for _, rule := range rules {
		if rule.Mode == mode {
			return true
		}
	}
	return false
}

// weigh takes the verdicts over into the statuses. What was cleared before is not any more unless it is again: by now,
// the same request may rest on another content. The caller holds the lock.
func (c *Controller) weigh() {
	clear(c.cleared)
	for key, own := range c.claimed {
		s, known := c.statuses[key]
		if !known || s.Request.ID == "" || s.Phase.Finished() || s.Phase == PhaseProgressing || c.busy[s.Request.DatabaseKey()] == key {
			continue
		}
		if !c.surveyed && strings.HasPrefix(s.Request.Source.Path, path.Join(c.Path, scheduledFolder)+"/") {
			continue // what is due is not known yet
		}
		planned, scheduled := c.askedFor(s.Request)
		if scheduled && planned.Rule.OnDue != schedule.PullRequest {
			c.approve(s, approval.Verdict{Approved: true, Reason: ReasonScheduled, Message: "the schedule of " + planned.From + " asks for it"})
			continue
		}
		in, known := c.withReviews(own)
		if !known {
			continue // the forge has not been asked yet
		}
		for i := range in.Files {
			in.Files[i].Scheduled = scheduled && in.Files[i].Path == s.Request.Source.Path
		}
		c.approve(s, approval.Judge(in))
	}
}

// approve notes a verdict. The caller holds the lock.
func (c *Controller) approve(s Status, v approval.Verdict) {
	key := s.Request.Key()
	c.cleared[key] = v.Approved
	judged := s.clone()
	judged.Request.ApprovedBy = v.By
	verdict := Condition{Type: TypeApproved, Status: "True", Reason: v.Reason, Message: v.Message}
	judged.Phase = PhaseApproved
	if !v.Approved {
		verdict.Status, judged.Phase = "False", PhaseWaitingForApproval
		judged.drop(TypeWaiting) // first things first
	}
	judged.set(verdict, c.Engine.Clock.Now())
	if !equal(s, judged) {
		c.update(judged)
	}
}

// mayBegin reports whether nobody's word is missing. The caller holds the lock.
func (c *Controller) mayBegin(s Status) bool {
	_, asked := c.claimed[s.Request.Key()]
	return s.Phase == PhaseProgressing || !asked || c.cleared[s.Request.Key()]
}
