package schedule

import (
	"fmt"
	"time"
)

// Input is what a verdict on one database depends on. Fractions of seconds do not count.
type Input struct {
	Database    string // "kind namespace/name"
	Rule        Rule
	Maintenance Maintenance
	Last        time.Time   // the last rotation that succeeded, or when the database began
	Began       bool        // Last is when the database began: it was never rotated
	Declined    []time.Time // dates ([Verdict].Date) that people declined, by closing the pull request; in any order
	Now         time.Time
}

// Verdict says of one database when its rotation is due and when it may begin. All times are in UTC.
type Verdict struct {
	Reason  Reason // DueNow, NotDue, WaitingForWindow, Frozen, NeverOpens, NeverRotated or Invalid
	Message string // a sentence for people

	Due  bool // a date has come
	Open bool // rotations may begin now; when the database is due too, this is DueNow

	// The newest date that has come or, if none has, the next one. Zero for NeverRotated and Invalid.
	Date   time.Time // by the rule
	Drawn  time.Time // with jitter: when it is due
	Begins time.Time // the first moment from now and from Drawn on at which it may begin; zero: not within LookAhead
	Name   string    // of the request that rotates for this date
}

// Due judges one database.
func Due(in Input) Verdict {
	return new(Evaluator).Due(in)
}

// Due does what [Due] does.
func (e *Evaluator) Due(in Input) Verdict {
	rule := e.rule(in.Rule)
	if rule.err != nil {
		return Verdict{Reason: Invalid, Message: rule.err.Error()}
	}
	now := in.Now.UTC().Truncate(time.Second)
	opening := e.Open(in.Maintenance, now)
	switch {
	case opening.Reason == Invalid:
		return Verdict{Reason: Invalid, Message: opening.Message}
	case in.Last.IsZero():
		return Verdict{Reason: NeverRotated, Message: "nothing says when " + in.Database + " was rotated last or began, so no date can be counted", Open: opening.Open}
	}

	from := in.from()
	row := dates{database: in.Database, from: from, every: in.Rule.Every, cron: rule.cron, zone: rule.zone, jitter: in.Rule.Jitter}
	date, drawn := row.due(now)
	v := Verdict{Date: date, Drawn: drawn, Open: opening.Open, Due: !drawn.After(now), Name: requestName(in.Database, date)}
	if !v.Due {
		opening = e.Open(in.Maintenance, drawn)
	}
	v.Begins = opening.Next
	switch {
	case v.Due && v.Open:
		v.Reason, v.Message = DueNow, "due since "+in.why(v)
	case v.Due:
		v.Reason, v.Message = opening.Reason, "due since "+in.why(v)+"; "+opening.Message
	case opening.Open:
		v.Reason, v.Message = NotDue, "due at "+in.why(v)
	default:
		v.Reason, v.Message = NotDue, "due at "+in.why(v)+"; then "+opening.Message
	}
	return v
}

// from is the time after which dates count: that of the last rotation, or the newest date that was declined since.
func (in *Input) from() time.Time {
	from := in.Last
	for _, declined := range in.Declined {
		if declined.After(from) {
			from = declined
		}
	}
	return from.UTC().Truncate(time.Second)
}

// why is when and by what a rotation is due.
func (in *Input) why(v Verdict) string {
	from := in.from()
	origin := "the last rotation at " + rfc3339(from)
	if in.Began {
		origin = "it came into use at " + rfc3339(from)
	}
	if from.After(in.Last) {
		origin = "the date " + rfc3339(from) + ", which was declined"
	}
	rule := FormatEvery(v.Date.Sub(from)) + " after "
	if in.Rule.Cron != "" {
		zone := in.Rule.TimeZone
		if zone == "" {
			zone = "UTC"
		}
		rule = fmt.Sprintf("a date of %q in %s after ", in.Rule.Cron, zone)
	}
	jitter := ""
	if v.Drawn.After(v.Date) {
		jitter = " with " + FormatEvery(v.Drawn.Sub(v.Date)) + " of jitter"
	}
	return rfc3339(v.Drawn) + jitter + ": " + rule + origin
}
