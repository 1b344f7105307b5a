package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// choice returns a field that is one of some words, "" where it is not there or wrong.
func (in *reader) choice(mapping *yaml.Node, field, where string, words ...string) string {
	text, ok := in.str(mapping, field, where)
	if !ok || text == "" || slices.Contains(words, text) {
		return text
	}
	_, value := get(mapping, field)
	last := len(words) - 1
	in.problem(value, ReasonInvalidField, fmt.Sprintf("%s is %q", where, cut(text)), "use "+strings.Join(words[:last], ", ")+" or "+words[last])
	return ""
}

// words returns the items of a field that is a list of texts, each of them there once.
func (in *reader) words(mapping *yaml.Node, field, where string) []string {
	var found []string
	for i, item := range in.list(mapping, field, where) {
		text, ok := in.scalar(item, fmt.Sprintf("%s[%d]", where, i))
		switch {
		case !ok:
		case text == "":
			in.problem(item, ReasonInvalidField, fmt.Sprintf("%s[%d] is empty", where, i), "leave it out")
		case strings.ContainsFunc(text, unicode.IsControl):
			in.problem(item, ReasonInvalidField, fmt.Sprintf("%s[%d] %q has characters that cannot be shown", where, i, cut(text)), "write it on one line")
		case slices.Contains(found, text):
			in.problem(item, ReasonInvalidField, fmt.Sprintf("%s has %q twice", where, cut(text)), "keep one of them")
		default:
			found = append(found, text)
		}
	}
	return found
}

// oneLine makes a line of a text that is shown to people, without what a terminal could take for a command.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }), " ")
}

// labels returns a mapping of labels as Kubernetes objects have them. The hint says where to get them from.
func (in *reader) labels(mapping *yaml.Node, where, whose, hint string) map[string]string {
	found := map[string]string{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		text, ok := in.scalar(value, fmt.Sprintf("the label %q in %s", cut(key.Value), where))
		if ok && (!isLabelKey(key.Value) || !labelValue.MatchString(text)) {
			in.problem(key, ReasonInvalidField, fmt.Sprintf("%q in %s is not a label that %s can have", cut(key.Value+": "+text), where, whose), hint)
		}
		found[key.Value] = text
	}
	return found
}

// span returns a field's time span, which may be given in days and weeks, 0 where it is not there or wrong.
func (in *reader) span(mapping *yaml.Node, field, where string) time.Duration {
	_, value := get(mapping, field)
	if isNull(value) {
		return 0
	}
	if d, ok := parseSpan(value.Value); ok && isString(value) {
		return d
	}
	in.problem(value, ReasonInvalidField, where+" is not a time span above zero", "write it with its unit, such as 90m, 12h, 30d or 2w")
	return 0
}

// maxSpan bounds time spans: whoever means "never" should say so in another way.
const maxSpan = 10 * 366 * 24 * time.Hour

// parseSpan reads what time.ParseDuration does, and whole days and weeks.
func parseSpan(text string) (time.Duration, bool) {
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseUint(number, 10, 16)
			d := time.Duration(n) * length
			return d, err == nil && d > 0 && d <= maxSpan
		}
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d > 0 && d <= maxSpan
}

// timeZone returns a field that names a time zone, "" where it is not there or wrong. Local is none: it would mean
// something else wherever the agent runs.
func (in *reader) timeZone(mapping *yaml.Node, field, where string) string {
	name, ok := in.str(mapping, field, where)
	if !ok || name == "" {
		return ""
	}
	if _, err := time.LoadLocation(name); err != nil || name == "Local" {
		_, value := get(mapping, field)
		in.problem(value, ReasonInvalidField, fmt.Sprintf("%s %q is no time zone that is known here", where, cut(name)),
			"use a name of the IANA database, such as Europe/Berlin or UTC")
		return ""
	}
	return name
}

// clock returns a field's time of day in minutes after midnight.
func (in *reader) clock(mapping *yaml.Node, field, where string) int {
	text, ok := in.str(mapping, field, where)
	if !ok {
		return 0
	}
	if text == "" {
		in.problem(mapping, ReasonMissingField, where+" is missing", `write a time of day, such as "22:00"`)
		return 0
	}
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		_, value := get(mapping, field)
		in.problem(value, ReasonInvalidField, fmt.Sprintf("%s %q is no time of day", where, cut(text)), `write hours and minutes in quotes, from "00:00" to "23:59"`)
		return 0
	}
	return at.Hour()*60 + at.Minute()
}

// moment returns a field's point in time, in UTC; the zero time where it is not there or wrong.
func (in *reader) moment(mapping *yaml.Node, field, where string) time.Time {
	const likeThis = "write it as 2026-12-20T00:00:00Z, or with an offset in place of the Z"
	_, value := get(mapping, field)
	if isNull(value) {
		in.problem(mapping, ReasonMissingField, where+" is missing", likeThis)
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, value.Value)
	if err != nil || value.Kind != yaml.ScalarNode {
		in.problem(value, ReasonInvalidField, where+" is not a point in time", likeThis)
		return time.Time{}
	}
	return at.UTC()
}
