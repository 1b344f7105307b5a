package schedule_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/schedule"
)

func TestWhatIsWrongWithARule(t *testing.T) {
	for _, test := range []struct {
		name    string
		rule    schedule.Rule
		message string
	}{
		{"neither every nor cron", schedule.Rule{}, `a schedule needs every or cron: write every: 30d, or cron: "0 3 * * 0"`},
		{"both", schedule.Rule{Every: day, Cron: "0 3 * * 0"}, "a schedule has both every and cron: write one of them"},
		{"too often", schedule.Rule{Every: 59 * time.Minute}, "every is 59m, and a database is rotated once an hour at most: write 1h or more"},
		{"backwards", schedule.Rule{Every: -day}, "every is -24h, and a database is rotated once an hour at most: write 1h or more"},
		{"a zone in cron", schedule.Rule{Cron: "TZ=0 0 3 * * 0"}, `cron "TZ=0 0 3 * * 0" names a time zone: write it as timeZone, beside cron`},
		{"another zone in cron", schedule.Rule{Cron: "CRON_TZ=UTC 0 3 * * 0"}, `cron "CRON_TZ=UTC 0 3 * * 0" names a time zone: write it as timeZone, beside cron`},
		{"a shorthand", schedule.Rule{Cron: "@every 1h"}, `cron "@every 1h" is a shorthand: write the five fields minute, hour, day, month and weekday ("0 3 * * 0"), or every: 30d`},
		{"seconds", schedule.Rule{Cron: "0 0 3 * * 0"}, `cron "0 0 3 * * 0" has 6 fields: write the five fields minute, hour, day, month and weekday ("0 3 * * 0")`},
		{"a number out of range", schedule.Rule{Cron: "0 24 * * 0"}, `cron "0 24 * * 0" is not understood: write the five fields minute, hour, day, month and weekday ("0 3 * * 0"): end of range (24) above maximum (23): "24"`},
		{"an hour by digest, which would be another thing than jitter", schedule.Rule{Cron: "0 H * * *"}, `cron "0 H * * *" is not understood: write the five fields minute, hour, day, month and weekday ("0 3 * * 0"): h expressions require hash option to be enabled`},
		{"days and weekdays", schedule.Rule{Cron: "0 3 1-7 * 1"}, `cron "0 3 1-7 * 1" says both which days and which weekdays, which some programs read as "or" and some as "and": write * for one of them (the first Monday of a month is "0 3 * * MON#1")`},
		{"a date that never comes", schedule.Rule{Cron: "0 3 30 2 *"}, `cron "0 3 30 2 *" has no date in 10 years: write a day that its months have`},
		{"an empty list", schedule.Rule{Cron: ", 3 * * *"}, `cron ", 3 * * *" has no date in 10 years: write a day that its months have`},
		{"several minutes", schedule.Rule{Cron: "*/15 3 1 * *"}, `cron "*/15 3 1 * *" has dates that are 15m apart, and a database is rotated once an hour at most: write one minute, not several`},
		{"an unknown zone", schedule.Rule{Cron: "0 3 * * 0", TimeZone: "Europe/Berln"}, `timeZone "Europe/Berln" is not in the IANA database: write a name such as Europe/Berlin, or UTC`},
		{"the zone of whatever machine it is", schedule.Rule{Cron: "0 3 * * 0", TimeZone: "Local"}, `timeZone "Local" is not in the IANA database: write a name such as Europe/Berlin, or UTC`},
		{"a zone that leads elsewhere", schedule.Rule{Cron: "0 3 * * 0", TimeZone: "../../etc/passwd"}, `timeZone "../../etc/passwd" is not in the IANA database: write a name such as Europe/Berlin, or UTC`},
		{"negative jitter", schedule.Rule{Every: day, Jitter: -time.Minute}, "jitter is -1m, and nothing is due earlier than at its date: write 0s or more"},
		{"jitter as long as every", schedule.Rule{Every: day, Jitter: day}, "jitter is 1d, which is not shorter than the shortest time between two dates: write less than 1d"},
		{"jitter as long as the shortest time between dates", schedule.Rule{Cron: "0 3,5 * * *", Jitter: 2 * time.Hour}, "jitter is 2h, which is not shorter than the shortest time between two dates: write less than 2h"},
		{"jitter as long as the end of a month is from the next", schedule.Rule{Cron: "0 3 1,31 * *", Jitter: day}, "jitter is 1d, which is not shorter than the shortest time between two dates: write less than 1d"},
		{"an unknown onDue", schedule.Rule{Every: day, OnDue: "Push"}, `onDue is "Push", which is not known: write Commit or PullRequest`},
	} {
		t.Run(test.name, func(t *testing.T) { require.EqualError(t, test.rule.Check(), test.message) })
	}
	for name, rule := range map[string]schedule.Rule{
		"every hour": {Every: time.Hour}, "a month": {Every: 30 * day, Jitter: 2 * time.Hour, OnDue: schedule.PullRequest, TimeZone: "Asia/Kolkata"},
		"hourly": {Cron: "0 * * * *", TimeZone: "Europe/Berlin", Jitter: 59 * time.Minute}, "names": {Cron: "0 3 * JAN,JUL SUN", OnDue: schedule.Commit},
		"leap days": {Cron: "0 3 29 2 *", Jitter: 365 * day}, "the last day": {Cron: "0 3 L * *"}, "the last Friday": {Cron: "0 3 * * FRI#L"},
	} {
		t.Run(name+" is fine", func(t *testing.T) { require.NoError(t, rule.Check()) })
	}
}

func TestWhatIsWrongWithAMaintenance(t *testing.T) {
	freeze := func(f schedule.Freeze) schedule.Maintenance {
		return schedule.Maintenance{Freezes: []schedule.Freeze{f}}
	}
	for _, test := range []struct {
		name        string
		maintenance schedule.Maintenance
		message     string
	}{
		{"a window without length", window("", 60, 60), `the window every day 01:00-01:00 UTC has no length: write another end; a whole day is from "00:00" to "24:00"`},
		{"a start before the day", window("", -1, 60), "a window starts -1 minutes after midnight: write start from 00:00 to 23:59"},
		{"a start after the day", window("", 24*60, 60), "a window starts 1440 minutes after midnight: write start from 00:00 to 23:59"},
		{"an end before the day", window("", 60, -60), "a window ends -60 minutes after midnight: write end from 00:00 to 24:00"},
		{"an end after the day", window("", 60, 24*60+1), "a window ends 1441 minutes after midnight: write end from 00:00 to 24:00"},
		{"a day that there is not", window("", 60, 120, 7), "a window has the day 7: write days from Mon to Sun"},
		{"an unknown zone", window("Mars/Base", 60, 120), `timeZone "Mars/Base" is not in the IANA database: write a name such as Europe/Berlin, or UTC`},
		{"a freeze that ends before it begins", freeze(schedule.Freeze{From: yearEnd.Until, Until: yearEnd.From, Reason: "x"}), "the freeze from 2027-01-03T00:00:00Z ends at 2026-12-20T00:00:00Z, which is not after it begins: write a later until"},
		{"a freeze without a reason", freeze(schedule.Freeze{From: yearEnd.From, Until: yearEnd.Until, Reason: " "}), "the freeze until 2027-01-03T00:00:00Z has no reason: write one, for whoever wonders why nothing is rotated"},
	} {
		t.Run(test.name, func(t *testing.T) { require.EqualError(t, test.maintenance.Check(), test.message) })
	}
	t.Run("a whole day is fine", func(t *testing.T) { require.NoError(t, window("UTC", 0, 24*60).Check()) })
	t.Run("nothing is fine", func(t *testing.T) { require.NoError(t, schedule.Maintenance{}.Check()) })
}

func TestDurationsAsPeopleWriteThem(t *testing.T) {
	for text, expected := range map[string]struct {
		duration time.Duration
		written  string
	}{
		"30d": {30 * day, "30d"}, "2w": {14 * day, "14d"}, "720h": {30 * day, "30d"}, "720h0m0s": {30 * day, "30d"},
		"1h30m": {90 * time.Minute, "1h30m"}, "36h": {36 * time.Hour, "36h"}, "0s": {0, "0s"}, "90s": {90 * time.Second, "1m30s"}, "10m": {10 * time.Minute, "10m"},
	} {
		t.Run(text, func(t *testing.T) {
			duration, err := schedule.ParseEvery(text)
			require.NoError(t, err)
			require.Equal(t, expected.duration, duration)
			require.Equal(t, expected.written, schedule.FormatEvery(duration))
		})
	}
	for _, text := range []string{"", "30", "d", "-30d", "1.5d", "1d12h", "30 d", "1 month", "200000w", "99999999999999999999d"} {
		t.Run(text+" is refused", func(t *testing.T) {
			_, err := schedule.ParseEvery(text)
			require.ErrorContains(t, err, `"`+text+`" is not a duration: write whole days or weeks (30d, 2w), or hours and minutes (720h, 1h30m)`)
		})
	}
}
