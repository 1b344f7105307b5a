package mssqltest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

func (e *execution) alterLogin(s tsql.AlterLogin) error {
	return e.update(e.ctx, func(c *change) error {
		l := c.catalog.login(s.Name)
		if l == nil || !e.mayAlter(e.principalIn(c.catalog), l, s) {
			return cannotAlter("login", s.Name)
		}
		if s.Enable != nil {
			l.Disabled = !*s.Enable
		}
		if s.Rename != nil {
			if other := c.catalog.login(*s.Rename); other != nil && other != l {
				return principalExists(*s.Rename)
			}
			l.Name = *s.Rename
		}
		l.Modified = e.server.now()
		return e.setOptions(c, l, s.Options)
	})
}

// mayAlter reports whether the session's login may do to l what s says.
func (e *execution) mayAlter(self, l *login, s tsql.AlterLogin) bool {
	secret := s.Options.Password
	known := secret != nil && secret.Old != nil
	if known && !l.Hash.matches(*secret.Old) {
		return false
	}
	// Everybody may change their own password, if they know it, and their own default database; nothing else.
	modest := s.Enable == nil && s.Rename == nil && s.Options.CheckPolicy == nil && s.Options.CheckExpiration == nil &&
		(secret == nil || known)
	if self == l && modest {
		return true
	}
	if l.controlsServer() && !modest {
		return self.controlsServer() // else whoever may alter logins could become sysadmin
	}
	return self.may("ALTER ANY LOGIN")
}

// setOptions gives l what the options of a CREATE or an ALTER LOGIN say.
func (e *execution) setOptions(c *change, l *login, o tsql.LoginOptions) error {
	if o.DefaultDatabase != nil {
		id, name := c.catalog.database(*o.DefaultDatabase)
		if id == 0 {
			return noSuchDatabase(*o.DefaultDatabase)
		}
		l.DefaultDatabase = name
	}
	if err := e.setChecks(l, o); err != nil {
		return err
	}
	if o.Password == nil {
		return nil
	}
	return e.setPassword(c, l, *o.Password)
}

// setChecks turns CHECK_POLICY and CHECK_EXPIRATION on and off.
func (e *execution) setChecks(l *login, o tsql.LoginOptions) error {
	policy, expiration := l.CheckPolicy, l.CheckExpiration
	if o.CheckPolicy != nil {
		policy = *o.CheckPolicy
		expiration = expiration && policy
	}
	if o.CheckExpiration != nil {
		expiration = *o.CheckExpiration
	}
	if expiration && !policy {
		return tsql.Errorf(15122, 16, "The CHECK_EXPIRATION option cannot be used when CHECK_POLICY is OFF.")
	}
	mustChange := l.MustChange
	if o.Password != nil {
		mustChange = o.Password.MustChange
	}
	if mustChange && !(policy && expiration) {
		if o.Password != nil && !(isOff(o.CheckPolicy) || isOff(o.CheckExpiration)) {
			return tsql.Errorf(15099, 16, "The MUST_CHANGE option cannot be used when CHECK_EXPIRATION is OFF.")
		}
		return tsql.Errorf(15128, 16, "The CHECK_POLICY and CHECK_EXPIRATION options cannot be turned OFF when MUST_CHANGE is ON.")
	}
	switch {
	case policy && !l.CheckPolicy && len(l.Hash) > 0:
		l.History = []passwordHash{l.Hash}
	case !policy && l.CheckPolicy:
		l.History = nil
		if err := e.master.forgetBadPasswords(l.ID); err != nil {
			return err
		}
	}
	l.CheckPolicy, l.CheckExpiration = policy, expiration
	return nil
}

func isOff(option *bool) bool { return option != nil && !*option }

// setPassword changes the password of l.
func (e *execution) setPassword(c *change, l *login, s tsql.Secret) error {
	hash, err := e.acceptable(l, s)
	if err != nil {
		return err
	}
	if s.Old != nil && e.master.badPasswords(l.ID).locked() {
		return tsql.Errorf(15113, 16, "Too many failed login attempts. This account has been temporarily locked as a precaution against password guessing. A system administrator can unlock this login with the UNLOCK clause of ALTER LOGIN.")
	}
	if s.Unlock { // a new password alone leaves the lock where it is
		if err := e.master.forgetBadPasswords(l.ID); err != nil {
			return err
		}
	}
	if len(l.Hash) > 0 { // the login is not being created
		c.committed = append(c.committed, e.server.passwordChanged(l.Name, e.login, fmt.Sprintf("spid%d", e.id)))
	}
	l.setPassword(hash, e.server.policy, e.server.now())
	l.MustChange = s.MustChange
	return nil
}

// acceptable returns the hash of a new password that l may have. History and age bind only those who give their old
// password.
func (e *execution) acceptable(l *login, s tsql.Secret) (passwordHash, error) {
	policy := e.server.policy
	if s.Hash != nil {
		hash := passwordHash(s.Hash)
		if !hash.valid() {
			return nil, tsql.Errorf(15021, 16, "Invalid value given for parameter PASSWORD. Specify a valid parameter value.")
		}
		if l.CheckPolicy {
			return nil, policy.notComplex() // nobody can tell from a hash
		}
		return hash, nil
	}
	if units(s.Text) > maxPasswordLength {
		return nil, tsql.Errorf(15156, 16, "The password that you specified is too long. The password should have no more than %d characters.", maxPasswordLength)
	}
	if l.CheckPolicy {
		if err := policy.check(l.Name, s.Text); err != nil {
			return nil, err
		}
		if s.Old != nil {
			if err := policy.checkChange(l, s.Text, e.server.now()); err != nil {
				return nil, err
			}
		}
	}
	return newHash(s.Text), nil
}

func (e *execution) createLogin(s tsql.CreateLogin) error {
	return e.update(e.ctx, func(c *change) error {
		if !e.principalIn(c.catalog).may("ALTER ANY LOGIN") {
			return noPermission()
		}
		if c.catalog.login(s.Name) != nil || slices.Contains(serverRoles, strings.ToLower(s.Name)) {
			return principalExists(s.Name)
		}
		id := sid(s.SID)
		if id == nil {
			id = newSID()
		}
		if len(id) != 16 {
			return tsql.Errorf(15419, 16, "Supplied parameter sid should be binary(16).")
		}
		for _, other := range c.catalog.Logins {
			if slices.Equal(other.SID, id) {
				return tsql.Errorf(15433, 16, "Supplied parameter sid is in use.")
			}
		}
		now := e.server.now()
		l := &login{Name: s.Name, ID: c.catalog.nextID(), SID: id, CheckPolicy: true, Created: now, Modified: now, DefaultDatabase: "master"}
		if err := e.setOptions(c, l, s.Options); err != nil {
			return err
		}
		c.catalog.Logins = append(c.catalog.Logins, l)
		return nil
	})
}

func (e *execution) dropLogin(s tsql.DropLogin) error {
	return e.update(e.ctx, func(c *change) error {
		l, self := c.catalog.login(s.Name), e.principalIn(c.catalog)
		if l == nil || !self.may("ALTER ANY LOGIN") || l.controlsServer() && !self.controlsServer() {
			return cannot("drop", "login", s.Name)
		}
		if slices.Equal(l.SID, saSID) {
			return tsql.Errorf(15405, 16, "Cannot use the special principal '%s'.", l.Name)
		}
		if e.server.loggedIn(e.master, l.ID) {
			return tsql.Errorf(15434, 16, "Could not drop login '%s' as the user is currently logged in.", l.Name)
		}
		c.catalog.Logins = slices.DeleteFunc(c.catalog.Logins, func(other *login) bool { return other == l })
		return nil
	})
}

// loggedIn reports whether the login with that id has a session.
func (s *Server) loggedIn(in *master, id int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, session := range s.sessions {
		if session.master == in && session.loginID == id {
			return true
		}
	}
	return false
}

func (e *execution) alterServerRole(s tsql.AlterServerRole) error {
	return e.update(e.ctx, func(c *change) error {
		role, self := strings.ToLower(s.Role), e.principalIn(c.catalog)
		if !slices.Contains(serverRoles, role) || !(self.inRole(sysadmin) || role != sysadmin && self.controlsServer()) {
			return cannotAlter("server role", s.Role)
		}
		l := c.catalog.login(s.Member)
		if l == nil {
			return cannot("add", "principal", s.Member)
		}
		if slices.Equal(l.SID, saSID) {
			return tsql.Errorf(15405, 16, "Cannot use the special principal '%s'.", l.Name)
		}
		l.Roles = withMember(l.Roles, role, s.Add)
		return nil
	})
}

func (e *execution) permission(s tsql.Permission) error {
	if !strings.EqualFold(e.currentDatabase(), "master") {
		return tsql.Errorf(4621, 16, "Permissions at the server scope can only be granted when the current database is master")
	}
	return e.update(e.ctx, func(c *change) error {
		l, self := c.catalog.login(s.Login), e.principalIn(c.catalog)
		if l == nil {
			return cannot("find", "login", s.Login)
		}
		if !self.controlsServer() {
			return tsql.Errorf(4613, 16, "Grantor does not have GRANT permission.")
		}
		if l == self || slices.Equal(l.SID, saSID) {
			return tsql.Errorf(4624, 16, "Cannot grant, deny, or revoke permissions to sa, dbo, entity owner, information_schema, sys, or yourself.")
		}
		for _, p := range s.Permissions {
			l.Permissions = withMember(l.Permissions, p, s.Grant)
		}
		return nil
	})
}

// withMember returns members with or without member.
func withMember(members []string, member string, with bool) []string {
	others := slices.DeleteFunc(slices.Clone(members), func(m string) bool { return m == member })
	if with {
		return append(others, member)
	}
	return others
}
