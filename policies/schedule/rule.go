package schedule

import "time"

// OnDue is what becomes of a rotation that is due.
type OnDue string

const (
	Commit      OnDue = "Commit"      // its request is put on the branch
	PullRequest OnDue = "PullRequest" // its request is proposed
)

// Rule says when a database's credential is to be rotated: a time after the last rotation, or at fixed dates.
type Rule struct {
	Every    time.Duration // exactly one of Every and Cron is set; an hour or more
	Cron     string        // five fields: minute, hour, day, month, weekday
	TimeZone string        // of Cron, as in the IANA database; empty: UTC
	Jitter   time.Duration // a rotation is due up to this much later, to spread a fleet
	OnDue    OnDue         // empty: Commit
}

// Window is a time of some days of the week in which rotations may begin.
type Window struct {
	Days       []time.Weekday // on which it begins; empty: every day
	Start, End int            // minutes after midnight, End up to 24*60; an End before Start is on the next day
	TimeZone   string         // as in the IANA database; empty: UTC
}

// Freeze is a time in which no rotation begins.
type Freeze struct {
	From, Until time.Time // Until is the first moment after it; From may be zero: since ever
	Reason      string
}

// Maintenance says when rotations may begin. The zero value is always.
type Maintenance struct {
	Windows []Window // one of them has to be open; empty: none is needed
	Freezes []Freeze
}
