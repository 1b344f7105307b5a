package schedule_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/schedule"
)

func window(zone string, start, end int, days ...time.Weekday) schedule.Maintenance {
	return schedule.Maintenance{Windows: []schedule.Window{{Days: days, Start: start, End: end, TimeZone: zone}}}
}

func TestOpen(t *testing.T) {
	and := func(m schedule.Maintenance, freezes ...schedule.Freeze) schedule.Maintenance {
		m.Freezes = freezes
		return m
	}
	for _, test := range []struct {
		name, now   string
		maintenance schedule.Maintenance
		reason      schedule.Reason
		message     string
		next        string
	}{{
		name: "without windows and freezes, always", now: "2026-12-01T12:00:00Z",
		reason: schedule.MayBegin, message: "rotations may begin", next: "2026-12-01T12:00:00Z",
	}, {
		name: "in a window", now: "2026-12-01T21:00:00Z", maintenance: weeknights,
		reason: schedule.MayBegin, message: "rotations may begin", next: "2026-12-01T21:00:00Z",
	}, {
		name: "after midnight, in the window of the day before", now: "2026-12-05T02:59:59Z", maintenance: weeknights,
		reason: schedule.MayBegin, message: "rotations may begin", next: "2026-12-05T02:59:59Z",
	}, {
		name: "the end of a window is no part of it", now: "2026-12-05T03:00:00Z", maintenance: weeknights,
		reason: schedule.WaitingForWindow, message: "waits for the window Mon-Fri 22:00-04:00 Europe/Berlin, which opens at 2026-12-07T21:00:00Z", next: "2026-12-07T21:00:00Z",
	}, {
		name: "the night to Monday belongs to Sunday, which has no window", now: "2026-12-07T01:00:00Z", maintenance: weeknights,
		reason: schedule.WaitingForWindow, message: "waits for the window Mon-Fri 22:00-04:00 Europe/Berlin, which opens at 2026-12-07T21:00:00Z", next: "2026-12-07T21:00:00Z",
	}, {
		name: "of several windows, the one that opens first", now: "2026-12-05T12:00:00Z",
		maintenance: schedule.Maintenance{Windows: append([]schedule.Window{
			{Start: 14 * 60, End: 15*60 + 30, Days: []time.Weekday{time.Saturday, time.Sunday, time.Tuesday}, TimeZone: "America/New_York"},
		}, weeknights.Windows...)},
		reason: schedule.WaitingForWindow, message: "waits for the window Tue,Sat,Sun 14:00-15:30 America/New_York, which opens at 2026-12-05T19:00:00Z", next: "2026-12-05T19:00:00Z",
	}, {
		name: "a freeze that begins inside of a window closes it", now: "2026-12-20T00:00:00Z", maintenance: and(window("", 22*60, 4*60), yearEnd),
		reason: schedule.Frozen, message: "frozen until 2027-01-03T00:00:00Z: year end", next: "2027-01-03T00:00:00Z",
	}, {
		name: "a second before, it is open", now: "2026-12-19T23:59:59Z", maintenance: and(window("", 22*60, 4*60), yearEnd),
		reason: schedule.MayBegin, message: "rotations may begin", next: "2026-12-19T23:59:59Z",
	}, {
		name: "after a freeze, the next window counts", now: "2026-12-24T00:00:00Z", maintenance: and(weeknights, yearEnd),
		reason: schedule.Frozen, message: "frozen until 2027-01-03T00:00:00Z: year end; rotations may begin again at 2027-01-04T21:00:00Z", next: "2027-01-04T21:00:00Z",
	}, {
		name: "a window that a freeze covers is passed over", now: "2026-12-19T12:00:00Z", maintenance: and(weeknights, yearEnd),
		reason: schedule.WaitingForWindow, message: "waits for the window Mon-Fri 22:00-04:00 Europe/Berlin, which opens at 2027-01-04T21:00:00Z", next: "2027-01-04T21:00:00Z",
	}, {
		name: "of two freezes, the one that ends last is named", now: "2026-12-24T00:00:00Z",
		maintenance: schedule.Maintenance{Freezes: []schedule.Freeze{yearEnd, {From: yearEnd.From, Until: yearEnd.Until.Add(day), Reason: "audit"}, {From: yearEnd.Until.Add(day), Until: yearEnd.Until.Add(2 * day), Reason: "move"}}},
		reason:      schedule.Frozen, message: "frozen until 2027-01-04T00:00:00Z: audit; rotations may begin again at 2027-01-05T00:00:00Z", next: "2027-01-05T00:00:00Z",
	}, {
		name: "freezes that leave no window", now: "2026-12-01T12:00:00Z", maintenance: and(weeknights, schedule.Freeze{From: at(t, "2026-12-01T13:00:00Z"), Until: at(t, "2029-01-01T00:00:00Z"), Reason: "moving"}),
		reason: schedule.NeverOpens, message: "the freezes leave no open window within 400d",
	}, {
		name: "a wrong window never opens", now: "2026-12-01T12:00:00Z", maintenance: window("Europe/Berln", 0, 60),
		reason: schedule.Invalid, message: `timeZone "Europe/Berln" is not in the IANA database: write a name such as Europe/Berlin, or UTC`,
	}} {
		t.Run(test.name, func(t *testing.T) {
			opening := test.maintenance.Open(at(t, test.now))
			require.Equal(t, test.reason, opening.Reason)
			require.Equal(t, test.message, opening.Message)
			require.Equal(t, test.reason == schedule.MayBegin, opening.Open)
			if test.next == "" {
				require.Zero(t, opening.Next)
			} else {
				require.Equal(t, at(t, test.next), opening.Next)
			}
		})
	}
}

func TestWindowsByTheClockOnTheWall(t *testing.T) {
	const hour = 60
	for _, test := range []struct {
		name        string
		maintenance schedule.Maintenance
		from, to    string
		open        []string // since when by the clock there, and how long
	}{{
		name: "a window that contains the hour that Berlin skips is an hour shorter", maintenance: window("Europe/Berlin", 1*hour, 5*hour),
		from: "2026-03-28T23:00:00Z", to: "2026-03-29T20:00:00Z", open: []string{"01:00+01:00 for 3h0m0s"},
	}, {
		name: "one that begins in it opens when the clock has been put forward", maintenance: window("Europe/Berlin", 2*hour+30, 5*hour),
		from: "2026-03-28T23:00:00Z", to: "2026-03-29T20:00:00Z", open: []string{"03:00+02:00 for 2h0m0s"},
	}, {
		name: "one that ends in it closes then", maintenance: window("Europe/Berlin", 1*hour, 2*hour+30),
		from: "2026-03-28T23:00:00Z", to: "2026-03-29T20:00:00Z", open: []string{"01:00+01:00 for 1h0m0s"},
	}, {
		name: "one that lies in it does not open on that day", maintenance: window("Europe/Berlin", 2*hour, 3*hour, time.Sunday),
		from: "2026-03-28T23:00:00Z", to: "2026-04-05T20:00:00Z", open: []string{"02:00+02:00 for 1h0m0s"},
	}, {
		name: "one over midnight contains it as well", maintenance: window("Europe/Berlin", 22*hour, 4*hour, time.Saturday),
		from: "2026-03-28T12:00:00Z", to: "2026-03-29T20:00:00Z", open: []string{"22:00+01:00 for 5h0m0s"},
	}, {
		name: "one over midnight that begins before the hour that Berlin repeats is an hour longer", maintenance: window("Europe/Berlin", 22*hour, 4*hour, time.Saturday),
		from: "2026-10-24T12:00:00Z", to: "2026-10-25T20:00:00Z", open: []string{"22:00+02:00 for 7h0m0s"},
	}, {
		name: "one in the repeated hour opens twice", maintenance: window("Europe/Berlin", 2*hour+15, 2*hour+45),
		from: "2026-10-24T12:00:00Z", to: "2026-10-25T20:00:00Z", open: []string{"02:15+02:00 for 30m0s", "02:15+01:00 for 30m0s"},
	}, {
		name: "one that ends in the repeated hour opens again when the clock is put back", maintenance: window("Europe/Berlin", 1*hour, 2*hour+30),
		from: "2026-10-24T12:00:00Z", to: "2026-10-25T20:00:00Z", open: []string{"01:00+02:00 for 1h30m0s", "02:00+01:00 for 30m0s"},
	}, {
		name: "New York skips from 2 to 3 in March", maintenance: window("America/New_York", 2*hour+30, 4*hour),
		from: "2026-03-08T00:00:00-05:00", to: "2026-03-08T20:00:00Z", open: []string{"03:00-04:00 for 1h0m0s"},
	}, {
		name: "New York repeats from 1 to 2 in November", maintenance: window("America/New_York", 0, 24*hour, time.Sunday),
		from: "2026-10-31T12:00:00-04:00", to: "2026-11-02T12:00:00-05:00", open: []string{"00:00-04:00 for 25h0m0s"},
	}, {
		name: "Sydney skips in October", maintenance: window("Australia/Sydney", 22*hour, 2*hour+30, time.Saturday),
		from: "2026-10-03T00:00:00Z", to: "2026-10-05T00:00:00Z", open: []string{"22:00+10:00 for 4h0m0s"},
	}, {
		name: "Lord Howe skips half an hour", maintenance: window("Australia/Lord_Howe", 2*hour+10, 3*hour),
		from: "2026-10-03T10:00:00Z", to: "2026-10-04T00:00:00Z", open: []string{"02:30+11:00 for 30m0s"},
	}, {
		name: "Lord Howe repeats half an hour", maintenance: window("Australia/Lord_Howe", 1*hour, 2*hour),
		from: "2026-04-04T10:00:00Z", to: "2026-04-05T00:00:00Z", open: []string{"01:00+11:00 for 1h30m0s"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			zone, err := time.LoadLocation(test.maintenance.Windows[0].TimeZone)
			require.NoError(t, err)
			var open []string
			for now, end := at(t, test.from), at(t, test.to); ; {
				opening := test.maintenance.Open(now)
				if now = opening.Next; !now.Before(end) {
					break
				}
				opened := now
				for test.maintenance.Open(now).Open {
					now = now.Add(time.Minute)
				}
				open = append(open, opened.In(zone).Format("15:04-07:00")+" for "+now.Sub(opened).String())
			}
			require.Equal(t, test.open, open)
		})
	}
}
