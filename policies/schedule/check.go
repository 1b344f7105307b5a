package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

const (
	shortest   = time.Hour // between two rotations of a database; a rotation takes minutes, and consumers are restarted
	anyValue   = 1 << 63   // in a field of a parsed expression: it was a *
	cronYears  = 10        // an expression without a date in them is refused; leap days are 8 years apart at most
	datesToTry = 1000      // more than a year of dates, or so many that the shortest distance is among them
)

var fiveFields = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowNth | cron.DowLast | cron.DomL).
	WithMaxSearchYears(cronYears)

// Check says what is wrong with a rule and what to write instead.
func (r Rule) Check() error {
	return new(Evaluator).rule(r).err
}

// Check says what is wrong with a maintenance, if anything is, and what to write instead.
func (m Maintenance) Check() error {
	return new(Evaluator).check(m)
}

// parse reads the expression of a rule and checks all of the rule but its time zone.
func parse(r Rule) (*cron.SpecSchedule, error) {
	var expression *cron.SpecSchedule
	distance := r.Every
	switch {
	case r.Every == 0 && r.Cron == "":
		return nil, fmt.Errorf(`a schedule needs every or cron: write every: 30d, or cron: "0 3 * * 0"`)
	case r.Every != 0 && r.Cron != "":
		return nil, fmt.Errorf("a schedule has both every and cron: write one of them")
	case r.Every == 0:
		var err error
		if expression, err = parseCron(r.Cron); err != nil {
			return nil, err
		}
		distance = shortestDistance(expression)
	}
	switch {
	case distance < shortest && expression == nil:
		return nil, fmt.Errorf("every is %s, and a database is rotated once an hour at most: write 1h or more", FormatEvery(r.Every))
	case distance < shortest:
		return nil, fmt.Errorf("cron %q has dates that are %s apart, and a database is rotated once an hour at most: write one minute, not several", r.Cron, FormatEvery(distance))
	case r.Jitter < 0:
		return nil, fmt.Errorf("jitter is %s, and nothing is due earlier than at its date: write 0s or more", FormatEvery(r.Jitter))
	case r.Jitter >= distance:
		return nil, fmt.Errorf("jitter is %s, which is not shorter than the shortest time between two dates: write less than %s", FormatEvery(r.Jitter), FormatEvery(distance))
	case r.OnDue != "" && r.OnDue != Commit && r.OnDue != PullRequest:
		return nil, fmt.Errorf("onDue is %q, which is not known: write %s or %s", r.OnDue, Commit, PullRequest)
	}
	return expression, nil
}

// parseCron reads an expression for the clock on the wall.
func parseCron(text string) (*cron.SpecSchedule, error) {
	fields := strings.Fields(text)
	switch {
	case strings.Contains(text, "="):
		return nil, fmt.Errorf("cron %q names a time zone: write it as timeZone, beside cron", text)
	case strings.Contains(text, "@"):
		return nil, fmt.Errorf(`cron %q is a shorthand: write the five fields minute, hour, day, month and weekday ("0 3 * * 0"), or every: 30d`, text)
	case len(fields) != 5:
		return nil, fmt.Errorf(`cron %q has %d fields: write the five fields minute, hour, day, month and weekday ("0 3 * * 0")`, text, len(fields))
	}
	parsed, err := fiveFields.Parse(text)
	expression, ok := parsed.(*cron.SpecSchedule)
	if err != nil || !ok {
		return nil, fmt.Errorf(`cron %q is not understood: write the five fields minute, hour, day, month and weekday ("0 3 * * 0"): %w`, text, err)
	}
	expression.Location = time.UTC
	if expression.Dom&anyValue == 0 && expression.Dow&anyValue == 0 {
		return nil, fmt.Errorf(`cron %q says both which days and which weekdays, which some programs read as "or" and some as "and": write * for one of them (the first Monday of a month is "0 3 * * MON#1")`, text)
	}
	if expression.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, fmt.Errorf("cron %q has no date in %d years: write a day that its months have", text, cronYears)
	}
	return expression, nil
}

// shortestDistance between two dates of an expression, by the clock on the wall.
func shortestDistance(expression *cron.SpecSchedule) time.Duration {
	date := expression.Next(time.Unix(0, 0).UTC())
	end := date.AddDate(cronYears, 0, 0)
	distance := end.Sub(date)
	for range datesToTry {
		next := expression.Next(date)
		if next.IsZero() || next.After(end) {
			break
		}
		distance = min(distance, next.Sub(date))
		date = next
	}
	return distance
}

// check is Maintenance.Check.
func (e *Evaluator) check(m Maintenance) error {
	for i := range m.Windows {
		w := &m.Windows[i]
		switch {
		case w.Start < 0 || w.Start >= minutesOfDay:
			return fmt.Errorf("a window starts %d minutes after midnight: write start from 00:00 to 23:59", w.Start)
		case w.End < 0 || w.End > minutesOfDay:
			return fmt.Errorf("a window ends %d minutes after midnight: write end from 00:00 to 24:00", w.End)
		case w.Start == w.End:
			return fmt.Errorf(`the window %s has no length: write another end; a whole day is from "00:00" to "24:00"`, w)
		}
		for _, d := range w.Days {
			if d < time.Sunday || d > time.Saturday {
				return fmt.Errorf("a window has the day %d: write days from Mon to Sun", d)
			}
		}
		if _, err := e.zone(w.TimeZone); err != nil {
			return err
		}
	}
	for i := range m.Freezes {
		f := &m.Freezes[i]
		switch {
		case !f.Until.After(f.From):
			return fmt.Errorf("the freeze from %s ends at %s, which is not after it begins: write a later until", f.From.Format(time.RFC3339), f.Until.Format(time.RFC3339))
		case strings.TrimSpace(f.Reason) == "":
			return fmt.Errorf("the freeze until %s has no reason: write one, for whoever wonders why nothing is rotated", f.Until.Format(time.RFC3339))
		}
	}
	return nil
}
