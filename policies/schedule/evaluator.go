package schedule

import (
	"fmt"
	"time"

	"github.com/netresearch/go-cron"
)

// Evaluator evaluates many databases and remembers each rule and time zone that it has read. The zero value is ready. It
// grows with every rule that it has not seen before, so make a new one when the policies have changed. It is not safe
// for concurrent use.
type Evaluator struct {
	rules map[Rule]parsed
	zones map[string]*time.Location
}

// parsed is a rule that was read, or what is wrong with it.
type parsed struct {
	cron *cron.SpecSchedule
	zone *time.Location
	err  error
}

func (e *Evaluator) rule(r Rule) parsed {
	if known, ok := e.rules[r]; ok {
		return known
	}
	var p parsed
	if p.cron, p.err = parse(r); p.err == nil {
		p.zone, p.err = e.zone(r.TimeZone)
	}
	if e.rules == nil {
		e.rules = map[Rule]parsed{}
	}
	e.rules[r] = p
	return p
}

func (e *Evaluator) zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if known, ok := e.zones[name]; ok {
		return known, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || zone == time.Local { // Local is another zone on each machine
		return nil, fmt.Errorf("timeZone %q is not in the IANA database: write a name such as Europe/Berlin, or UTC", name)
	}
	if e.zones == nil {
		e.zones = map[string]*time.Location{}
	}
	e.zones[name] = zone
	return zone, nil
}
