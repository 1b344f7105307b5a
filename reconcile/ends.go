package reconcile

import "slices"

// An end is told once. The first one that the keeper was given, or Git where no keeper can be written, is how a rotation
// ended, whatever a process believes that slept meanwhile, or that knows less: what it has to say of an end is only what
// happened afterwards. So an end is in the keeper before anybody is told of it: see rotation.conclude and Engine.End.

// isEnd reports whether a status says how a rotation ended. A manifest that could not be read as a request was denied
// without a rotation id, and is judged anew when it is mended.
func (s Status) isEnd() bool { return s.Phase.Finished() && s.Request.ID != "" }

// afterTheEnd are the conditions that a status may get or change after its rotation has ended.
var afterTheEnd = map[string]bool{TypeRequestChanged: true, TypeOverwritten: true}

// upheld returns what is to be said where told was said before and s is believed now: s, unless told is an end. Then it
// is that end, with what s knows to have happened after it.
func upheld(told, s Status) Status {
	if !told.isEnd() {
		return s
	}
	end := told.clone()
	if s.Request.ID != told.Request.ID {
		return end // the name is taken
	}
	if len(end.Escrow) == 0 {
		end.Escrow = s.Escrow
	}
	for _, c := range s.Conditions {
		if !afterTheEnd[c.Type] {
			continue
		}
		i := slices.IndexFunc(end.Conditions, func(before Condition) bool { return before.Type == c.Type })
		switch {
		case i < 0:
			end.Conditions = append(end.Conditions, c)
		case c.LastTransitionTime.After(end.Conditions[i].LastTransitionTime):
			end.Conditions[i] = c
		}
	}
	return end
}
