package mssqltest

import (
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// A realm is what a login is checked against, which depends on the database that it asks for: the logins of the
// server, those of a contained availability group, or first the users of a contained database.
type realm struct {
	master *master
	group  *Group // the contained group that the logins are of; nil: they are the server's
	// userOf is the contained database whose users may come in; of a session, the one whose user it is.
	userOf string
}

func (s *Server) realm(name string) (realm, *refusal) {
	for _, g := range s.memberships() {
		if g.contained && g.has(name) {
			return realm{master: g.master, group: g}, s.closed(name)
		}
	}
	where := realm{master: s.master}
	if d := where.master.read().find(name); d != nil && d.Contained {
		where.userOf = d.Name
	}
	return where, nil
}

// principal returns who logs in by that name, and whether it is a user of the realm's contained database.
func (r realm) principal(name string) (l *login, isUser bool) {
	c := r.master.read()
	if d := c.find(r.userOf); d != nil {
		if user := d.user(name); user != nil {
			return user, true
		}
	}
	return c.login(name), false
}

// closed refuses a database of an availability group which the server is not the primary of.
func (s *Server) closed(name string) *refusal {
	if err := s.unavailable(name); err != nil {
		return &refusal{18456, 38, "Failed to open the explicitly specified database '" + name + "'.", err}
	}
	return nil
}

// unavailable is the error with which a database is closed, or nil.
func (s *Server) unavailable(name string) *tsql.Error {
	for _, g := range s.memberships() {
		if !g.has(name) {
			continue
		}
		g.mu.Lock()
		primary := g.elect()
		g.mu.Unlock()
		switch {
		case primary == nil:
			return tsql.Errorf(983, 14, "Unable to access availability database '%s' because the database replica is not in the PRIMARY or SECONDARY role. Connections to an availability database is permitted only when the database replica is in the PRIMARY or SECONDARY role. Try the operation again later.", name)
		case primary.server != s:
			return tsql.Errorf(976, 14, "The target database, '%s', is participating in an availability group and is currently not accessible for queries. Either data movement is suspended or the availability replica is not enabled for read access.", name)
		}
	}
	return nil
}
