package manifest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gitrota/gitrota/policies/schedule"
)

var (
	maintenanceFields = []string{"windows", "freezes"}
	windowFields      = []string{"days", "start", "end", "timeZone"}
	freezeFields      = []string{"from", "until", "reason"}
	weekdays          = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"} // by time.Weekday
)

func readMaintenance(in *reader, spec *yaml.Node) *schedule.Maintenance {
	const where = "spec.maintenance"
	section := in.section(spec, "maintenance", maintenanceFields)
	if section == nil {
		return nil
	}
	m := &schedule.Maintenance{}
	for i, item := range in.list(section, "windows", where+".windows") {
		m.Windows = append(m.Windows, readWindow(in, item, fmt.Sprintf("%s.windows[%d]", where, i)))
	}
	for i, item := range in.list(section, "freezes", where+".freezes") {
		m.Freezes = append(m.Freezes, readFreeze(in, item, fmt.Sprintf("%s.freezes[%d]", where, i)))
	}
	return m
}

func readWindow(in *reader, item *yaml.Node, where string) schedule.Window {
	if !in.isMapping(item, where, windowFields, `write {days: [Sat, Sun], start: "22:00", end: "04:00"}`) {
		return schedule.Window{}
	}
	w := schedule.Window{
		Start:    in.clock(item, "start", where+".start"),
		End:      in.clock(item, "end", where+".end"),
		TimeZone: in.timeZone(item, "timeZone", where+".timeZone"),
	}
	for _, name := range in.words(item, "days", where+".days") {
		day := slices.Index(weekdays, name)
		if day < 0 {
			_, days := get(item, "days")
			in.problem(days, ReasonInvalidField, fmt.Sprintf("%s.days has %q", where, cut(name)), "the days are "+strings.Join(weekdays, ", "))
			continue
		}
		w.Days = append(w.Days, time.Weekday(day))
	}
	return w
}

func readFreeze(in *reader, item *yaml.Node, where string) schedule.Freeze {
	if !in.isMapping(item, where, freezeFields, "write {from: 2026-12-20T00:00:00Z, until: 2027-01-03T00:00:00Z, reason: year end}") {
		return schedule.Freeze{}
	}
	f := schedule.Freeze{From: in.moment(item, "from", where+".from"), Until: in.moment(item, "until", where+".until")}
	reason, ok := in.str(item, "reason", where+".reason")
	if f.Reason = cut(oneLine(reason)); ok && f.Reason == "" {
		in.problem(item, ReasonMissingField, where+".reason is missing", "say why, for those whose rotations wait")
	}
	if !f.From.IsZero() && !f.Until.IsZero() && !f.Until.After(f.From) {
		_, until := get(item, "until")
		in.problem(until, ReasonInvalidField, where+".until is not after "+where+".from", "swap or correct them")
	}
	return f
}
