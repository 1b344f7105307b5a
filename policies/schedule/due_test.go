package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/schedule"
)

const day = 24 * time.Hour

func at(t testing.TB, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return parsed
}

var (
	weeknights = schedule.Maintenance{Windows: []schedule.Window{{
		Days:  []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday},
		Start: 22 * 60, End: 4 * 60, TimeZone: "Europe/Berlin",
	}}}
	yearEnd = schedule.Freeze{
		From: time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC), Until: time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC), Reason: "year end",
	}
	monthly = schedule.Rule{Every: 30 * day}
	sundays = schedule.Rule{Cron: "0 3 * * 0", TimeZone: "Europe/Berlin"}
)

func TestDue(t *testing.T) {
	for _, test := range []struct {
		name, last, now           string
		rule                      schedule.Rule
		maintenance               schedule.Maintenance
		began                     bool
		declined                  []string
		reason                    schedule.Reason
		message                   string
		date, begins, requestName string
	}{{
		name: "a database that was rotated 30 days ago is due", rule: monthly,
		last: "2026-11-01T03:00:00Z", now: "2026-12-01T03:00:00Z", reason: schedule.DueNow,
		message: "due since 2026-12-01T03:00:00Z: 30d after the last rotation at 2026-11-01T03:00:00Z",
		date:    "2026-12-01T03:00:00Z", begins: "2026-12-01T03:00:00Z", requestName: "orders-scheduled-20261201t0300z",
	}, {
		name: "a second earlier, it is not", rule: monthly,
		last: "2026-11-01T03:00:00Z", now: "2026-12-01T02:59:59Z", reason: schedule.NotDue,
		message: "due at 2026-12-01T03:00:00Z: 30d after the last rotation at 2026-11-01T03:00:00Z",
		date:    "2026-12-01T03:00:00Z", begins: "2026-12-01T03:00:00Z", requestName: "orders-scheduled-20261201t0300z",
	}, {
		name: "of a database that was never rotated, the dates count from when it came into use", rule: monthly, began: true,
		last: "2026-11-01T03:00:00Z", now: "2026-12-01T03:00:00Z", reason: schedule.DueNow,
		message: "due since 2026-12-01T03:00:00Z: 30d after it came into use at 2026-11-01T03:00:00Z",
		date:    "2026-12-01T03:00:00Z", begins: "2026-12-01T03:00:00Z", requestName: "orders-scheduled-20261201t0300z",
	}, {
		name: "30 days are as long when the clock is changed meanwhile", rule: schedule.Rule{Every: 30 * day, TimeZone: "Europe/Berlin"},
		last: "2026-10-01T03:00:00+02:00", now: "2026-10-20T00:00:00Z", reason: schedule.NotDue,
		message: "due at 2026-10-31T01:00:00Z: 30d after the last rotation at 2026-10-01T01:00:00Z",
		date:    "2026-10-31T01:00:00Z", begins: "2026-10-31T01:00:00Z", requestName: "orders-scheduled-20261031t0100z",
	}, {
		name: "of the dates that a long failure has missed, the newest counts", rule: monthly,
		last: "2026-09-01T03:00:00Z", now: "2026-12-05T00:00:00Z", reason: schedule.DueNow,
		message: "due since 2026-11-30T03:00:00Z: 90d after the last rotation at 2026-09-01T03:00:00Z",
		date:    "2026-11-30T03:00:00Z", begins: "2026-12-05T00:00:00Z", requestName: "orders-scheduled-20261130t0300z",
	}, {
		name: "a date that people declined is over, and the next one counts", rule: monthly, declined: []string{"2026-10-01T00:00:00Z", "2026-12-01T03:00:00Z", "2026-11-05T00:00:00Z"},
		last: "2026-11-01T03:00:00Z", now: "2026-12-02T00:00:00Z", reason: schedule.NotDue,
		message: "due at 2026-12-31T03:00:00Z: 30d after the date 2026-12-01T03:00:00Z, which was declined",
		date:    "2026-12-31T03:00:00Z", begins: "2026-12-31T03:00:00Z", requestName: "orders-scheduled-20261231t0300z",
	}, {
		name: "a date that was declined before the last rotation does not matter", rule: monthly, declined: []string{"2026-10-01T00:00:00Z"},
		last: "2026-11-01T03:00:00Z", now: "2026-12-02T00:00:00Z", reason: schedule.DueNow,
		message: "due since 2026-12-01T03:00:00Z: 30d after the last rotation at 2026-11-01T03:00:00Z",
		date:    "2026-12-01T03:00:00Z", begins: "2026-12-02T00:00:00Z", requestName: "orders-scheduled-20261201t0300z",
	}, {
		name: "cron goes by the clock on the wall", rule: sundays,
		last: "2026-12-01T00:00:00Z", now: "2026-12-06T02:00:00Z", reason: schedule.DueNow,
		message: `due since 2026-12-06T02:00:00Z: a date of "0 3 * * 0" in Europe/Berlin after the last rotation at 2026-12-01T00:00:00Z`,
		date:    "2026-12-06T02:00:00Z", begins: "2026-12-06T02:00:00Z", requestName: "orders-scheduled-20261206t0200z",
	}, {
		name: "a date that has come in the repeated hour has come when the clock shows less again", rule: schedule.Rule{Cron: "45 2 * * 0", TimeZone: "Europe/Berlin"},
		last: "2026-10-10T00:00:00Z", now: "2026-10-25T01:30:00Z", reason: schedule.DueNow,
		message: `due since 2026-10-25T00:45:00Z: a date of "45 2 * * 0" in Europe/Berlin after the last rotation at 2026-10-10T00:00:00Z`,
		date:    "2026-10-25T00:45:00Z", begins: "2026-10-25T01:30:00Z", requestName: "orders-scheduled-20261025t0045z",
	}, {
		name: "cron without a zone is UTC", rule: schedule.Rule{Cron: "0 3 * * 0"},
		last: "2026-12-01T00:00:00Z", now: "2026-12-06T02:00:00Z", reason: schedule.NotDue,
		message: `due at 2026-12-06T03:00:00Z: a date of "0 3 * * 0" in UTC after the last rotation at 2026-12-01T00:00:00Z`,
		date:    "2026-12-06T03:00:00Z", begins: "2026-12-06T03:00:00Z", requestName: "orders-scheduled-20261206t0300z",
	}, {
		name: "three Sundays that were missed are one rotation, named by the newest", rule: sundays,
		last: "2026-11-17T00:00:00Z", now: "2026-12-08T12:00:00Z", reason: schedule.DueNow,
		message: `due since 2026-12-06T02:00:00Z: a date of "0 3 * * 0" in Europe/Berlin after the last rotation at 2026-11-17T00:00:00Z`,
		date:    "2026-12-06T02:00:00Z", begins: "2026-12-08T12:00:00Z", requestName: "orders-scheduled-20261206t0200z",
	}, {
		name: "jitter makes a date later", rule: schedule.Rule{Every: 30 * day, Jitter: 2 * time.Hour},
		last: "2026-11-01T03:00:00Z", now: "2026-12-01T03:00:00Z", reason: schedule.NotDue,
		message: "due at 2026-12-01T03:22:21Z with 22m21s of jitter: 30d after the last rotation at 2026-11-01T03:00:00Z",
		date:    "2026-12-01T03:00:00Z", begins: "2026-12-01T03:22:21Z", requestName: "orders-scheduled-20261201t0300z",
	}, {
		name: "while the newest date waits for its jitter, the one that was missed before counts", rule: schedule.Rule{Every: 30 * day, Jitter: 2 * time.Hour},
		last: "2026-10-02T03:00:00Z", now: "2026-12-01T03:10:00Z", reason: schedule.DueNow,
		message: "due since 2026-11-01T03:28:41Z with 28m41s of jitter: 30d after the last rotation at 2026-10-02T03:00:00Z",
		date:    "2026-11-01T03:00:00Z", begins: "2026-12-01T03:10:00Z", requestName: "orders-scheduled-20261101t0300z",
	}, {
		name: "outside of the windows, it waits", rule: monthly, maintenance: weeknights,
		last: "2026-11-01T03:00:00Z", now: "2026-12-01T12:00:00Z", reason: schedule.WaitingForWindow,
		message: "due since 2026-12-01T03:00:00Z: 30d after the last rotation at 2026-11-01T03:00:00Z; waits for the window Mon-Fri 22:00-04:00 Europe/Berlin, which opens at 2026-12-01T21:00:00Z",
		date:    "2026-12-01T03:00:00Z", begins: "2026-12-01T21:00:00Z", requestName: "orders-scheduled-20261201t0300z",
	}, {
		name: "a date in no window says when it will begin", rule: monthly, maintenance: weeknights,
		last: "2026-11-05T12:00:00Z", now: "2026-12-01T23:00:00Z", reason: schedule.NotDue,
		message: "due at 2026-12-05T12:00:00Z: 30d after the last rotation at 2026-11-05T12:00:00Z; then waits for the window Mon-Fri 22:00-04:00 Europe/Berlin, which opens at 2026-12-07T21:00:00Z",
		date:    "2026-12-05T12:00:00Z", begins: "2026-12-07T21:00:00Z", requestName: "orders-scheduled-20261205t1200z",
	}, {
		name: "in a freeze, it waits", rule: monthly, maintenance: schedule.Maintenance{Freezes: []schedule.Freeze{yearEnd}},
		last: "2026-11-25T03:00:00Z", now: "2026-12-26T00:00:00Z", reason: schedule.Frozen,
		message: "due since 2026-12-25T03:00:00Z: 30d after the last rotation at 2026-11-25T03:00:00Z; frozen until 2027-01-03T00:00:00Z: year end",
		date:    "2026-12-25T03:00:00Z", begins: "2027-01-03T00:00:00Z", requestName: "orders-scheduled-20261225t0300z",
	}, {
		name: "a freeze without end in sight says so", rule: monthly, maintenance: schedule.Maintenance{Freezes: []schedule.Freeze{{Until: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Reason: "to be switched off"}}},
		last: "2026-11-01T03:00:00Z", now: "2026-12-26T00:00:00Z", reason: schedule.NeverOpens,
		message: "due since 2026-12-01T03:00:00Z: 30d after the last rotation at 2026-11-01T03:00:00Z; frozen until 2030-01-01T00:00:00Z: to be switched off; no rotation may begin within 400d",
		date:    "2026-12-01T03:00:00Z", requestName: "orders-scheduled-20261201t0300z",
	}, {
		name: "without anything to count from, nothing is due", rule: monthly,
		now: "2026-12-26T00:00:00Z", reason: schedule.NeverRotated,
		message: "nothing says when MSSQLServer demo/orders was rotated last or began, so no date can be counted",
	}, {
		name: "a wrong rule is never due", rule: schedule.Rule{},
		last: "2026-11-01T03:00:00Z", now: "2026-12-26T00:00:00Z", reason: schedule.Invalid,
		message: `a schedule needs every or cron: write every: 30d, or cron: "0 3 * * 0"`,
	}, {
		name: "under a wrong maintenance, nothing is due", rule: monthly, maintenance: schedule.Maintenance{Freezes: []schedule.Freeze{{Until: yearEnd.Until}}},
		last: "2026-11-01T03:00:00Z", now: "2026-12-26T00:00:00Z", reason: schedule.Invalid,
		message: "the freeze until 2027-01-03T00:00:00Z has no reason: write one, for whoever wonders why nothing is rotated",
	}} {
		t.Run(test.name, func(t *testing.T) {
			optional := func(text string) time.Time {
				if text == "" {
					return time.Time{}
				}
				return at(t, text).UTC()
			}
			in := schedule.Input{Database: "MSSQLServer demo/orders", Rule: test.rule, Maintenance: test.maintenance, Last: optional(test.last), Began: test.began, Now: at(t, test.now)}
			for _, date := range test.declined {
				in.Declined = append(in.Declined, at(t, date))
			}
			v := schedule.Due(in)
			require.Equal(t, test.reason, v.Reason)
			require.Equal(t, test.message, v.Message)
			require.Equal(t, optional(test.date), v.Date)
			require.Equal(t, optional(test.begins), v.Begins)
			require.Equal(t, test.requestName, v.Name)
			require.Equal(t, strings.HasPrefix(v.Message, "due since "), v.Due)
			require.Equal(t, test.reason == schedule.DueNow, v.Due && v.Open)
		})
	}
}

func TestTheNamesOfRequests(t *testing.T) {
	name := func(database string) string {
		return schedule.Due(schedule.Input{Database: database, Rule: monthly, Last: at(t, "2026-11-01T03:00:00Z"), Now: at(t, "2026-12-01T03:00:00Z")}).Name
	}
	t.Run("a name that fits is kept", func(t *testing.T) {
		require.Equal(t, strings.Repeat("x", 38)+"-scheduled-20261201t0300z", name("SQLServer demo/"+strings.Repeat("x", 38)))
	})
	t.Run("a longer one is cut, and a digest tells it from others that begin alike", func(t *testing.T) {
		long := name("SQLServer demo/the-database-of-orders-and-invoices-eu-west")
		require.Equal(t, "the-database-of-orders-and-3b53168e91-scheduled-20261201t0300z", long)
		require.LessOrEqual(t, len(long), 63)
		require.NotEqual(t, long, name("SQLServer demo/the-database-of-orders-and-invoices-eu-east"))
	})
}

func TestDatesByTheClockOnTheWall(t *testing.T) {
	for _, test := range []struct {
		name, cron, zone, last string
		dates                  []string
	}{{
		name: "a date in the hour that Berlin skips comes an hour later", cron: "30 2 * * *", zone: "Europe/Berlin", last: "2026-03-27T12:00:00Z",
		dates: []string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"},
	}, {
		name: "a date in the hour that Berlin repeats comes once", cron: "30 2 * * *", zone: "Europe/Berlin", last: "2026-10-24T12:00:00Z",
		dates: []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
	}, {
		name: "rotated between the two, it does not come again", cron: "30 2 * * *", zone: "Europe/Berlin", last: "2026-10-25T00:45:00Z",
		dates: []string{"2026-10-26T02:30:00+01:00"},
	}, {
		name: "rotated after the skipped hour and before what was to come in it, it still comes", cron: "30 2 * * *", zone: "Europe/Berlin", last: "2026-03-29T03:10:00+02:00",
		dates: []string{"2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"},
	}, {
		name: "a date in the hour that New York skips comes an hour later", cron: "15 2 * * SUN", zone: "America/New_York", last: "2026-03-07T12:00:00Z",
		dates: []string{"2026-03-08T03:15:00-04:00", "2026-03-15T02:15:00-04:00"},
	}, {
		name: "a date in the hour that New York repeats comes once", cron: "15 1 * * SUN", zone: "America/New_York", last: "2026-10-31T12:00:00Z",
		dates: []string{"2026-11-01T01:15:00-04:00", "2026-11-08T01:15:00-05:00"},
	}, {
		name: "Sydney skips in October and repeats in April", cron: "30 2 4,5 4,10 *", zone: "Australia/Sydney", last: "2026-04-01T00:00:00Z",
		dates: []string{"2026-04-04T02:30:00+11:00", "2026-04-05T02:30:00+11:00", "2026-10-04T03:30:00+11:00", "2026-10-05T02:30:00+11:00"},
	}, {
		name: "Lord Howe skips half an hour, and a date in it comes half an hour later", cron: "15 2 * * *", zone: "Australia/Lord_Howe", last: "2026-10-03T00:00:00Z",
		dates: []string{"2026-10-04T02:45:00+11:00", "2026-10-05T02:15:00+11:00"},
	}, {
		name: "Lord Howe repeats half an hour, and a date in it comes once", cron: "45 1 * * *", zone: "Australia/Lord_Howe", last: "2026-04-04T00:00:00Z",
		dates: []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"},
	}, {
		name: "hourly dates fall together where the clock skips one", cron: "0 * * * *", zone: "Europe/Berlin", last: "2026-03-29T00:30:00Z",
		dates: []string{"2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"},
	}, {
		name: "hourly dates leave out the hour that is shown again", cron: "0 * * * *", zone: "Europe/Berlin", last: "2026-10-24T23:30:00Z",
		dates: []string{"2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00"},
	}, {
		name: "midnight that the clock of Santiago skips comes at one", cron: "0 0 * * *", zone: "America/Santiago", last: "2026-09-05T12:00:00Z",
		dates: []string{"2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"},
	}, {
		name: "a weekday of the month, the last day, and names", cron: "0 3 * MAR TUE#2", last: "2026-01-01T00:00:00Z",
		dates: []string{"2026-03-10T03:00:00Z", "2027-03-09T03:00:00Z"},
	}, {
		name: "leap days", cron: "0 3 29 2 *", last: "2026-01-01T00:00:00Z",
		dates: []string{"2028-02-29T03:00:00Z", "2032-02-29T03:00:00Z"},
	}, {
		name: "the last day of a month", cron: "0 3 L * *", last: "2026-01-01T00:00:00Z",
		dates: []string{"2026-01-31T03:00:00Z", "2026-02-28T03:00:00Z"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			last := at(t, test.last)
			for _, date := range test.dates {
				in := schedule.Input{Database: "SQLServer demo/orders", Rule: schedule.Rule{Cron: test.cron, TimeZone: test.zone}, Last: last, Now: last}
				v := schedule.Due(in)
				require.Equal(t, at(t, date).UTC(), v.Date, v.Message)
				require.False(t, v.Due)

				in.Now = v.Date
				again := schedule.Due(in)
				require.True(t, again.Due)
				require.Equal(t, v.Date, again.Date, "the newest date is found from either side")
				last = v.Date
			}
		})
	}
}
