package audit

import (
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/gitrota/gitrota/reconcile"
)

// clockSkew is how far the clocks of two machines that the agent ran on may be apart.
const clockSkew = 5 * time.Minute

// afterTheEnd are the conditions that a status may get or change after its request has ended.
var afterTheEnd = map[string]bool{reconcile.TypeRequestChanged: true, reconcile.TypeOverwritten: true}

// isEnded reports whether a status may not change any more. A manifest that could not be read as a request was denied
// without a rotation id, and is judged anew when it is mended.
func isEnded(s reconcile.Status) bool { return s.Phase.Finished() && s.Request.ID != "" }

// transition judges that the agent replaced one status by another, in a commit made at that time. The first is zero
// where there was none. Until a request has ended, its status may say something else each time. It returns no reason if
// nothing is wrong.
func transition(before, after reconcile.Status, committed time.Time) (Reason, string) {
	if isEnded(before) {
		if reason, message := rewritten(before, after); reason != "" {
			return reason, message
		}
	}
	return timesOf(after, committed)
}

// rewritten compares an ended status with what has become of it.
func rewritten(before, after reconcile.Status) (Reason, string) {
	switch {
	case !after.Phase.Finished():
		return StatusWentBackwards, fmt.Sprintf("the request had ended as %s, and is %s", before.Phase, after.Phase)
	case after.Phase != before.Phase:
		return StatusRewritten, fmt.Sprintf("the request had ended as %s, and is said to have ended as %s", before.Phase, after.Phase)
	case after.Request.ID != before.Request.ID:
		return StatusRewritten, fmt.Sprintf("it was the status of rotation %s, and is that of %q", before.Request.ID, after.Request.ID)
	case !reflect.DeepEqual(settled(before), settled(after)):
		return StatusRewritten, "the request in the status of an ended rotation is another one than before"
	}
	was, is := steps(before), steps(after)
	for i, c := range was {
		if i >= len(is) || !same(c, is[i]) {
			return StatusRewritten, fmt.Sprintf("the condition %s of an ended request is gone, or says something else", c.Type)
		}
	}
	if len(is) > len(was) {
		return StatusRewritten, fmt.Sprintf("an ended request got the condition %s", is[len(was)].Type)
	}
	for _, c := range before.Conditions {
		if !afterTheEnd[c.Type] {
			continue
		}
		now, found := find(after, c.Type)
		if !found {
			return StatusRewritten, fmt.Sprintf("the condition %s of an ended request is gone", c.Type)
		}
		if now.LastTransitionTime.Before(c.LastTransitionTime.Add(-clockSkew)) {
			return TimeWentBackwards, fmt.Sprintf("the condition %s is of %s, and was of %s before", c.Type, utc(now.LastTransitionTime), utc(c.LastTransitionTime))
		}
	}
	return "", ""
}

// timesOf checks the times within one status.
func timesOf(s reconcile.Status, committed time.Time) (Reason, string) {
	end, ended := find(s, string(s.Phase))
	for _, c := range s.Conditions {
		if c.LastTransitionTime.After(committed.Add(clockSkew)) {
			return TimeWentBackwards, fmt.Sprintf("the condition %s is of %s, which is after the commit, of %s", c.Type, utc(c.LastTransitionTime), utc(committed))
		}
		if !ended || !isEnded(s) || c.Type == reconcile.TypeOverwritten {
			continue
		}
		if !afterTheEnd[c.Type] && c.LastTransitionTime.After(end.LastTransitionTime.Add(clockSkew)) {
			return TimeWentBackwards, fmt.Sprintf("the condition %s is of %s, and the request had ended at %s", c.Type, utc(c.LastTransitionTime), utc(end.LastTransitionTime))
		}
		if afterTheEnd[c.Type] && c.LastTransitionTime.Before(end.LastTransitionTime.Add(-clockSkew)) {
			return TimeWentBackwards, fmt.Sprintf("the condition %s is of %s, before the end of the request at %s", c.Type, utc(c.LastTransitionTime), utc(end.LastTransitionTime))
		}
	}
	return "", ""
}

// settled is what a status file says of the request and where it came from. The server's description in an annotation
// follows what a later look at the database was told.
func settled(s reconcile.Status) map[string]any {
	object := maps.Clone(s.Request.Manifest)
	if metadata, ok := object["metadata"].(map[string]any); ok {
		metadata = maps.Clone(metadata)
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			annotations = maps.Clone(annotations)
			delete(annotations, "gitrota.dev/server")
			metadata["annotations"] = annotations
		}
		object["metadata"] = metadata
	}
	return object
}

// steps are the conditions of the request's own run.
func steps(s reconcile.Status) []reconcile.Condition {
	var own []reconcile.Condition
	for _, c := range s.Conditions {
		if !afterTheEnd[c.Type] {
			own = append(own, c)
		}
	}
	return own
}

func same(a, b reconcile.Condition) bool {
	x, y := a, b
	x.LastTransitionTime, y.LastTransitionTime = time.Time{}, time.Time{}
	return x == y && a.LastTransitionTime.Equal(b.LastTransitionTime)
}

func find(s reconcile.Status, kind string) (reconcile.Condition, bool) {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c, true
		}
	}
	return reconcile.Condition{}, false
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
