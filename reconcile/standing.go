package reconcile

import (
	"maps"
	"slices"
	"time"
)

// Standing is where a request stands, for whoever waits for it.
type Standing struct {
	Request string `json:"request"` // namespace/name
	Phase   Phase  `json:"phase"`
	Message string `json:"message,omitempty"` // why it ended, or what it waits for
	// Changed says that the manifest of a request that had ended was changed since, and that nothing was done about it.
	Changed string `json:"changed,omitempty"`
	// Settled requests have ended or wait for something from outside, and Git says so.
	Settled bool `json:"settled"`
}

// Standings lists the requests that have not ended, those that have ended or were changed since a time, and those that
// a commit has brought. It is safe for concurrent use.
func (c *Controller) Standings(since time.Time, commit string) []Standing {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Standing
	for _, key := range slices.Sorted(maps.Keys(c.statuses)) {
		s := c.statuses[key]
		standing, at := standingOf(s)
		_, dirty := c.dirty[key]
		standing.Settled = !dirty && (s.Phase.Finished() || c.waits(s))
		brought := commit != "" && s.Request.Source.Commit == commit
		if dirty || brought || !s.Phase.Finished() || !at.Before(since) {
			list = append(list, standing)
		}
	}
	return list
}

// Problems describes the problems of manifests that belong to no request. It is called by the goroutine that calls Poll.
func (c *Controller) Problems() []string {
	var texts []string
	for _, p := range c.problems() {
		texts = append(texts, p.Where()+": "+p.Message)
	}
	return texts
}

// waits reports whether a request waits for something from outside. One that waits for another request does so if the
// other one does. The caller holds the lock.
func (c *Controller) waits(s Status) bool {
	waiting := s.condition(TypeWaiting)
	switch {
	case s.Phase == PhaseWaitingForApproval:
		return true
	case s.Phase != PhasePending && s.Phase != PhaseApproved || waiting.Status != "True":
		return false
	}
	if waiting.Reason != ReasonQueued {
		return true
	}
	ahead, ok := c.statuses[c.busy[s.Request.DatabaseKey()]]
	return ok && ahead.condition(TypeWaiting).Reason != ReasonQueued && c.waits(ahead)
}

// standingOf describes a status, and says when it ended or was found to be changed.
func standingOf(s Status) (Standing, time.Time) {
	standing := Standing{Request: s.Request.Key(), Phase: s.Phase, Message: s.condition(string(s.Phase)).Message}
	if standing.Phase == "" {
		standing.Phase = PhasePending
	}
	if standing.Phase == PhaseWaitingForApproval {
		standing.Message = s.condition(TypeApproved).Message
	}
	if waiting := s.condition(TypeWaiting); !s.Phase.Finished() && waiting.Status == "True" {
		standing.Message = waiting.Message
	}
	at := s.ended()
	if changed := s.condition(TypeRequestChanged); changed.Status == "True" {
		standing.Changed = changed.Message
		if changed.LastTransitionTime.After(at) {
			at = changed.LastTransitionTime
		}
	}
	return standing, at
}

// condition returns the condition of a type; the zero value if there is none.
func (s Status) condition(kind string) Condition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return Condition{}
}
