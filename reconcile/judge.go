package reconcile

import (
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
)

// judge compares the requests of the manifests with the statuses: it refuses those that are wrong, and notes changes to
// those that have ended. The caller holds the lock.
func (c *Controller) judge(blobs map[string]string) {
	now := c.Engine.Clock.Now()
	written := map[string]bool{}
	for _, r := range c.set.Requests {
		key := r.Namespace + "/" + r.Name
		if written[key] {
			continue // one of two with the same name: the status of the first names the other's place
		}
		written[key] = true
		old, known := c.statuses[key]
		bound := known && old.Request.ID != "" && old.Phase.Finished()
		if bound && len(r.Problems) == 0 && old.Request.ID == r.ID {
			continue // served: whatever file it is in now, it is the same request
		}
		request := requestOf(c.set, r, c.origins[blobs[r.Path]])
		problems := c.set.Blockers(r, c.set.Database(r.Namespace, r.Spec.DatabaseRef.Name))
		if !bound && len(problems) == 0 {
			problems = c.guarded(r, request)
		}
		if !bound && len(problems) == 0 {
			request.Source.Signer, problems = c.signedBy(r, blobs)
		}
		switch {
		case bound && len(r.Problems) > 0:
			c.note(old, r.Problems[0].Reason, manifestMessage(r.Problems), now)
		case bound:
			c.note(old, ReasonImmutable, request.Source.locate("the spec differs from the one that was served, and a request is immutable; nothing was done; to rotate again add a request with another name"), now)
		case known && old.Phase == PhaseProgressing && (old.Request.ID != request.ID || len(problems) > 0):
			// It runs on as it was taken up.
		case len(problems) > 0:
			c.deny(old, request, problems, now)
		case !known || old.Request.ID != request.ID:
			c.statuses[request.Key()] = Status{Request: request}
			delete(c.dirty, request.Key()) // what was to be said of another content
		default:
			old.Request = request
			c.statuses[request.Key()] = old
		}
	}
	for key, s := range c.inGit {
		if _, known := c.statuses[key]; !known && !written[key] {
			s.Phase = PhasePending // Git says that it had begun, and nothing bears that out
			c.statuses[key] = s
		}
	}
	clear(c.leaving)
	for key, s := range c.statuses {
		if !written[key] && s.Request.ID != "" && s.Phase != PhaseProgressing && !s.Phase.Finished() {
			withdrawn := s.clone()
			withdrawn.Phase = PhaseSkipped
			skipped := condition(TypeSkipped, "the manifest was removed before the request began")
			skipped.Reason = ReasonWithdrawn
			withdrawn.set(skipped, now)
			if s.Request.Database != "" {
				c.leaving[key] = withdrawn
			} else {
				c.update(withdrawn) // there is no keeper that could know of it
			}
		}
	}
}

// deny gives a manifest that cannot be read as a request its status. It is bound to no rotation id: a mended manifest
// is a request that has not run.
func (c *Controller) deny(old Status, request Request, problems []manifest.Problem, now time.Time) {
	request.ID = ""
	status := Status{Request: request, Phase: PhaseDenied}
	denied := condition(TypeDenied, manifestMessage(problems))
	denied.Reason = problems[0].Reason
	status.set(denied, now)
	if old.Phase == PhaseDenied && len(old.Conditions) == 1 && old.Conditions[0].Message == denied.Message {
		return
	}
	c.update(status)
}

// note adds to an ended request what has become of its manifest. Its phase stays.
func (c *Controller) note(old Status, reason, message string, now time.Time) {
	s := old.clone()
	if s.set(Condition{Type: TypeRequestChanged, Status: "True", Reason: reason, Message: message}, now) {
		c.update(s)
	}
}

// requestOf takes a request out of its manifest, with what the other documents say about its database.
func requestOf(set *manifest.Set, r *manifest.Request, origin gitsource.Origin) Request {
	request := Request{
		Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, ID: r.ID,
		Database: r.Spec.DatabaseRef.Name, Always: r.Spec.Apply == manifest.ApplyAlways, MaxRetries: r.Spec.MaxRetries,
		Undo:     r.Spec.RotationID,
		Manifest: r.Raw,
		Source: Source{
			Commit: origin.Hash, Time: origin.Time.UTC(), Path: r.Path, Line: r.Line,
		},
	}
	if server := set.Server(request.Namespace, request.Database); server != nil {
		request.Server = &server.Spec
	}
	rules, _ := set.RulesFor(set.Database(request.Namespace, request.Database)) // a problem is a blocker
	request.Consumers, request.Password = rules.Consumers, rules.Password
	if origin.Author.Name != "" {
		request.Source.Author = origin.Author.String()
	}
	if origin.Landed.Hash != origin.Hash {
		request.Source.Merge, request.Source.Merger = origin.Landed.Hash, origin.Landed.Committer.String()
	}
	if r.Spec.Timeout != nil {
		request.Timeout = *r.Spec.Timeout
	}
	if r.Spec.Authentication != nil {
		request.SecretRef = r.Spec.Authentication.SecretRef.Name
	}
	return request
}

// manifestMessage lists the problems of a manifest, each with its place and what to do.
func manifestMessage(problems []manifest.Problem) string {
	var lines []string
	for _, p := range problems {
		line := p.Where() + ": " + p.Message
		if p.Hint != "" {
			line += "; " + p.Hint
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
