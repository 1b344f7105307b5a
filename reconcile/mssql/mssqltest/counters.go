package mssqltest

import (
	"slices"
	"strings"
	"sync"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// maxStatements is how many statements are remembered, and maxShown how many bytes of each.
const (
	maxStatements = 1000
	maxShown      = 8192
)

// counters are what tests ask a stand-in about. They start from zero with each server.
type counters struct {
	mu         sync.Mutex
	succeeded  map[string]int // by login, in lower case
	failed     map[string]int
	changes    map[string]int
	statements []string
}

func newCounters() counters {
	return counters{succeeded: map[string]int{}, failed: map[string]int{}, changes: map[string]int{}}
}

func (c *counters) count(of map[string]int, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of[strings.ToLower(name)]++
}

func (c *counters) executed(batch string) {
	shown := tsql.Masked(batch)
	shown = strings.ToValidUTF8(shown[:min(len(shown), maxShown)], "")
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.statements) == maxStatements {
		c.statements = slices.Delete(c.statements, 0, 1)
	}
	c.statements = append(c.statements, shown)
}

// Logins returns how many logins of that name, which need not exist, succeeded and how many were refused.
func (s *Server) Logins(name string) (succeeded, failed int) {
	s.counters.mu.Lock()
	defer s.counters.mu.Unlock()
	name = strings.ToLower(name)
	return s.counters.succeeded[name], s.counters.failed[name]
}

// PasswordChanges returns how many times the password of a login was changed, by ALTER LOGIN or while logging in.
// Setting the password that it had already counts too. In the errorlog each is a line of its own, for those who cannot
// ask the server: "Password of login 'x' was changed by login 'y'."
func (s *Server) PasswordChanges(name string) int {
	s.counters.mu.Lock()
	defer s.counters.mu.Unlock()
	return s.counters.changes[strings.ToLower(name)]
}

// Statements returns the last 1,000 batches that clients sent, the text that EXEC ran among them, oldest first.
// Where a batch is about passwords, its strings are shown as '***'. The values of parameters are not shown, nor the end of a batch of
// more than 8 KiB.
func (s *Server) Statements() []string {
	s.counters.mu.Lock()
	defer s.counters.mu.Unlock()
	return slices.Clone(s.counters.statements)
}
