package pace

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"
)

// Reason says in one word why a rotation begins or waits. Reasons are part of the API.
type Reason string

const (
	Begins           Reason = "Begins"           // it is its turn
	Resumes          Reason = "Resumes"          // it was cut off
	HeldAfterFailure Reason = "HeldAfterFailure" // the last rotation of its database failed, and nobody has acknowledged that
	AtOverallLimit   Reason = "AtOverallLimit"   // as many rotations run as may in all
	AtPolicyLimit    Reason = "AtPolicyLimit"    // as many run as may under its policy
	AtNamespaceLimit Reason = "AtNamespaceLimit" // as many run as may in its namespace under its policy
)

// stormFactor is how many times more than may run have to wait for a storm: it will take long, and people should know.
const stormFactor = 10

// Rotation is one that waits or runs.
type Rotation struct {
	Key       string // of its request, unique: namespace/name
	Database  string // namespace/name
	Namespace string
	Came      time.Time // when its request came
	Policy    Policy
	Resumed   bool // it had begun and was cut off; for one that waits
}

// Failure is the last rotation of a database, if it has failed and nobody has acknowledged that.
type Failure struct {
	Request string // namespace/name
	Where   string // its manifest is, for people: path:line
}

// Input is what is decided on. Rotations may be in any order.
type Input struct {
	Waiting, Running []Rotation
	Max              int                // how many may run in all; 0: no limit
	Failed           map[string]Failure // by database
}

// Verdict says of one waiting rotation whether it begins.
type Verdict struct {
	Key     string
	Begin   bool // with Begins and Resumes
	Reason  Reason
	Message string // for people
}

// Decide returns one verdict for each waiting rotation: first those that begin, in the order in which they should, then
// the others, oldest first.
func Decide(in Input) []Verdict {
	q := newQueue(in)
	verdicts := make([]Verdict, 0, len(in.Waiting))
	for _, w := range q.resumed {
		verdicts = append(verdicts, Verdict{w.Key, true, Resumes, "begins again, for it was cut off"})
	}
	for len(q.turns) > 0 && q.overall.hasRoom() {
		next := q.turns[0]
		if w := next.waiting[0]; w.hasRoom() {
			w.begin()
			verdicts = append(verdicts, Verdict{w.Key, true, Begins, "begins, for it is its turn"})
		}
		next.waiting = next.waiting[1:]
		if len(next.waiting) > 0 {
			heap.Fix(&q.turns, 0)
		} else {
			heap.Pop(&q.turns)
		}
	}
	for _, w := range q.others {
		if !w.begun && !w.held {
			w.wait()
		}
	}
	for _, w := range q.others {
		switch {
		case w.begun:
		case w.held:
			verdicts = append(verdicts, Verdict{w.Key, false, HeldAfterFailure, w.heldBy(in.Failed[w.Database])})
		default:
			full := w.fullGroup()
			verdicts = append(verdicts, Verdict{w.Key, false, full.reason, full.message()})
		}
	}
	return verdicts
}

// waiting is a rotation that waits and the groups in which it counts.
type waiting struct {
	*Rotation
	groups      [4]*group // overall, policy, policy and namespace, namespace
	held, begun bool
}

func (w *waiting) hasRoom() bool { return w.fullGroup() == nil }

// fullGroup returns the widest group that has no room. The widest stays full for longest, so that the reason seldom changes.
func (w *waiting) fullGroup() *group {
	for _, g := range w.groups {
		if !g.hasRoom() {
			return g
		}
	}
	return nil
}

func (w *waiting) begin() {
	w.begun = true
	for _, g := range w.groups {
		g.running++
	}
}

func (w *waiting) wait() {
	for _, g := range w.groups {
		g.waiting++
	}
}

func (w *waiting) heldBy(failure Failure) string {
	manifest := "its manifest"
	if failure.Where != "" {
		manifest += " " + failure.Where
	}
	return fmt.Sprintf("%s failed, and the policy %s holds the next rotation of %s until that is acknowledged: annotate %s with %s: \"why\", or remove the manifest",
		failure.Request, w.Policy.Where, w.Database, manifest, Acknowledged)
}

func older(a, b *waiting) int {
	return cmp.Or(a.Came.Compare(b.Came), cmp.Compare(a.Key, b.Key))
}

// sorted returns the rotations that wait, oldest first.
func sorted(list []waiting) []*waiting {
	pointers := make([]*waiting, len(list))
	for i := range list {
		pointers[i] = &list[i]
	}
	slices.SortFunc(pointers, older)
	return pointers
}
