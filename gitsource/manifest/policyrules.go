package manifest

import (
	"fmt"
	"math"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/policies/pace"
	"github.com/gitrota/gitrota/policies/schedule"
)

var (
	consumersFields = []string{"restart", "maxConcurrent"}
	approvalFields  = []string{"mode", "count", "authorCounts", "by"}
	scheduleFields  = []string{"every", "cron", "timeZone", "jitter", "onDue"}
	passwordFields  = []string{"length", "minLength", "classes", "exclude", "reuse", "denyList"}
	limitsFields    = []string{"maxConcurrent", "maxPerNamespace", "afterFailure"}
)

// section returns a section of a spec, nil where there is none.
func (in *reader) section(spec *yaml.Node, name string, fields []string) *yaml.Node {
	return in.mapping(spec, name, "spec."+name, fields)
}

func readConsumers(in *reader, spec *yaml.Node) *Consumers {
	const where = "spec.consumers"
	section := in.section(spec, "consumers", consumersFields)
	if section == nil {
		return nil
	}
	restart, given := in.boolean(section, "restart", where+".restart")
	if !given {
		in.problem(section, ReasonMissingField, where+".restart is missing", "write true or false")
	}
	concurrent := in.number(section, "maxConcurrent", where+".maxConcurrent", 1, math.MaxInt32, 1)
	if !restart {
		return &Consumers{}
	}
	return &Consumers{MaxConcurrent: concurrent}
}

// readApproval reads a section that says what it takes for a change to be approved. Guardrails have two of them.
func readApproval(in *reader, spec *yaml.Node, name string) *approval.Rule {
	where := "spec." + name
	section := in.section(spec, name, approvalFields)
	if section == nil {
		return nil
	}
	before := len(in.problems)
	mode := in.choice(section, "mode", where+".mode", string(approval.Merge), string(approval.Signatures), string(approval.Reviews))
	if mode == "" && len(in.problems) == before {
		in.problem(section, ReasonMissingField, where+".mode is missing", "use Merge, Signatures or Reviews")
	}
	rule := &approval.Rule{Mode: approval.Mode(mode), By: in.words(section, "by", where+".by")}
	rule.AuthorCounts, _ = in.boolean(section, "authorCounts", where+".authorCounts")
	if rule.Mode == approval.Merge {
		for _, key := range given(section, "count", "authorCounts", "by") {
			in.problem(key, ReasonInvalidField, fmt.Sprintf("%s.%s is about who approves, and in the mode Merge nobody is asked", where, key.Value),
				"leave it out, or use the mode Signatures or Reviews")
		}
		return rule
	}
	rule.Count = in.number(section, "count", where+".count", 1, math.MaxInt32, 1)
	if rule.Mode == approval.Reviews {
		for _, key := range given(section, "authorCounts") {
			in.problem(key, ReasonInvalidField, where+".authorCounts is about signatures, and nobody reviews a pull request of his own", "leave it out")
		}
	}
	if len(rule.By) > 0 && rule.Count > len(rule.By) {
		in.problem(section, ReasonInvalidField, fmt.Sprintf("%s.count is %d and %s.by names %d, so nothing could ever be approved", where, rule.Count, where, len(rule.By)),
			"name more, or ask for fewer")
	}
	return rule
}

func readSchedule(in *reader, spec *yaml.Node) *schedule.Rule {
	const where = "spec.schedule"
	section := in.section(spec, "schedule", scheduleFields)
	if section == nil {
		return nil
	}
	rule := &schedule.Rule{
		Every:    in.span(section, "every", where+".every"),
		TimeZone: in.timeZone(section, "timeZone", where+".timeZone"),
		Jitter:   in.span(section, "jitter", where+".jitter"),
		OnDue:    schedule.OnDue(in.choice(section, "onDue", where+".onDue", string(schedule.Commit), string(schedule.PullRequest))),
	}
	if rule.OnDue == "" {
		rule.OnDue = schedule.Commit
	}
	rule.Cron, _ = in.str(section, "cron", where+".cron")
	switch ways := given(section, "every", "cron"); {
	case len(ways) == 0:
		in.problem(section, ReasonMissingField, where+" does not say when", "give one of every and cron")
	case len(ways) == 2:
		in.problem(ways[1], ReasonInvalidField, where+".every and "+where+".cron are both there, and only one can say when", "keep one of them")
	case ways[0].Value == "every":
		for _, key := range given(section, "timeZone") {
			in.problem(key, ReasonInvalidField, where+".timeZone is that of "+where+".cron, and there is none", "leave it out")
		}
	case len(strings.Fields(rule.Cron)) != 5:
		in.problem(ways[0], ReasonInvalidField, where+".cron does not have five fields",
			`write minute, hour, day of the month, month and day of the week, such as "0 3 * * 0"`)
	}
	return rule
}

func readPassword(in *reader, spec *yaml.Node) *credential.Rules {
	const where = "spec.password"
	section := in.section(spec, "password", passwordFields)
	if section == nil {
		return nil
	}
	before := len(in.problems)
	number := func(field string) int { return in.number(section, field, where+"."+field, 0, math.MaxInt32, 0) }
	rules := &credential.Rules{
		Length: number("length"), MinLength: number("minLength"), Classes: number("classes"), Reuse: number("reuse"),
		DenyList: in.words(section, "denyList", where+".denyList"),
	}
	rules.Exclude, _ = in.str(section, "exclude", where+".exclude")
	if len(rules.DenyList) > maxWords {
		in.problem(section, ReasonInvalidField, fmt.Sprintf("%s.denyList has %d words, and a policy may have %d", where, len(rules.DenyList), maxWords),
			"put a long list into the agent's guardrails")
	}
	if flaw := rules.Check(); flaw != nil && len(in.problems) == before {
		in.problem(section, ReasonInvalidField, where+" cannot be followed: "+flaw.Error(), "")
	}
	return rules
}

// maxWords bounds a deny list in Git, which every rotation takes along.
const maxWords = 100

func readLimits(in *reader, spec *yaml.Node) *pace.Limits {
	const where = "spec.limits"
	section := in.section(spec, "limits", limitsFields)
	if section == nil {
		return nil
	}
	limits := &pace.Limits{
		MaxConcurrent:   in.number(section, "maxConcurrent", where+".maxConcurrent", 1, math.MaxInt32, 0),
		MaxPerNamespace: in.number(section, "maxPerNamespace", where+".maxPerNamespace", 1, math.MaxInt32, 0),
		AfterFailure:    pace.AfterFailure(in.choice(section, "afterFailure", where+".afterFailure", string(pace.Continue), string(pace.Hold))),
	}
	if limits.AfterFailure == "" {
		limits.AfterFailure = pace.Continue
	}
	return limits
}
