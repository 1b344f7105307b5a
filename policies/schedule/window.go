package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const minutesOfDay = 24 * 60

// String is the window as a policy writes it: Mon-Fri 22:00-04:00 Europe/Berlin.
func (w Window) String() string {
	zone := w.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	return fmt.Sprintf("%s %02d:%02d-%02d:%02d %s", dayNames(w.Days), w.Start/60, w.Start%60, w.End/60, w.End%60, zone)
}

// dayNames joins three or more days in a row to one range. Weeks begin on Monday.
func dayNames(days []time.Weekday) string {
	var parts []string
	for first := 0; first < 7; {
		last := first
		for last < 7 && slices.Contains(days, time.Weekday((last+1)%7)) {
			last++
		}
		short := func(n int) string { return time.Weekday((n + 1) % 7).String()[:3] }
		switch count := last - first; {
		case count == 7 || len(days) == 0:
			return "every day"
		case count > 2:
			parts = append(parts, short(first)+"-"+short(last-1))
		default:
			for n := first; n < last; n++ {
				parts = append(parts, short(n))
			}
		}
		first = last + 1
	}
	return strings.Join(parts, ",")
}

// begins reports whether the window begins on a day of the week.
func (w *Window) begins(day time.Weekday) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, day)
}

// contains reports whether clocks in the window's zone show a time in it.
func (w *Window) contains(t time.Time, zone *time.Location) bool {
	local := t.In(zone)
	minute, today := local.Hour()*60+local.Minute(), local.Weekday()
	if w.Start < w.End {
		return w.begins(today) && w.Start <= minute && minute < w.End
	}
	return w.begins(today) && w.Start <= minute || w.begins((today+6)%7) && minute < w.End
}

// opens returns the first moment after t at which the window is open, when it is closed at t.
func (w *Window) opens(t time.Time, zone *time.Location) time.Time {
	start := w.starts(t, zone)
	// When the clock is put forward or back, that may be right into the window.
	if _, change := t.In(zone).ZoneBounds(); change.After(t) && (start.IsZero() || change.Before(start)) && w.contains(change, zone) {
		return change
	}
	return start
}

// starts returns when clocks next show the start of the window.
func (w *Window) starts(t time.Time, zone *time.Location) time.Time {
	midnight := wallClock(t, zone).Truncate(day)
	// A window that begins on one day of the week does not open in the week in which the clock skips it.
	for n := range 15 {
		date := midnight.Add(time.Duration(n) * day)
		if !w.begins(date.Weekday()) {
			continue
		}
		start := date.Add(time.Duration(w.Start) * time.Minute)
		first, second := moments(start, zone)
		if second.Before(first) {
			first, second = second, first
		}
		for _, moment := range [...]time.Time{first, second} {
			if moment.After(t) && wallClock(moment, zone).Equal(start) {
				return moment
			}
		}
	}
	return time.Time{}
}
