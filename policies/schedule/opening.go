package schedule

import (
	"fmt"
	"time"
)

// LookAhead is how far an opening is looked for: more than a year, so that a window is found after any yearly freeze.
const LookAhead = 400 * day

// Opening says whether rotations may begin.
type Opening struct {
	Open    bool
	Reason  Reason    // MayBegin, WaitingForWindow, Frozen, NeverOpens or Invalid
	Message string    // a part of a sentence, for people: frozen until 2027-01-03T00:00:00Z: year end
	Next    time.Time // the first moment, not before the one asked about, at which they may begin; zero: not within LookAhead
}

// Open says whether rotations may begin at a time.
func (m Maintenance) Open(now time.Time) Opening {
	return new(Evaluator).Open(m, now)
}

// Open does what [Maintenance.Open] does.
func (e *Evaluator) Open(m Maintenance, now time.Time) Opening {
	if err := e.check(m); err != nil {
		return Opening{Reason: Invalid, Message: err.Error()}
	}
	now = now.UTC()
	freeze := m.freeze(now)
	if freeze == nil && e.window(m, now) {
		return Opening{Open: true, Reason: MayBegin, Message: "rotations may begin", Next: now}
	}
	next, window := e.next(m, now)
	switch {
	case next.IsZero() && freeze != nil:
		return Opening{Reason: NeverOpens, Message: fmt.Sprintf("frozen until %s: %s; no rotation may begin within %s", rfc3339(freeze.Until), freeze.Reason, FormatEvery(LookAhead))}
	case next.IsZero():
		return Opening{Reason: NeverOpens, Message: fmt.Sprintf("the freezes leave no open window within %s", FormatEvery(LookAhead))}
	case freeze == nil:
		return Opening{Reason: WaitingForWindow, Message: fmt.Sprintf("waits for the window %s, which opens at %s", window, rfc3339(next)), Next: next}
	}
	message := fmt.Sprintf("frozen until %s: %s", rfc3339(freeze.Until), freeze.Reason)
	if next.After(freeze.Until) {
		message += fmt.Sprintf("; rotations may begin again at %s", rfc3339(next))
	}
	return Opening{Reason: Frozen, Message: message, Next: next}
}

// next returns the first moment after now at which rotations may begin, and the window that is open then, if any is needed.
func (e *Evaluator) next(m Maintenance, now time.Time) (time.Time, *Window) {
	for t := now; !t.After(now.Add(LookAhead)); {
		if freeze := m.freeze(t); freeze != nil {
			t = freeze.Until.UTC()
			continue
		}
		if len(m.Windows) == 0 {
			return t, nil
		}
		var opens time.Time
		for i := range m.Windows {
			w := &m.Windows[i]
			zone, _ := e.zone(w.TimeZone)
			if w.contains(t, zone) {
				return t, w
			}
			if start := w.opens(t, zone); opens.IsZero() || !start.IsZero() && start.Before(opens) {
				opens = start
			}
		}
		if opens.IsZero() {
			break
		}
		t = opens
	}
	return time.Time{}, nil
}

// window reports whether a window is open or none is needed.
func (e *Evaluator) window(m Maintenance, t time.Time) bool {
	for i := range m.Windows {
		if zone, _ := e.zone(m.Windows[i].TimeZone); m.Windows[i].contains(t, zone) {
			return true
		}
	}
	return len(m.Windows) == 0
}

// freeze returns the freeze that is on; of several, the one that ends last.
func (m Maintenance) freeze(t time.Time) *Freeze {
	var longest *Freeze
	for i := range m.Freezes {
		f := &m.Freezes[i]
		if !t.Before(f.From) && t.Before(f.Until) && (longest == nil || f.Until.After(longest.Until)) {
			longest = f
		}
	}
	return longest
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
