package mssqltest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Group is an availability group: servers of this process that share databases, of which one, the primary, opens them
// and the others keep them closed. The logins of its members are not shared, unless the group is contained: then it has
// logins of its own besides theirs, for the sessions that begin in one of its databases. They follow the primary.
//
// The methods may be called by several goroutines at once.
type Group struct {
	name      string
	id        string
	contained bool
	databases []string // those of a contained group's own master and msdb are not among them

	mu      sync.Mutex
	members []*member // in the order in which they joined
	primary *member   // nil while there is none
	master  *master   // what a contained group has in place of its members'; nil before the first has joined
}

// A member is one server's place in a group. It outlives the server, which comes back to it under its name.
type member struct {
	name      string
	id        string
	server    *Server // the last one of that name
	synced    time.Time
	unhealthy bool
}

// NewGroup makes a group without members. A contained one gets copies of the logins in sysadmin from the first server
// that joins, as SQL Server copies them once, when the group is made.
func NewGroup(name string, contained bool, databases ...string) *Group {
	return &Group{name: name, id: newGUID(), contained: contained, databases: slices.Clone(databases)}
}

// Join makes a server a member, and gives it the databases. The first one becomes primary. A server that comes back
// under its name, Options.ServerName, takes its place again. A secondary is not synchronized until its Options.SyncDelay
// is over.
func (g *Group) Join(s *Server) error {
	if err := s.addDatabases(g.allDatabases()...); err != nil {
		return fmt.Errorf("joining availability group %s: %w", g.name, err)
	}
	g.mu.Lock()
	at := slices.IndexFunc(g.members, func(m *member) bool { return strings.EqualFold(m.name, s.options.ServerName) })
	if at >= 0 && g.members[at].server != s && g.members[at].connected() {
		g.mu.Unlock()
		return fmt.Errorf("availability group %s has a running member %s already", g.name, s.options.ServerName)
	}
	if g.contained && g.master == nil {
		g.master = g.newMaster(s)
	}
	if at < 0 {
		at = len(g.members)
		g.members = append(g.members, &member{name: s.options.ServerName, id: newGUID()})
	}
	m := g.members[at]
	m.server, m.synced = s, s.now().Add(s.options.SyncDelay)
	if g.elect(); g.primary == nil && len(g.members) == 1 {
		g.primary = m // nobody has anything that it could lack
	}
	g.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.groups, g) {
		s.groups = append(s.groups, g)
	}
	return nil
}

// Leave removes a server. It keeps its copies of the databases, which are its own from then on.
func (g *Group) Leave(s *Server) {
	g.mu.Lock()
	g.members = slices.DeleteFunc(g.members, func(m *member) bool { return m.server == s })
	g.elect()
	g.mu.Unlock()
	s.mu.Lock()
	s.groups = slices.DeleteFunc(s.groups, func(other *Group) bool { return other == g })
	s.mu.Unlock()
	s.endSessionsOf(g)
}

// Failover makes a member the primary, if it runs and is synchronized. Sessions in the group's databases end.
func (g *Group) Failover(to *Server) error {
	g.mu.Lock()
	old := g.elect()
	m := g.memberOf(to)
	if m == nil || m != old && !m.synchronized() {
		g.mu.Unlock()
		return fmt.Errorf("%s cannot become primary of availability group %s: it is no member, does not run, or is not synchronized", to.options.ServerName, g.name)
	}
	g.primary = m
	g.mu.Unlock()
	if old != nil && old != m {
		old.server.endSessionsOf(g)
	}
	return nil
}

// Primary returns the member that is primary now, or nil. After the end of one, the first synchronized secondary is.
func (g *Group) Primary() *Server {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.elect(); m != nil {
		return m.server
	}
	return nil
}

// SetHealthy says whether a secondary keeps up with the primary. One that does not cannot become primary.
func (g *Group) SetHealthy(s *Server, healthy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.memberOf(s); m != nil {
		m.unhealthy = !healthy
	}
}

// elect returns the primary, and finds one first where there is none any more. It is called with the lock held.
func (g *Group) elect() *member {
	if g.primary != nil && g.primary.connected() && slices.Contains(g.members, g.primary) {
		return g.primary
	}
	at := slices.IndexFunc(g.members, func(m *member) bool { return m.synchronized() })
	if g.primary = nil; at >= 0 {
		g.primary = g.members[at]
	}
	return g.primary
}

func (g *Group) memberOf(s *Server) *member {
	for _, m := range g.members {
		if m.server == s {
			return m
		}
	}
	return nil
}

func (m *member) connected() bool { return m.server.ctx.Err() == nil }

func (m *member) synchronized() bool {
	return m.connected() && !m.unhealthy && !m.server.now().Before(m.synced)
}

// has reports whether name is one of the databases that people made in the group.
func (g *Group) has(name string) bool {
	return slices.ContainsFunc(g.databases, func(own string) bool { return strings.EqualFold(own, name) })
}

// allDatabases has those, too, in which a contained group keeps its own master and msdb.
func (g *Group) allDatabases() []string {
	if !g.contained {
		return g.databases
	}
	return slices.Concat([]string{g.name + "_master", g.name + "_msdb"}, g.databases)
}

// newMaster makes what a contained group has in place of master, out of that of the server that it is made on.
func (g *Group) newMaster(s *Server) *master {
	from, now := s.master.read().clone(), s.now()
	c := &catalog{NextID: from.NextID, Databases: systemDatabases(now)}
	for _, l := range from.Logins {
		if l.inRole(sysadmin) {
			c.Logins = append(c.Logins, l)
		}
	}
	for _, name := range g.databases {
		c.Databases = append(c.Databases, database{Name: name, Created: now})
	}
	m, err := openMaster("", func() (*catalog, error) { return c, nil })
	if err != nil {
		panic(err) // it has no file that could fail
	}
	return m
}

// addDatabases adds the databases that are missing.
func (s *Server) addDatabases(names ...string) error {
	return s.changeMaster(func(c *catalog) error {
		for _, name := range names {
			if id, _ := c.database(name); id == 0 {
				c.Databases = append(slices.Clip(c.Databases), database{Name: name, Created: s.now()})
			}
		}
		return nil
	})
}

// changeMaster changes the catalog from outside of a session.
func (s *Server) changeMaster(f func(c *catalog) error) error {
	ctx, cancel := context.WithTimeout(s.ctx, handshakeDeadline)
	defer cancel()
	change, err := s.master.begin(ctx)
	if err != nil {
		return errors.Join(errors.New("another session writes, or the server has ended"), err)
	}
	if err := f(change.catalog); err != nil {
		change.abandon()
		return err
	}
	return change.commit()
}

// memberships are the groups that the server belongs to.
func (s *Server) memberships() []*Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.groups)
}

// endSessionsOf ends the sessions that are in a group's databases.
func (s *Server) endSessionsOf(g *Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, session := range s.sessions {
		if session.group == g || g.has(session.currentDatabase()) {
			session.cancel()
		}
	}
}

func newGUID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}
