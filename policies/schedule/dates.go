package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/netresearch/go-cron"
)

// maxShift is more than any clock is put forward or back in the zones of today (two hours, in Antarctica).
const maxShift = 3 * time.Hour

// dates is the row of dates of one database.
type dates struct {
	database string
	from     time.Time // they are after it
	every    time.Duration
	cron     *cron.SpecSchedule // of the clock on the wall; nil: every counts
	zone     *time.Location     // of that clock
	jitter   time.Duration
}

// after returns the first date after t, which is not before from.
func (d dates) after(t time.Time) time.Time {
	if d.cron == nil {
		return d.from.Add((t.Sub(d.from)/d.every + 1) * d.every)
	}
	wall := wallClock(t, d.zone).Add(-maxShift) // what the clock skipped comes later than it would show
	for {
		wall = d.cron.Next(wall)
		if date := moment(wall, d.zone); date.After(t) {
			return date
		}
	}
}

// newest returns the last date that is not after t. It may be one from before the row begins.
func (d dates) newest(t time.Time) time.Time {
	if d.cron == nil {
		return d.from.Add(t.Sub(d.from) / d.every * d.every)
	}
	wall := wallClock(t, d.zone).Add(maxShift) // what is shown twice has come already when it is shown again
	for {
		wall = d.cron.Prev(wall)
		if date := moment(wall, d.zone); !date.After(t) {
			return date
		}
	}
}

// drawn returns when a date is due after the jitter, which is the same whoever draws it.
func (d dates) drawn(date time.Time) time.Time {
	if d.jitter == 0 {
		return date
	}
	var text [128]byte
	digest := sha256.Sum256(date.AppendFormat(append(append(text[:0], d.database...), '\n'), time.RFC3339))
	// Where the clock is put forward, two dates can be closer to each other than the rule says.
	span := min(d.jitter, d.after(date).Sub(date))
	return date.Add(time.Duration(binary.BigEndian.Uint64(digest[:]) % uint64(span)).Truncate(time.Second))
}

// due returns the newest date that has come with its jitter, and if there is none, the first date of the row.
func (d dates) due(now time.Time) (date, drawn time.Time) {
	date = d.newest(now)
	if !date.After(d.from) {
		date = d.after(d.from)
		return date, d.drawn(date)
	}
	drawn = d.drawn(date)
	if drawn.After(now) {
		// No drawn date reaches the next date, so the one before has come, if there is one.
		if previous := d.newest(date.Add(-time.Second)); previous.After(d.from) {
			return previous, d.drawn(previous)
		}
	}
	return date, drawn
}
