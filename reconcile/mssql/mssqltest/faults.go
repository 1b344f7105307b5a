package mssqltest

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Faults are what goes wrong. The zero value is a server without faults. They are JSON, so that whoever runs the
// server somewhere else can pass them on:
//
//	{"statements": [{"kind": "ALTER LOGIN", "drop": "after", "times": 1}]}
type Faults struct {
	// RefuseConnections resets every new connection. Sessions that are open go on.
	RefuseConnections bool `json:"refuseConnections,omitempty"`
	// Silent accepts new connections and never answers on them.
	Silent bool `json:"silent,omitempty"`
	// ScriptUpgrade refuses every login with error 18401, as a server does that starts after an upgrade.
	ScriptUpgrade bool `json:"scriptUpgrade,omitempty"`
	// AdminOnly lets nobody log in but members of sysadmin: others get error 18451.
	AdminOnly bool `json:"adminOnly,omitempty"`
	// SingleUser lets one member of sysadmin log in: others get error 18461.
	SingleUser bool `json:"singleUser,omitempty"`
	// Latency is how far away the clients are: each round trip takes so much longer.
	Latency Duration `json:"latency,omitzero"`
	// Logins go wrong one by one, the first that applies.
	Logins []LoginFault `json:"logins,omitempty"`
	// Statements go wrong one by one, the first that applies.
	Statements []StatementFault `json:"statements,omitempty"`
}

// A LoginFault makes logins slow, or fail whatever the password is.
type LoginFault struct {
	User  string   `json:"user,omitempty"`  // empty: everybody
	Skip  int      `json:"skip,omitempty"`  // how many logins it leaves alone first
	Times int      `json:"times,omitempty"` // how many it applies to; 0: all
	Delay Duration `json:"delay,omitempty"`
	Drop  bool     `json:"drop,omitempty"`  // the connection ends without an answer
	Error int32    `json:"error,omitempty"` // the number of the error to answer with
}

// A StatementFault makes statements slow or fail, or loses their answers.
type StatementFault struct {
	Kind  string   `json:"kind,omitempty"`  // as "ALTER LOGIN" or "SELECT"; empty: all
	Skip  int      `json:"skip,omitempty"`  // how many statements of the kind it leaves alone first
	Times int      `json:"times,omitempty"` // how many it applies to; 0: all
	Delay Duration `json:"delay,omitempty"` // before the statement is executed
	Drop  Drop     `json:"drop,omitempty"`
	Error int32    `json:"error,omitempty"` // instead of executing it; 20 and more as severity is not for it to choose
}

// Drop says when a connection is lost, in respect to the statement's execution.
type Drop string

// The moments to lose a connection at. After a statement has been executed, its client cannot know that it was.
const (
	DropBefore Drop = "before"
	DropAfter  Drop = "after"
)

// Duration is a time.Duration that is written as "250ms" in JSON.
type Duration time.Duration

// MarshalText writes d as time.ParseDuration reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads "250ms".
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// ParseFaults reads Faults from JSON and refuses what it does not know, so that a misspelt fault does not pass for
// a server without one.
func ParseFaults(text string) (Faults, error) {
	var f Faults
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return Faults{}, fmt.Errorf("faults %q: %w", text, err)
	}
	for _, s := range f.Statements {
		if s.Drop != "" && s.Drop != DropBefore && s.Drop != DropAfter {
			return Faults{}, fmt.Errorf("faults %q: drop is %q, not %q or %q", text, s.Drop, DropBefore, DropAfter)
		}
	}
	return f, nil
}

// faultPlan counts what the faults in force have been applied to.
type faultPlan struct {
	mu         sync.Mutex
	faults     Faults
	logins     []int // how many logins each fault has met
	statements []int
}

func (p *faultPlan) set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.logins, p.statements = f, make([]int, len(f.Logins)), make([]int, len(f.Statements))
}

func (p *faultPlan) get() Faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// login returns what goes wrong with the login that is being made; the zero value is nothing.
func (p *faultPlan) login(user string) LoginFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range p.faults.Logins {
		if (f.User == "" || strings.EqualFold(f.User, user)) && applies(&p.logins[i], f.Skip, f.Times) {
			return f
		}
	}
	return LoginFault{}
}

// statement returns what goes wrong with the statement that is about to be executed.
func (p *faultPlan) statement(kind string) StatementFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range p.faults.Statements {
		if (f.Kind == "" || strings.EqualFold(f.Kind, kind)) && applies(&p.statements[i], f.Skip, f.Times) {
			return f
		}
	}
	return StatementFault{}
}

func applies(met *int, skip, times int) bool {
	*met++
	return *met > skip && (times == 0 || *met <= skip+times)
}
