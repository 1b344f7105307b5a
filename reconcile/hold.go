package reconcile

import (
	"slices"
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/pace"
	"github.com/gitrota/gitrota/policies/schedule"
)

// turn is a request whose turn it is in its database.
type turn struct {
	Status
	superseded []Status
	rules      manifest.Rules
}

// urgent requests wait for no window and for nobody's turn: those that go on, and those that bring a database back to
// where it was.
func (t turn) urgent() bool {
	return t.Request.Kind == manifest.KindRollback || t.began()
}

// began reports whether the request was taken up before, perhaps by an earlier process.
func (t turn) began() bool { return t.Has(TypeRotateAuth) }

// admit starts those of the requests that may begin now, and notes of the others what they wait for. The caller holds
// the lock.
func (c *Controller) admit(turns []turn, start func(turn)) {
	now := c.Engine.Clock.Now()
	c.opening = time.Time{}
	evaluator := new(schedule.Evaluator)
	in := pace.Input{Running: c.paced(), Max: c.guards.Concurrent(), Failed: c.failures(turns)}
	byKey := map[string]turn{}
	for _, t := range turns {
		if t.rules.Maintenance != nil && !t.urgent() {
			if open := evaluator.Open(*t.rules.Maintenance, now); !open.Open {
				c.wait(t, string(open.Reason), open.Message, true)
				if !open.Next.IsZero() && (c.opening.IsZero() || open.Next.Before(c.opening)) {
					c.opening = open.Next
				}
				continue
			}
		}
		byKey[t.Request.Key()] = t
		in.Waiting = append(in.Waiting, pacedBy(t.Request, t.rules, t.urgent()))
	}
	if len(in.Waiting) == 0 {
		return
	}
	for _, verdict := range pace.Decide(in) {
		if t := byKey[verdict.Key]; verdict.Begin {
			start(t)
		} else {
			c.wait(t, string(verdict.Reason), verdict.Message, verdict.Reason == pace.HeldAfterFailure)
		}
	}
}

// pacedBy describes a request as far as its turn is concerned.
func pacedBy(r Request, rules manifest.Rules, urgent bool) pace.Rotation {
	paced := pace.Rotation{Key: r.Key(), Database: r.DatabaseKey(), Namespace: r.Namespace, Came: r.Source.Time, Resumed: urgent}
	if rules.Limits != nil {
		paced.Policy = pace.Policy{Where: rules.From["limits"], Limits: *rules.Limits}
	}
	return paced
}

// paced describes the requests that run. The caller holds the lock.
func (c *Controller) paced() []pace.Rotation {
	var running []pace.Rotation
	for _, key := range c.busy {
		if s, ok := c.statuses[key]; ok { // what else keeps a database busy is over soon
			rules, _ := c.set.RulesFor(c.set.Database(s.Request.Namespace, s.Request.Database))
			running = append(running, pacedBy(s.Request, rules, false))
		}
	}
	return running
}

// failures finds the databases whose last rotation has failed without anybody having acknowledged it. The caller holds
// the lock.
func (c *Controller) failures(turns []turn) map[string]pace.Failure {
	holds := func(t turn) bool { return t.rules.Limits != nil && t.rules.Limits.AfterFailure == pace.Hold }
	if !slices.ContainsFunc(turns, holds) {
		return nil
	}
	failed := map[string]pace.Failure{}
	latest := c.latestRotations()
	for _, t := range turns {
		last := latest[t.Request.DatabaseKey()]
		if holds(t) && last.Phase == PhaseFailed && !acknowledged(c.set, last) {
			failed[t.Request.DatabaseKey()] = pace.Failure{Request: last.Request.Key(), Where: last.Request.Source.place()}
		}
	}
	return failed
}

// wait notes what a request waits for. Those that are held may wait for days. The caller holds the lock.
func (c *Controller) wait(t turn, reason, message string, held bool) {
	s := t.Status.clone()
	if s.Phase != PhaseApproved {
		s.Phase = PhasePending
	}
	s.set(Condition{Type: TypeWaiting, Status: "True", Reason: reason, Message: s.Request.Source.locate(message)}, c.Engine.Clock.Now())
	if held {
		c.held[s.Request.Key()] = true
	}
	if !equal(c.statuses[s.Request.Key()], s) {
		c.update(s)
	}
}
