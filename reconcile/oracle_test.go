package reconcile_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

// oracle watches a simulation, and knows what must never happen.
type oracle struct {
	unasked    bool     // no policy asks for a history
	lived      []string // the passwords that the keeper has called live, each once, the newest last
	violations []string
	repeats    []string // rotations that ran twice
	rewrites   []string // ends that were told, and then told otherwise
	endless    string   // why something does not end; empty: it does
	story      []string // what went wrong, at which call

	told       map[string]reconcile.Status // by rotation id: how it ended, as Git has heard it first
	staged     map[string]string           // by rotation id: the password that was staged for it
	ends       string                      // what the keeper says last has ended
	latest     reconcile.Status            // of the request that others have served last
	lostKeeper reconcile.Secret            // what somebody has deleted
	lost       int                         // for how many calls it has been gone
	disturbed  bool                        // somebody has deleted or overwritten something
	amnesia    bool                        // and that was the keeper
	unguarded  bool                        // who was stopped has made a change that no server could guard; see README.md
	harmed     bool                        // a server was made to fail
	began      time.Time
	slept      time.Duration // by processes that were stopped
}

func newOracle() oracle {
	return oracle{told: map[string]reconcile.Status{}, staged: map[string]string{}}
}

func (o oracle) clone() oracle {
	o.lived, o.violations = slices.Clone(o.lived), slices.Clone(o.violations)
	o.told, o.staged = maps.Clone(o.told), maps.Clone(o.staged)
	return o
}

func (o *oracle) violate(format string, args ...any) {
	if len(o.violations) < 20 {
		o.violations = append(o.violations, fmt.Sprintf(format, args...))
	}
}

func (o *oracle) String() string {
	list := slices.Concat(o.story, o.violations, o.repeats, o.rewrites)
	if o.endless != "" {
		list = append(list, o.endless)
	}
	return strings.Join(list, "; ")
}

// patience is for how many calls a keeper may be gone that somebody has deleted.
const patience = 60

// check watches every call: the password that a server accepts, of a login that was ever changed, is in the keeper.
// Clients of a pair never meet a refused password.
func (s *simulation) check() {
	keeper, there := s.secrets["db-auth-keeper"]
	if there {
		s.lostKeeper, s.lost = reconcile.Secret{}, 0
	} else if s.lostKeeper.UID != "" && s.lost < patience {
		keeper = s.lostKeeper
		s.lost++
	}
	for _, server := range s.stores() {
		for login := range server.given {
			if !s.unguarded && !holds(keeper, login, server.logins[login], keys...) {
				s.violate("lost: no key of the keeper opens %s as %s", server.name, login)
			}
		}
	}
	if s.mode.pair() && !s.disturbed && !s.opens() {
		s.violate("refused: the auth Secret does not open every server")
	}
}

// keys are those under which a keeper has credentials.
var keys = []string{
	"next", "live", "previous", "retired",
	"dropped", "dropped-2", "dropped-3", "dropped-4", "dropped-5", "dropped-6", "dropped-7", "dropped-8",
}

// holds reports whether a keeper has a credential under one of the keys.
func holds(keeper reconcile.Secret, login, password string, keys ...string) bool {
	for _, key := range keys {
		if keeper.Data[key+".username"].Reveal() == login && keeper.Data[key+".password"].Reveal() == password {
			return true
		}
	}
	return false
}

// keeperWritten watches every write of the keeper: a rotation has one password, and is not begun again once it has ended.
func (s *simulation) keeperWritten(before, after reconcile.Secret) {
	s.checkHistory(after)
	s.checkEnds(after)
	id, password := after.Data["next.rotation-id"].Reveal(), after.Data["next.password"].Reveal()
	if id == "" || id == before.Data["next.rotation-id"].Reveal() && password == before.Data["next.password"].Reveal() {
		return
	}
	if staged, known := s.staged[id]; known && staged != password {
		s.repeats = append(s.repeats, "repeated: another password is staged for "+id)
	}
	if end, known := s.told[id]; known && !s.amnesia {
		s.repeats = append(s.repeats, fmt.Sprintf("repeated: %s is staged, which had ended as %s", id, end.Phase))
	}
	s.staged[id] = password
}

// checkEnds is for a write of the keeper as well: it ends nothing otherwise than was told.
func (s *simulation) checkEnds(keeper reconcile.Secret) {
	text := keeper.Data["finished"].Reveal()
	if text == s.ends {
		return
	}
	s.ends = text
	var list []reconcile.Finished
	_ = json.Unmarshal([]byte(text), &list)
	for _, f := range list {
		if told, known := s.told[f.ID]; known && told.Phase != f.Phase {
			s.rewrites = append(s.rewrites, fmt.Sprintf("rewritten: %s was told as %s, and the keeper has it as %s", f.ID, told.Phase, f.Phase))
		}
	}
}

// checkHistory is for a write of the keeper, too: from the first rotation that has ended well, its history is of the last
// passwords that were live, in their order, and of no other.
func (s *simulation) checkHistory(keeper reconcile.Secret) {
	if live := keeper.Data["live.password"].Reveal(); live != "" {
		s.lived = append(slices.DeleteFunc(s.lived, func(before string) bool { return before == live }), live)
	}
	if s.amnesia {
		return // with a keeper, its history was lost
	}
	var history credential.History
	if err := json.Unmarshal([]byte(keeper.Data["history"].Reveal()), &history); err != nil {
		s.violate("history: %v", err)
	}
	expected := s.lived[max(0, len(s.lived)-remembered):]
	if len(s.lived) == 1 || s.unasked {
		expected = nil
	}
	matches := len(history) == len(expected)
	for i := range min(len(history), len(expected)) {
		matches = matches && history[i].Of(credential.NewPassword(expected[i]))
	}
	if !matches {
		s.violate("history: it has %d passwords, and not the %d that were live", len(history), len(expected))
	}
}

// tell is what the agents report. What has ended once has ended like that. What else a later report says of it is kept from
// Git by the commit that would bring it, which knows what Git says; see TestNoScheduleOfOutagesKeepsAnythingFromGit.
func (o *oracle) tell(status reconcile.Status) {
	if !status.Phase.Finished() {
		return // whoever has the end does not take it
	}
	id := status.Request.ID
	first, known := o.told[id]
	if !known {
		o.told[id] = status
		return
	}
	if first.Phase != status.Phase {
		o.rewrites = append(o.rewrites, fmt.Sprintf("rewritten: %s was %s, and now %s", id, first.Phase, status.Phase))
	}
}

// tally is the outcome of many schedules.
type tally struct{ schedules, lost, repeated, leftPaused, extraLogins, unended, rewritten int }

func (t tally) String() string {
	return fmt.Sprintf("crash: schedules=%d lost=%d repeated=%d left-paused=%d extra-logins=%d unended=%d rewritten=%d",
		t.schedules, t.lost, t.repeated, t.leftPaused, t.extraLogins, t.unended, t.rewritten)
}

func (t tally) bad() int {
	return t.lost + t.repeated + t.leftPaused + t.extraLogins + t.unended + t.rewritten
}

func (t *tally) add(o tally) {
	t.schedules += o.schedules
	t.lost += o.lost
	t.repeated += o.repeated
	t.leftPaused += o.leftPaused
	t.extraLogins += o.extraLogins
	t.unended += o.unended
	t.rewritten += o.rewritten
}

const (
	// maxAlters bounds how often one login of one server is changed in a schedule, with every mishap there is.
	maxAlters = 24
	// maxTime bounds a schedule, without the naps in it.
	maxTime = 4 * time.Hour
)

// judge is the oracle for the end: it looks at the world, and at the status for what was claimed. A rotation costs each
// replica so many failed logins at most: one, with up to two faults.
func (t *tally) judge(world *simulation, status reconcile.Status, logins int) bool {
	before := t.bad()
	t.schedules++
	if world.unguarded {
		return true
	}
	count := func(counter *int, bad bool) {
		if bad {
			*counter++
		}
	}
	count(&t.lost, len(world.violations) > 0)
	count(&t.repeated, len(world.repeats) > 0)
	count(&t.rewritten, len(world.rewrites) > 0)
	count(&t.leftPaused, world.paused != "")
	switch status.Phase {
	case reconcile.PhaseSuccessful:
		count(&t.lost, !world.opens() || world.value("db-auth", "password") == initialPassword)
	case reconcile.PhaseSkipped:
		count(&t.lost, !world.opens())
	case reconcile.PhaseFailed:
		// A failure may leave the rotation half done, if it says so, or must leave everything usable.
		count(&t.lost, !world.opens() && !status.Has(reconcile.TypeRecoveryRequired))
	default:
		world.endless = fmt.Sprintf("the request is %q for ever", status.Phase)
	}
	for _, server := range world.stores() {
		count(&t.extraLogins, server.failedLogins > logins)
		for login, n := range server.asked {
			if n > maxAlters {
				world.endless = fmt.Sprintf("%s was changed %d times on %s", login, n, server.name)
			}
		}
	}
	for _, server := range world.servers {
		count(&t.lost, status.Phase == reconcile.PhaseSuccessful && world.mode.kubedb() && server.podEnv != server.logins["sa"])
	}
	if took := world.now.Sub(world.began) - world.slept; took > maxTime {
		world.endless = fmt.Sprint("it took ", took)
	}
	count(&t.unended, world.endless != "")
	return t.bad() == before
}
