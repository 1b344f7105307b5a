package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/pace"
	"github.com/gitrota/gitrota/policies/schedule"
	"github.com/gitrota/gitrota/policies/selection"
)

// Planned is when a database is to be rotated next, and why.
type Planned struct {
	Database selection.Database
	Rotated  time.Time // the last successful rotation that Git knows of; zero: none
	Rule     schedule.Rule
	From     string // where the rule is written: the policy's path:line, or the field of the MSSQLServer
	schedule.Verdict
	Held string // why nothing is asked for although it is due; empty: nothing holds it

	since time.Time // from when the dates count
}

// scheduled is a database as far as its schedule is concerned.
type scheduled struct {
	selection.Database
	began       time.Time     // when its credential came into use, if it was never rotated
	rotateAfter time.Duration // KubeDB's; 0: none
}

// databases lists those that a schedule may be about.
func databases(set *manifest.Set, targets map[string]Target, servers map[string]time.Time) []scheduled {
	var list []scheduled
	for _, t := range targets {
		began := t.ActiveFrom
		if began.IsZero() {
			began = t.Created
		}
		list = append(list, scheduled{selection.Database{Kind: t.Kind, Namespace: t.Namespace, Name: t.Name, Labels: t.Labels}, began, t.RotateAfter})
	}
	for _, s := range set.Servers {
		if len(s.Problems) == 0 {
			list = append(list, scheduled{selection.Database{Kind: manifest.KindServer, Namespace: s.Namespace, Name: s.Name, Labels: s.Labels}, servers[s.Namespace+"/"+s.Name], 0})
		}
	}
	slices.SortFunc(list, func(a, b scheduled) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

// history is what the statuses tell of a database.
type history struct {
	rotated  time.Time   // the last successful rotation
	last     Status      // the request that ran last and has ended; zero: none
	pending  string      // a request that has not ended and that nobody's word is missing for; empty: none
	declined []time.Time // dates whose pull request people have closed
}

// plan says of every database that has a schedule when it is to be rotated next. A schedule in a policy wins over the
// one in the MSSQLServer, and what cannot be followed says why.
func plan(set *manifest.Set, list []scheduled, histories map[string]history, statuses map[string]Status, now time.Time) []Planned {
	evaluator := new(schedule.Evaluator)
	var planned []Planned
	for _, d := range list {
		rules, problem := set.RulesFor(d.Database)
		p := Planned{Database: d.Database}
		switch {
		case problem != nil:
			p.Held = problem.Where() + ": " + problem.Message
			planned = append(planned, p)
			continue
		case rules.Schedule != nil:
			p.Rule, p.From = *rules.Schedule, rules.From["schedule"]
		case d.rotateAfter > 0:
			p.Rule, p.From = schedule.Rule{Every: d.rotateAfter, OnDue: schedule.Commit}, "spec.authSecret.rotateAfter of "+d.Kind+" "+d.Namespace+"/"+d.Name
		default:
			continue
		}
		known := histories[d.Namespace+"/"+d.Name]
		in := schedule.Input{Database: d.Kind + " " + d.Namespace + "/" + d.Name, Rule: p.Rule, Last: known.rotated, Declined: known.declined, Now: now}
		if p.Rotated = known.rotated; in.Last.IsZero() {
			in.Last, in.Began = d.began, true
		}
		if rules.Maintenance != nil {
			in.Maintenance = *rules.Maintenance
		}
		p.since = in.Last
		p.Verdict = evaluator.Due(in)
		own, asked := statuses[d.Namespace+"/"+p.Name]
		switch {
		case known.pending != "":
			p.Held = fmt.Sprintf("the request %s has not ended", known.pending)
		case asked && p.Due && own.Request.ID != "": // a file that was denied is bound to nothing
			p.Held = fmt.Sprintf("its request %s is %s", own.Request.Key(), own.Phase)
		case known.last.Phase == PhaseFailed && !acknowledged(set, known.last):
			p.Held = heldBy(known.last)
		}
		planned = append(planned, p)
	}
	return planned
}

// heldBy says that a failure holds what comes next, and how to go on.
func heldBy(failed Status) string {
	return fmt.Sprintf(`%s failed, and nobody has acknowledged that: annotate its manifest with %s: "why", or remove the manifest`, failed.Request.Key(), pace.Acknowledged)
}

// acknowledged reports whether a failure was acknowledged in Git.
func acknowledged(set *manifest.Set, failed Status) bool {
	for _, r := range set.Requests {
		if r.Namespace == failed.Request.Namespace && r.Name == failed.Request.Name {
			metadata, _ := r.Raw["metadata"].(map[string]any)
			annotations, _ := metadata["annotations"].(map[string]any)
			text, _ := annotations[pace.Acknowledged].(string)
			return text != ""
		}
	}
	return true // who removes the manifest has read how it ended
}

// histories reads the statuses by their databases.
func histories(statuses map[string]Status) map[string]history {
	all := map[string]history{}
	for key, s := range statuses {
		if s.Request.ID == "" || s.Request.Database == "" {
			continue
		}
		h := all[s.Request.DatabaseKey()]
		ended := s.ended()
		switch {
		case s.Phase == PhaseWaitingForApproval: // asking takes nobody's place
		case !s.Phase.Finished():
			if h.pending == "" || key < h.pending {
				h.pending = key
			}
		case s.Phase == PhaseSuccessful && ended.After(h.rotated):
			h.rotated = ended
		}
		if s.Phase == PhaseSuccessful || s.Phase == PhaseFailed {
			if before := h.last.ended(); h.last.Phase == "" || ended.After(before) || ended.Equal(before) && s.Request.Name > h.last.Request.Name {
				h.last = s
			}
		}
		all[s.Request.DatabaseKey()] = h
	}
	return all
}
