package reconcile

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/policies/schedule"
)

// Where a schedule says onDue: PullRequest, what is due is proposed: a branch with the request, and a pull request that
// says why. Its branch is named after the request, so that nobody proposes a date twice; a pull request that people close
// without merging it declines that date, and one that was overtaken, because the database was rotated or the next date has
// come, is closed. What is open is known by the branches, and nothing of it has to be remembered.

// proposalPrefix is what the branches of proposals begin with.
const proposalPrefix = "gitrota/"

// overtaken is what gitrota adds to a pull request that it closes itself, which declines nothing: the date may become due
// again.
const overtaken = "Closed by gitrota: the database was rotated otherwise, the next date has come, or the schedule has changed."

// proposal is a request that is to be proposed.
type proposal struct {
	Planned
	last   Status // the request that ran last; zero: none
	branch string
}

// proposals lists what the plan wants people to decide about. The caller holds the lock.
func (c *Controller) proposals() []proposal {
	known := histories(c.statuses)
	var wanted []proposal
	for _, p := range c.replan() {
		if p.Rule.OnDue == schedule.PullRequest && p.Due {
			d := p.Database.Namespace + "/" + p.Database.Name
			wanted = append(wanted, proposal{p, known[d].last, path.Join(proposalPrefix+p.Database.Namespace, p.Name)})
		}
	}
	return wanted
}

// Propose brings the pull requests of what is due up to date, in the background. Once in an interval is enough, and after
// a database was rotated; where no schedule proposes anything it costs nothing.
func (c *Controller) Propose(ctx context.Context) {
	if c.manifests == nil || !c.recovered || !c.surveyed {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proposing || !slices.ContainsFunc(c.replan(), func(p Planned) bool { return p.Rule.OnDue == schedule.PullRequest }) {
		return
	}
	wanted := c.proposals()
	c.proposing = true
	c.running.Go(func() {
		limited, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		declined, err := c.propose(limited, wanted)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.proposing = false
		for database, date := range declined {
			if !slices.Contains(c.declined[database], date) {
				c.declined[database] = append(c.declined[database], date)
				c.planned = nil
				c.wake()
			}
		}
		if trouble := text(err); trouble != c.unproposed {
			if c.unproposed = trouble; trouble != "" && ctx.Err() == nil {
				c.Log.Error("rotations that are due cannot be proposed", "error", err)
			}
		}
	})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// propose returns the dates that people have declined. One that fails does not keep the others.
func (c *Controller) propose(ctx context.Context, wanted []proposal) (declined map[string]time.Time, err error) {
	if c.Forge == nil {
		if len(wanted) == 0 {
			return nil, nil
		}
		return nil, fmt.Errorf("%s asks for pull requests, and gitrota was not told which forge to ask (--forge)", wanted[0].From)
	}
	open, err := c.Repository.Branches(ctx, proposalPrefix)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(open, func(branch, _ string) bool {
		_, scheduled := dateOf(path.Base(branch))
		return !scheduled // somebody else's, perhaps the one with the statuses
	})
	declined = map[string]time.Time{}
	for _, p := range wanted {
		delete(open, p.branch)
		if p.Held != "" {
			continue // what was proposed stays as it is
		}
		no, failed := c.proposeOne(ctx, p)
		if failed != nil {
			err = failed
		} else if no {
			declined[p.Database.Namespace+"/"+p.Database.Name] = p.Date
		}
	}
	for _, branch := range slices.Sorted(maps.Keys(open)) { // nothing is due there any more
		if failed := c.retract(ctx, branch, open[branch]); failed != nil {
			err = failed
		}
	}
	return declined, err
}

// proposeOne opens the pull request of one date, or brings it up to date, and reports whether people have declined it.
func (c *Controller) proposeOne(ctx context.Context, p proposal) (declined bool, err error) {
	known, err := c.Forge.ByBranch(ctx, p.branch, c.Branch)
	if err != nil {
		return false, err
	}
	title, body := p.title(), p.body(c.Engine.Clock.Now())
	for _, request := range known {
		switch {
		case request.Merged:
			return false, nil // it is in Git, or will be in a moment
		case request.Closed && strings.HasSuffix(strings.TrimSpace(request.Body), overtaken):
			continue
		case request.Closed:
			return true, nil
		case request.Title == title && strings.TrimSpace(request.Body) == strings.TrimSpace(body):
			return false, nil
		}
		return false, c.Forge.Edit(ctx, request.Number, title, body)
	}
	err = c.Repository.Propose(ctx, p.branch, []string{c.Path}, func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
		return ScheduledChange(tip, c.Path, []Planned{p.Planned})
	})
	if err != nil {
		return false, err
	}
	_, err = c.Forge.Propose(ctx, forge.Proposal{Branch: p.branch, Base: c.Branch, Title: title, Body: body})
	return false, err
}

// retract closes what was overtaken and deletes its branch, of which the forge keeps what the pull request had.
func (c *Controller) retract(ctx context.Context, branch, tip string) error {
	known, err := c.Forge.ByBranch(ctx, branch, c.Branch)
	if err != nil {
		return err
	}
	for _, request := range known {
		if !request.Closed {
			if err := c.Forge.Edit(ctx, request.Number, request.Title, strings.TrimSpace(request.Body)+"\n\n"+overtaken); err != nil {
				return err
			}
			if err := c.Forge.Close(ctx, request.Number); err != nil {
				return err
			}
		}
	}
	return c.Repository.Retract(ctx, branch, tip)
}

func (p proposal) title() string {
	return fmt.Sprintf("Rotate %s/%s, due since %s", p.Database.Namespace, p.Database.Name, p.Drawn.UTC().Format(time.DateOnly))
}

// body says why, how old the credential is, and how the last rotation went. It changes once a day.
func (p proposal) body(now time.Time) string {
	age := fmt.Sprintf("Its credential is %s old, from %s", days(now.Sub(p.since)), p.since.UTC().Format(time.RFC3339))
	if p.Rotated.IsZero() {
		age += ", and no request in this repository has rotated it yet"
	}
	last := ""
	if p.last.Phase != "" {
		last = fmt.Sprintf("\n\nThe last request, `%s`, ended as %s at %s.", p.last.Request.Key(), p.last.Phase, p.last.ended().UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("The credential of %s `%s/%s` is %s (%s).\n\n%s.%s\n\nMerge this to rotate it. Close it to skip this date. "+
		"It is closed by itself when the database is rotated otherwise, or when the next date has come.",
		p.Database.Kind, p.Database.Namespace, p.Database.Name, p.Message, p.From, age, last)
}

func days(d time.Duration) string {
	if n := int(d / (24 * time.Hour)); n != 1 {
		return fmt.Sprintf("%d days", n)
	}
	return "1 day"
}
