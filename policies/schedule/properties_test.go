package schedule_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/gitrota/gitrota/policies/schedule"
)

var (
	zones = rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe", "America/Santiago", "Antarctica/Troll", "Asia/Kolkata"})
	// Half of the times are near a day on which some clock is put forward or back.
	times = rapid.Custom(func(t *rapid.T) time.Time {
		changes := []time.Time{
			time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC),
			time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC), time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC),
			time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC), time.Date(2026, 9, 6, 4, 0, 0, 0, time.UTC),
		}
		if rapid.Bool().Draw(t, "near a change") {
			return rapid.SampledFrom(changes).Draw(t, "change").Add(time.Duration(rapid.IntRange(-30*3600, 30*3600).Draw(t, "seconds")) * time.Second)
		}
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 400*86400).Draw(t, "seconds")) * time.Second)
	})
	rules = rapid.Custom(func(t *rapid.T) schedule.Rule {
		jitter := time.Duration(rapid.IntRange(0, 3599).Draw(t, "jitter")) * time.Second
		if rapid.Bool().Draw(t, "every") {
			return schedule.Rule{Every: time.Duration(rapid.IntRange(3600, 60*86400).Draw(t, "seconds")) * time.Second, Jitter: jitter}
		}
		hour := rapid.SampledFrom([]string{"*", "0", "1", "2", "2,3", "1-3", "23", "*/6"}).Draw(t, "hour")
		days := rapid.SampledFrom([]string{"* * *", "* * SUN", "1 * *", "L * *", "* * MON#2", "* 3,4,10,11 *"}).Draw(t, "days")
		return schedule.Rule{Cron: fmt.Sprintf("%d %s %s", rapid.IntRange(0, 59).Draw(t, "minute"), hour, days), TimeZone: zones.Draw(t, "zone"), Jitter: jitter}
	})
	maintenances = rapid.Custom(func(t *rapid.T) schedule.Maintenance {
		var m schedule.Maintenance
		for range rapid.IntRange(0, 3).Draw(t, "windows") {
			w := schedule.Window{Start: rapid.IntRange(0, 1439).Draw(t, "start"), End: rapid.IntRange(0, 1440).Draw(t, "end"), TimeZone: zones.Draw(t, "zone")}
			if w.Start == w.End {
				w.End++
			}
			for day := time.Sunday; day <= time.Saturday; day++ {
				if rapid.Bool().Draw(t, day.String()) {
					w.Days = append(w.Days, day)
				}
			}
			m.Windows = append(m.Windows, w)
		}
		for range rapid.IntRange(0, 2).Draw(t, "freezes") {
			from := times.Draw(t, "from")
			m.Freezes = append(m.Freezes, schedule.Freeze{From: from, Until: from.Add(time.Duration(rapid.IntRange(1, 20*86400).Draw(t, "seconds")) * time.Second), Reason: "a test"})
		}
		return m
	})
	inputs = rapid.Custom(func(t *rapid.T) schedule.Input {
		last := times.Draw(t, "last")
		return schedule.Input{
			Database: rapid.StringMatching(`SQLServer [a-z]{1,8}/[a-z]([a-z-]{0,70}[a-z])?`).Draw(t, "database"), Rule: rules.Draw(t, "rule"), Maintenance: maintenances.Draw(t, "maintenance"),
			Last: last, Declined: rapid.SliceOfN(times, 0, 2).Draw(t, "declined"), Now: last.Add(time.Duration(rapid.IntRange(0, 90*86400).Draw(t, "seconds later")) * time.Second),
		}
	})
)

func TestOnceDueStaysDueAndDatesOnlyMoveOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs.Draw(t, "input")
		earlier := schedule.Due(in)
		in.Now = in.Now.Add(time.Duration(rapid.IntRange(0, 10*86400).Draw(t, "seconds")) * time.Second)
		later := schedule.Due(in)
		require.False(t, earlier.Due && !later.Due, "%s became %s", earlier.Message, later.Message)
		require.False(t, later.Date.Before(earlier.Date), "%s became %s", earlier.Message, later.Message)
		require.False(t, !earlier.Due && later.Due && earlier.Drawn.After(in.Now), "%s came early: %s", earlier.Message, later.Message)
		if !later.Due {
			require.Equal(t, earlier.Message, later.Message, "nothing has happened, so nothing is told")
		}
	})
}

func TestWhoeverEvaluatesGetsTheSame(t *testing.T) {
	var shared schedule.Evaluator
	rapid.Check(t, func(t *rapid.T) {
		in := inputs.Draw(t, "input")
		expected := schedule.Due(in)
		in.Now, in.Last = in.Now.In(time.FixedZone("elsewhere", 3600)), in.Last.Add(time.Nanosecond)
		slices.Reverse(in.Declined)
		require.Equal(t, expected, shared.Due(in))
	})
}

func TestJitterIsShorterThanTheRuleSaysAndThanTheTimeToTheNextDate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs.Draw(t, "input")
		v := schedule.Due(in)
		require.False(t, v.Drawn.Before(v.Date))
		require.Less(t, v.Drawn.Sub(v.Date), max(in.Rule.Jitter, 1))
		in.Rule.Jitter = 0
		in.Last, in.Declined, in.Now = v.Date, nil, v.Date
		require.True(t, v.Drawn.Before(schedule.Due(in).Date))
	})
}

func TestItBeginsWhenTheVerdictSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs.Draw(t, "input")
		v := schedule.Due(in)
		require.NotZero(t, v.Begins, v.Message)
		in.Now = v.Begins
		then := schedule.Due(in)
		require.Equal(t, schedule.DueNow, then.Reason, "%s became %s", v.Message, then.Message)
		require.Equal(t, v.Begins, then.Begins)
		require.LessOrEqual(t, len(v.Name), 63)
	})
}

func TestTheNextOpeningIsOpenAndNothingBeforeItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, now := maintenances.Draw(t, "maintenance"), times.Draw(t, "now")
		require.NoError(t, m.Check())
		opening := m.Open(now)
		require.False(t, opening.Next.Before(now))
		require.True(t, m.Open(opening.Next).Open, opening.Message)
		if opening.Open {
			return
		}
		require.False(t, m.Open(opening.Next.Add(-time.Second)).Open, opening.Message)
		step := max(time.Minute, opening.Next.Sub(now)/500)
		for moment := now; moment.Before(opening.Next); moment = moment.Add(step) {
			require.False(t, m.Open(moment).Open, "%s, but it is open at %s", opening.Message, moment)
		}
	})
}

func TestADailyDateComesOnceEachDay(t *testing.T) {
	var evaluator schedule.Evaluator
	rapid.Check(t, func(t *rapid.T) {
		zone := zones.Draw(t, "zone")
		location, err := time.LoadLocation(zone)
		require.NoError(t, err)
		rule := schedule.Rule{Cron: fmt.Sprintf("%d %d * * *", rapid.IntRange(0, 59).Draw(t, "minute"), rapid.IntRange(0, 23).Draw(t, "hour")), TimeZone: zone}
		last := times.Draw(t, "start")
		var previous time.Time
		for range 10 {
			last = evaluator.Due(schedule.Input{Database: "SQLServer demo/orders", Rule: rule, Last: last, Now: last}).Date
			year, month, day := last.In(location).Date()
			date := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
			if !previous.IsZero() {
				require.Equal(t, 24*time.Hour, date.Sub(previous), "%s in %s after %s", date, zone, previous)
			}
			previous = date
		}
	})
}

func TestNoTextBreaksTheParserOrCannotBeEvaluated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[-0-9*/,?LW#A-Z@=]{1,4}( [-0-9*/,?LW#A-Z]{1,6}){4}`).Draw(t, "cron")
		rule := schedule.Rule{Cron: text, TimeZone: zones.Draw(t, "zone")}
		now := times.Draw(t, "now")
		v := schedule.Due(schedule.Input{Database: "SQLServer demo/orders", Rule: rule, Last: now, Now: now})
		require.Equal(t, rule.Check() != nil, v.Reason == schedule.Invalid)
	})
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		_ = schedule.Rule{Cron: text, TimeZone: text}.Check()
		if duration, err := schedule.ParseEvery(text); err == nil {
			again, err := schedule.ParseEvery(schedule.FormatEvery(duration))
			require.NoError(t, err)
			require.Equal(t, duration, again)
		}
	})
}

func BenchmarkDue(b *testing.B) {
	rules := []schedule.Rule{{Every: 30 * day, Jitter: 2 * time.Hour}, {Cron: "0 3 * * 0", TimeZone: "Europe/Berlin", Jitter: time.Hour}, {Cron: "0 4 1 * *", TimeZone: "Australia/Sydney"}}
	freezes := []schedule.Freeze{yearEnd}
	inputs := make([]schedule.Input, 10_000)
	for i := range inputs {
		last := at(b, "2026-11-01T03:00:00Z").Add(time.Duration(i) * 5 * time.Minute)
		inputs[i] = schedule.Input{Database: fmt.Sprintf("MSSQLServer team-%d/orders-%d", i%100, i), Rule: rules[i%3], Last: last, Now: at(b, "2026-12-05T12:00:00Z"), Maintenance: schedule.Maintenance{Windows: weeknights.Windows, Freezes: freezes}}
	}
	b.ReportAllocs()
	for b.Loop() {
		var evaluator schedule.Evaluator
		for _, in := range inputs {
			if evaluator.Due(in).Reason == schedule.Invalid {
				b.Fatal("the benchmark is wrong")
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(inputs)), "ns/database")
}
