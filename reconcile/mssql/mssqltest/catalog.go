package mssqltest

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// A catalog is what the master database says: logins, with their roles and permissions, and databases. One that has
// been committed is never changed again; a change is made on a clone.
type catalog struct {
	Logins    []*login   `json:"logins"`
	Databases []database `json:"databases"`
	NextID    int        `json:"nextPrincipalId"`
}

type login struct {
	Name            string         `json:"name"`
	ID              int            `json:"principalId"`
	SID             sid            `json:"sid"`
	Hash            passwordHash   `json:"passwordHash"`
	History         []passwordHash `json:"passwordHistory,omitempty"` // newest first, the present one among them
	Disabled        bool           `json:"isDisabled"`
	CheckPolicy     bool           `json:"isPolicyChecked"`
	CheckExpiration bool           `json:"isExpirationChecked"`
	MustChange      bool           `json:"mustChange"`
	Created         time.Time      `json:"createDate"`
	Modified        time.Time      `json:"modifyDate"`
	PasswordSet     time.Time      `json:"passwordLastSet"`
	DefaultDatabase string         `json:"defaultDatabase"`
	Roles           []string       `json:"serverRoles,omitempty"`
	Permissions     []string       `json:"permissions,omitempty"`
}

type database struct {
	Name      string    `json:"name"`
	Created   time.Time `json:"createDate"`
	Contained bool      `json:"isContained,omitempty"`
	Users     []*login  `json:"users,omitempty"` // who log in to this database; it is contained
}

// user returns the user of that name who logs in to d, or nil.
func (d *database) user(name string) *login {
	for _, u := range d.Users {
		if strings.EqualFold(u.Name, name) {
			return u
		}
	}
	return nil
}

// A sid is a login's identity, which outlives its name.
type sid []byte

func (s sid) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(s)), nil }

func (s *sid) UnmarshalText(text []byte) (err error) {
	*s, err = hex.DecodeString(strings.TrimPrefix(string(text), "0x"))
	return err
}

func newSID() sid {
	s := make(sid, 16)
	rand.Read(s) // never fails
	return s
}

// saSID belongs to sa, whatever its name is.
var saSID = sid{0x01}

const (
	sysadmin         = "sysadmin"
	firstPrincipalID = 256
)

// serverRoles are the fixed server roles, whose principal ids begin at 3; public, of which everybody is a member, has 2.
var serverRoles = []string{sysadmin, "securityadmin", "serveradmin", "setupadmin", "processadmin", "diskadmin", "dbcreator", "bulkadmin"}

const publicRoleID = 2

func roleID(name string) int { return publicRoleID + 1 + slices.Index(serverRoles, name) }

// newCatalog is the catalog of a server that starts for the first time.
func newCatalog(password string, now time.Time) *catalog {
	c := &catalog{NextID: firstPrincipalID, Databases: append(systemDatabases(now), database{Name: "kubedb_system", Created: now})}
	sa := &login{Name: "sa", ID: 1, SID: saSID, CheckPolicy: true, Created: now, DefaultDatabase: "master", Roles: []string{sysadmin}}
	sa.setPassword(newHash(password), passwordPolicy{}, now)
	c.Logins = append(c.Logins, sa)
	for _, name := range []string{"##MS_PolicyEventProcessingLogin##", "##MS_PolicyTsqlExecutionLogin##"} {
		l := &login{Name: name, ID: c.nextID(), SID: newSID(), Disabled: true, CheckPolicy: true, Created: now, DefaultDatabase: "master"}
		l.setPassword(newHash(rand.Text()), passwordPolicy{}, now)
		c.Logins = append(c.Logins, l)
	}
	return c
}

func systemDatabases(now time.Time) (all []database) {
	for _, name := range []string{"master", "tempdb", "model", "msdb"} {
		all = append(all, database{Name: name, Created: now})
	}
	return all
}

func (c *catalog) nextID() int {
	c.NextID++
	return c.NextID - 1
}

func (c *catalog) clone() *catalog {
	changed := *c
	changed.Logins = cloneLogins(c.Logins)
	changed.Databases = slices.Clone(c.Databases)
	for i := range changed.Databases {
		changed.Databases[i].Users = cloneLogins(changed.Databases[i].Users)
	}
	return &changed
}

func cloneLogins(logins []*login) []*login {
	cloned := make([]*login, len(logins))
	for i, l := range logins {
		copied := *l
		// Slices are replaced when they change, but append must not write into the committed ones.
		copied.Roles, copied.Permissions, copied.History = slices.Clip(l.Roles), slices.Clip(l.Permissions), slices.Clip(l.History)
		cloned[i] = &copied
	}
	return cloned
}

// login returns the login of that name, or nil. The server's collation does not tell upper from lower case.
func (c *catalog) login(name string) *login {
	for _, l := range c.Logins {
		if strings.EqualFold(l.Name, name) {
			return l
		}
	}
	return nil
}

func (c *catalog) loginByID(id int) *login { return byID(c.Logins, id) }

func byID(logins []*login, id int) *login {
	for _, l := range logins {
		if l.ID == id {
			return l
		}
	}
	return nil
}

// find returns the database of that name, or nil.
func (c *catalog) find(name string) *database {
	if id, _ := c.database(name); id > 0 {
		return &c.Databases[id-1]
	}
	return nil
}

// database returns the id and the name of the database of that name; the id is 0 where there is none.
func (c *catalog) database(name string) (id int, canonical string) {
	for i, d := range c.Databases {
		if strings.EqualFold(d.Name, name) {
			return i + 1, d.Name
		}
	}
	return 0, ""
}

// setPassword makes hash the password of l.
func (l *login) setPassword(hash passwordHash, policy passwordPolicy, now time.Time) {
	l.Hash, l.PasswordSet, l.Modified = hash, now, now
	if l.CheckPolicy {
		history := append([]passwordHash{hash}, l.History...)
		l.History = history[:min(len(history), max(policy.history, 1))]
	}
}

func (l *login) inRole(role string) bool { return slices.Contains(l.Roles, role) }

// rolePermissions are what the fixed roles may do that is of interest here.
var rolePermissions = map[string][]string{
	"securityadmin": {"ALTER ANY LOGIN"},
	"processadmin":  {"ALTER ANY CONNECTION", "VIEW SERVER STATE"},
	"serveradmin":   {"VIEW SERVER STATE"},
}

// permissionTypes are the server permissions that there are, with their types in sys.server_permissions.
var permissionTypes = map[string]string{
	connectSQL: "COSQ", "CONTROL SERVER": "CL", "ALTER ANY LOGIN": "ALLG", "ALTER ANY CONNECTION": "ALCO",
	"VIEW SERVER STATE": "VWSS", "VIEW SERVER PERFORMANCE STATE": "VSPS", "VIEW ANY DEFINITION": "VWAD",
	"VIEW ANY CRYPTOGRAPHICALLY SECURED DEFINITION": "VACD",
}

// connectSQL is the permission that every login has.
const connectSQL = "CONNECT SQL"

// implied are the permissions that another one brings.
var implied = map[string][]string{
	"ALTER ANY LOGIN":   {"VIEW ANY DEFINITION"},
	"VIEW SERVER STATE": {"VIEW SERVER PERFORMANCE STATE"},
}

// may reports whether l has a server permission. A nil login, which was dropped while it was logged in, has none.
func (l *login) may(permission string) bool {
	if l == nil {
		return false
	}
	granted := slices.Clone(l.Permissions)
	for _, role := range l.Roles {
		granted = append(granted, rolePermissions[role]...)
	}
	for _, g := range granted {
		if g == permission || slices.Contains(implied[g], permission) {
			return true
		}
	}
	return l.controlsServer()
}

// controlsServer reports whether l may do everything.
func (l *login) controlsServer() bool {
	return l != nil && (l.inRole(sysadmin) || slices.Contains(l.Permissions, "CONTROL SERVER"))
}
