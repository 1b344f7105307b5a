package schedule

import "time"

// wallClock returns what clocks in a zone show, as a time in UTC: there, every hour comes once.
func wallClock(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// moments returns when clocks in a zone show wall, counted with the offset from before and from after a change of the
// clock nearby. Without a change they are the same; with one, either may be a moment at which clocks show something else.
func moments(wall time.Time, zone *time.Location) (before, after time.Time) {
	// No zone is more than 14 hours from UTC, so a day is on the far side of any change that matters.
	_, early := wall.Add(-day).In(zone).Zone()
	_, late := wall.Add(day).In(zone).Zone()
	return wall.Add(-time.Duration(early) * time.Second), wall.Add(-time.Duration(late) * time.Second)
}

// moment returns when clocks in a zone show wall for the first time or, if they skip it, when they would have shown it
// had they not been put forward.
func moment(wall time.Time, zone *time.Location) time.Time {
	before, after := moments(wall, zone)
	if !wallClock(before, zone).Equal(wall) && wallClock(after, zone).Equal(wall) {
		return after
	}
	return before
}
