package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// mishap is what goes wrong at a call.
type mishap int

const (
	nothing       mishap = iota
	dieBefore            // the process is killed before the call leaves it
	dieAfter             // the call has its effect, and the process is killed
	answerLost           // the call has its effect, and an error comes back
	refused              // the call has no effect, and an error comes back
	singles              // the ones before are tried at every call
	failover             // another replica becomes the primary
	podLost              // a pod is replaced by another one
	restored             // somebody writes the auth Secret as it was in the beginning
	outage               // the API server is away for a while
	forbidden            // the API server has started, and refuses everything for a moment
	keeperDeleted        // somebody deletes the keeper
	authDeleted          // somebody deletes the auth Secret
	overwritten          // somebody writes a password into the auth Secret that opens nothing
	survivable           // the ones before keep no rotation from its success
	serverDown           // a server is away for longer than a step may take
	serverRefuses        // a server refuses every new password from then on
	mishaps              // from here on: to be stopped, for a nap, before a call or after it
)

var mishapNames = map[mishap]string{
	dieBefore: "death before", dieAfter: "death after", answerLost: "answer lost", refused: "refused", failover: "failover", podLost: "a pod lost",
	restored: "the auth Secret restored", outage: "outage", forbidden: "everything forbidden", keeperDeleted: "the keeper deleted",
	authDeleted: "the auth Secret deleted", overwritten: "the auth Secret overwritten", serverDown: "a server down", serverRefuses: "a server refuses",
}

// nap is what happens while a process is stopped at a call.
type nap struct {
	rotations int           // others finish this one and serve further requests, so many in all
	long      time.Duration // it takes so much longer than that
	restarts  bool          // every pod is replaced
	skips     bool          // Git has skipped this one for the next, if it had not begun
	undone    bool          // the last of the requests undoes the one before
}

var naps = []nap{
	{rotations: 1}, {rotations: 2}, {rotations: 3}, {rotations: 1, skips: true}, {rotations: 3, undone: true},
	{rotations: 1, long: time.Hour, restarts: true}, {rotations: 2, long: 24 * time.Hour}, {long: time.Hour}, {long: time.Hour, restarts: true},
}

// stopped is the mishap of a nap, before a call or after it.
func stopped(nap int, after bool) mishap {
	m := mishaps + 2*mishap(nap)
	if after {
		m++
	}
	return m
}

func (m mishap) nap() (n nap, before, after bool) {
	if m < mishaps {
		return nap{}, false, false
	}
	m -= mishaps
	return naps[m/2], m%2 == 0, m%2 == 1
}

func (m mishap) String() string {
	if n, before, _ := m.nap(); m >= mishaps {
		return fmt.Sprintf("stopped (before: %v) for %+v", before, n)
	}
	return mishapNames[m]
}

// schedule is what goes wrong, by call. What is not named goes well.
type schedule map[int]mishap

func (s schedule) at(call int) mishap { return s[call] }

func (s schedule) String() string {
	var parts []string
	for _, call := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, fmt.Sprintf("%s at call %d", s[call], call))
	}
	return strings.Join(parts, " and ")
}

// maxCalls is far more than any rotation needs, with every mishap there is.
const maxCalls = 6000

// incarnation is one life of an agent's process, as its engine sees the outside.
type incarnation struct {
	world *simulation
	// at tells what goes wrong at a call of the world, counted from 1.
	at func(call int) mishap
	// turn blocks until it is this incarnation's turn; nil: always.
	turn func()
	// beside: it works while another one is stopped, and its calls are not the schedule's.
	beside bool

	cancel context.CancelFunc
	dead   bool
	calls  int
	napped int // the call at which it was stopped last
	away   int // how many calls to the API server are still refused
}

var (
	errDead      = errors.New("the process is dead")
	errAPI       = fmt.Errorf("%w: simulated", reconcile.ErrAPIUnavailable)
	errForbidden = &fault.Error{Class: fault.Wait, Reason: reconcile.ReasonPermissions, Message: "simulated: forbidden", Err: reconcile.ErrForbidden}
)

// call wraps every external call. A dead incarnation has no more effects.
func call[T any](i *incarnation, what string, broken error, do func() (T, error)) (T, error) {
	var none T
	if i.turn != nil {
		i.turn()
	}
	if i.dead {
		return none, errDead
	}
	misfortune, ok := i.next(what)
	if !ok {
		return none, errDead
	}
	rest, before, after := misfortune.nap()
	if before || after {
		i.napped = i.calls
	}
	switch {
	case before:
		i.world.pass(rest)
	case misfortune == dieBefore:
		i.die()
		return none, errDead
	case misfortune == refused:
		return none, broken
	case misfortune == outage:
		i.away = 30
	default:
		i.world.befall(misfortune)
	}
	i.world.settle()
	if broken == errAPI {
		switch {
		case i.away > 0:
			i.away--
			return none, broken
		case i.world.now.Before(i.world.forbidden):
			return none, errForbidden
		}
	}
	result, err := do()
	i.world.check()
	switch {
	case after:
		i.world.pass(rest)
	case misfortune == dieAfter:
		i.die()
		return none, errDead
	case misfortune == answerLost:
		return none, broken
	}
	return result, err
}

// next counts a call, and tells what goes wrong at it; nothing does beside.
func (i *incarnation) next(what string) (mishap, bool) {
	i.world.now = i.world.now.Add(time.Millisecond)
	i.calls++
	if !i.beside {
		i.world.calls++
	}
	if i.calls > maxCalls || i.world.calls > maxCalls {
		i.die() // it goes round in circles
		i.world.endless = "it went round in circles, the last call was " + what
		return nothing, false
	}
	if i.beside {
		return nothing, true
	}
	misfortune := i.at(i.world.calls)
	if misfortune != nothing {
		i.world.story = append(i.world.story, fmt.Sprintf("%s: %s", what, misfortune))
	}
	return misfortune, true
}

// befall lets something happen that no agent has done.
func (s *simulation) befall(what mishap) {
	write := func(password, writer string) {
		secret, there := s.secrets["db-auth"]
		if s.mode.pair() || !there {
			return // then a pair's clients are refused, and not by gitrota's doing
		}
		secret.Data = basicAuth("", "sa", password).Data
		secret.Writers = map[string]string{"password": writer}
		s.put(secret)
	}
	switch what {
	case failover:
		s.primary = (s.primary + 1) % s.mode.replicas
	case podLost:
		s.replacePod(s.servers[len(s.servers)-1])
	case serverDown:
		s.servers[len(s.servers)-1].away, s.harmed = s.now.Add(20*time.Minute), true
	case serverRefuses:
		s.servers[0].strict, s.harmed = true, true
	case forbidden:
		s.forbidden = s.now.Add(15 * time.Second)
	case keeperDeleted:
		s.lostKeeper = s.secrets["db-auth-keeper"]
		delete(s.secrets, "db-auth-keeper")
		s.amnesia, s.disturbed = true, true
		for _, server := range s.stores() {
			for login := range server.given {
				if !holds(s.lostKeeper, login, server.logins[login], "next", "live") {
					delete(server.given, login) // whoever deleted it has lost that one
				}
			}
		}
	case authDeleted:
		delete(s.secrets, "db-auth")
		s.disturbed = true
	case restored:
		write(initialPassword, "flux")
	case overwritten:
		write("Nobody-Has-This-1", "kubectl-edit")
	}
}

// pass lets time go by for a process that is stopped: others work, and it does not know.
func (s *simulation) pass(n nap) {
	s.now = s.now.Add(n.long)
	s.slept += n.long
	s.naps++
	if s.beside != nil {
		s.beside()
	} else {
		s.others(n)
	}
	if n.restarts {
		for _, server := range s.servers {
			s.replacePod(server)
		}
	}
}

func (i *incarnation) die() {
	i.dead = true
	i.cancel()
}
