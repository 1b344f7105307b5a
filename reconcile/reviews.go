package reconcile

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/policies/approval"
)

// Forge is what the controller needs of the forge that hosts the repository; [forge.Client] has it.
type Forge interface {
	// Merged lists the pull requests that were merged to a branch and updated since a time, the newest first.
	Merged(ctx context.Context, base string, since time.Time) ([]forge.PullRequest, error)
	// Find returns one pull request, with who merged it, which a list does not always tell.
	Find(ctx context.Context, number int) (forge.PullRequest, error)
	// Reviews lists what was said of a pull request, the oldest first, and Changes the paths that it changes.
	Reviews(ctx context.Context, number int) ([]forge.Review, error)
	Changes(ctx context.Context, number int) ([]string, error)
	// Blob returns Git's hash of a file at a commit; empty if it is not there.
	Blob(ctx context.Context, commit, path string) (string, error)

	// ByBranch lists the pull requests of a branch to another one, in any state, the newest first. Propose opens one, Edit
	// changes its words, and Close closes it without merging.
	ByBranch(ctx context.Context, branch, base string) ([]forge.PullRequest, error)
	Propose(ctx context.Context, p forge.Proposal) (forge.PullRequest, error)
	Edit(ctx context.Context, number int, title, body string) error
	Close(ctx context.Context, number int) error
	// Me returns gitrota's own account.
	Me(ctx context.Context) (string, error)
}

// needed is a content of which the forge has to tell which pull request brought it.
type needed struct {
	path, blob string
	landed     string    // the commit with which it came to the branch
	at         time.Time // when that was made
}

// answered is what the forge had to say of it.
type answered struct {
	requests []approval.PullRequest
	trouble  string // why it could not be asked; empty: it was
}

const (
	// askTime bounds how long the forge is asked for one round.
	askTime = time.Minute
	// clockSkew is how far the clock of whoever merged may be from that of whoever committed.
	clockSkew = time.Hour
	// maxCandidates bounds how many pull requests are looked at for one content, those first that were merged first after
	// it had landed.
	maxCandidates = 20
)

// withReviews adds what the forge has said. It is false as long as the forge has not been asked. The caller holds the
// lock.
func (c *Controller) withReviews(own claim) (approval.Input, bool) {
	in := own.Input
	in.Files = slices.Clone(in.Files)
	if c.account != "" {
		in.Bots = append(slices.Clone(in.Bots), c.account)
	}
	for i, need := range own.reviews {
		if need.path == "" {
			continue
		}
		answer, known := c.reviewed[need]
		switch {
		case c.Forge == nil:
			answer.trouble = "gitrota was not told which forge to ask (--forge)"
		case !known:
			return in, false
		}
		in.Files[i].PullRequests, in.Files[i].Unasked = answer.requests, answer.trouble
	}
	return in, true
}

// askForge asks, in the background, what the approvals of requests and of policies still have to know. What was
// approved and has not begun is asked about again: a review can be dismissed.
func (c *Controller) askForge(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var needs []needed
	note := func(own claim) {
		for _, need := range own.reviews {
			if need.path != "" && !slices.Contains(needs, need) {
				needs = append(needs, need)
			}
		}
	}
	for key, own := range c.claimed {
		if s := c.statuses[key]; !s.Phase.Finished() && s.Phase != PhaseProgressing {
			note(own)
		}
	}
	for _, change := range c.policyChanges {
		note(change.claim)
	}
	if c.Forge == nil || len(needs) == 0 || c.asking {
		return
	}
	c.asking = true
	revision, account := c.manifests.Revision, c.account
	c.running.Go(func() {
		limited, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		answers, account := c.ask(limited, revision, needs, account)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asking = false
		if ctx.Err() != nil {
			return
		}
		before := c.verdicts()
		c.account = account
		c.reviewed = answers // and nothing about what nobody needs any more
		c.weigh()
		c.stale = c.stale || !reflect.DeepEqual(before, c.verdicts()) // and so are the policies in force
		c.wake()
	})
}

// ask asks the forge about each content and, where that is not known, for gitrota's own account, whose reviews do not
// count. There are credentials that belong to no account.
func (c *Controller) ask(ctx context.Context, revision string, needs []needed, account string) (map[needed]answered, string) {
	answers := map[needed]answered{}
	oldest := slices.MinFunc(needs, func(a, b needed) int { return a.at.Compare(b.at) })
	var merged []forge.PullRequest
	var err error
	if account == "" {
		account, err = c.Forge.Me(ctx)
	}
	if !errors.Is(err, forge.ErrUnavailable) {
		merged, err = c.Forge.Merged(ctx, c.Branch, oldest.at.Add(-clockSkew))
	}
	slices.SortStableFunc(merged, func(a, b forge.PullRequest) int { return a.MergedAt.Compare(b.MergedAt) })
	for _, need := range needs {
		var answer answered
		if err == nil {
			answer.requests, err = c.broughtBy(ctx, revision, need, merged)
		}
		if err != nil {
			answer = answered{trouble: err.Error()}
			if !errors.Is(err, forge.ErrUnavailable) {
				err = nil // the next one may be answered
			}
		}
		answers[need] = answer
	}
	return answers, account
}

// broughtBy finds the pull requests that may have brought a content: those that were merged to the branch, behind whose
// merge the content has landed, and that change its path.
func (c *Controller) broughtBy(ctx context.Context, revision string, need needed, merged []forge.PullRequest) ([]approval.PullRequest, error) {
	var found []approval.PullRequest
	for _, p := range merged {
		if len(found) == maxCandidates {
			break
		}
		changes, err := c.brings(ctx, revision, need, p)
		if err != nil {
			return nil, fmt.Errorf("pull request #%d: %w", p.Number, err)
		}
		if !changes {
			continue
		}
		if p, err = c.Forge.Find(ctx, p.Number); err != nil {
			return nil, err
		}
		reviews, err := c.Forge.Reviews(ctx, p.Number)
		if err != nil {
			return nil, err
		}
		blob, err := c.Forge.Blob(ctx, p.Head, need.path)
		if err != nil {
			return nil, err
		}
		own := approval.PullRequest{
			Number: p.Number, Link: p.Link, Author: p.Author, Head: p.Head, Blob: blob, MergedBy: p.MergedBy, MergedAs: p.MergedAs,
		}
		for _, r := range reviews {
			own.Reviews = append(own.Reviews, approval.Review{Account: r.Author, State: approval.State(r.State), Commit: r.Commit, Link: r.Link, At: r.At})
		}
		found = append(found, own)
	}
	return found, nil
}

// brings reports whether a pull request may have brought a content. What Git says is asked first: it costs less.
func (c *Controller) brings(ctx context.Context, revision string, need needed, p forge.PullRequest) (bool, error) {
	if p.MergedAs == "" {
		return false, nil
	}
	for _, step := range [][2]string{{revision, p.MergedAs}, {p.MergedAs, need.landed}} {
		if behind, err := c.Repository.Contains(ctx, step[0], step[1]); err != nil || !behind {
			return false, err
		}
	}
	changes, err := c.Forge.Changes(ctx, p.Number)
	return slices.Contains(changes, need.path), err
}
