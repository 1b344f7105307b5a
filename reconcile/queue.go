package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// queue is what to do about the unfinished requests of one database.
type queue struct {
	run     *Status  // the request to serve; nil if there is none
	skipped []Status // requests whose place it has taken
	waiting []Status // requests that wait until the one that runs has ended
}

// arrange applies KubeDB's rules to the unfinished requests of one database: one runs at a time; one that has begun is
// not interrupted; among those that have not, the newest survives and the others are skipped. The newest is the one
// whose commit is the latest; requests of the same time are ordered by name.
func arrange(unfinished []Status, now time.Time) queue {
	ordered := slices.Clone(unfinished)
	slices.SortFunc(ordered, func(a, b Status) int {
		return cmp.Or(a.Request.Source.Time.Compare(b.Request.Source.Time), cmp.Compare(a.Request.Name, b.Request.Name))
	})
	begun := slices.IndexFunc(ordered, func(s Status) bool { return s.Phase == PhaseProgressing })
	if begun >= 0 {
		q := queue{run: &ordered[begun]}
		for i, s := range ordered {
			if i == begun {
				continue
			}
			waiting := s.clone()
			waiting.Phase = PhasePending
			waiting.set(Condition{
				Type: TypeWaiting, Status: "True", Reason: ReasonQueued,
				Message: s.Request.Source.locate(fmt.Sprintf("waits until %s has ended: one rotation of a database runs at a time", ordered[begun].Request.Key())),
			}, now)
			q.waiting = append(q.waiting, waiting)
		}
		return q
	}
	if len(ordered) == 0 {
		return queue{}
	}
	newest := ordered[len(ordered)-1]
	q := queue{run: &newest}
	for _, s := range ordered[:len(ordered)-1] {
		skipped := s.clone()
		skipped.Phase = PhaseSkipped
		at := newest.Request.Source.Time
		if at.IsZero() {
			at = now
		}
		skipped.set(condition(TypeSkipped, fmt.Sprintf("skipped as %s is the most updated MSSQLServerOpsRequest of type RotateAuth at %s",
			newest.Request.Key(), at.UTC().Format(time.RFC3339))), now)
		q.skipped = append(q.skipped, skipped)
	}
	return q
}
