package mssqltest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// AddContainedDatabase adds a database in which users can be made who log in to it, with CREATE USER ... WITH PASSWORD.
func (s *Server) AddContainedDatabase(name string) error {
	return s.changeMaster(func(c *catalog) error {
		if id, _ := c.database(name); id > 0 {
			return fmt.Errorf("there is a database %s already", name)
		}
		c.Databases = append(c.Databases, database{Name: name, Created: s.now(), Contained: true})
		return nil
	})
}

// The roles of a contained database, and what they may do that is of interest here.
var databaseRoles = []string{"db_owner", "db_accessadmin"}

// mayInDatabase reports whether the session has a permission in its database. Who controls the server owns every one.
func (e *execution) mayInDatabase(c *catalog, permission string) bool {
	self := e.principalIn(c)
	if e.userOf == "" || self == nil {
		return self.controlsServer()
	}
	return self.inRole("db_owner") || permission == "ALTER ANY USER" && self.inRole("db_accessadmin")
}

// inDatabase changes the session's database.
func (e *execution) inDatabase(f func(c *change, d *database) error) error {
	name := e.currentDatabase()
	return e.update(e.ctx, func(c *change) error { return f(c, c.catalog.find(name)) })
}

func (e *execution) createUser(s tsql.CreateUser) error {
	return e.inDatabase(func(c *change, d *database) error {
		switch {
		case !d.Contained:
			return tsql.Errorf(33233, 16, "You can only create a user with a password in a contained database.")
		case !e.mayInDatabase(c.catalog, "ALTER ANY USER"):
			return noPermission()
		case d.user(s.Name) != nil || slices.Contains(databaseRoles, strings.ToLower(s.Name)) || strings.EqualFold(s.Name, "dbo"):
			return tsql.Errorf(15023, 16, "User, group, or role '%s' already exists in the current database.", s.Name)
		}
		now := e.server.now()
		u := &login{Name: s.Name, ID: c.catalog.nextID(), SID: newSID(), CheckPolicy: true, Created: now, Modified: now, DefaultDatabase: d.Name}
		hash, err := e.acceptable(u, s.Password)
		if err != nil {
			return err
		}
		u.setPassword(hash, e.server.policy, now)
		d.Users = append(d.Users, u)
		return nil
	})
}

func (e *execution) alterUser(s tsql.AlterUser) error {
	return e.inDatabase(func(c *change, d *database) error {
		u := d.user(s.Name)
		admin := e.mayInDatabase(c.catalog, "ALTER ANY USER")
		if u == nil || s.Password != nil && s.Password.Old != nil && !u.Hash.matches(*s.Password.Old) {
			return cannotAlter("user", s.Name)
		}
		own := u == e.principalIn(c.catalog) && s.Rename == nil && s.Password != nil && s.Password.Old != nil
		if !admin && !own {
			return cannotAlter("user", s.Name)
		}
		if s.Rename != nil {
			if other := d.user(*s.Rename); other != nil && other != u {
				return tsql.Errorf(15023, 16, "User, group, or role '%s' already exists in the current database.", *s.Rename)
			}
			u.Name = *s.Rename
		}
		u.Modified = e.server.now()
		if s.Password == nil {
			return nil
		}
		return e.setPassword(c, u, *s.Password)
	})
}

func (e *execution) dropUser(s tsql.DropUser) error {
	return e.inDatabase(func(c *change, d *database) error {
		u := d.user(s.Name)
		if u == nil || !e.mayInDatabase(c.catalog, "ALTER ANY USER") {
			return cannot("drop", "user", s.Name)
		}
		d.Users = slices.DeleteFunc(d.Users, func(other *login) bool { return other == u })
		return nil
	})
}

func (e *execution) alterRole(s tsql.AlterRole) error {
	return e.inDatabase(func(c *change, d *database) error {
		role := strings.ToLower(s.Role)
		if !slices.Contains(databaseRoles, role) || !e.mayInDatabase(c.catalog, "ALTER ANY ROLE") {
			return cannotAlter("role", s.Role)
		}
		u := d.user(s.Member)
		if u == nil {
			return cannot("add", "principal", s.Member)
		}
		u.Roles = withMember(u.Roles, role, s.Add)
		return nil
	})
}

// databaseViews are those about the session's database.
var databaseViews = map[string]view{
	"sys.database_principals": {
		columns: []tds.Column{
			{Name: "name", Type: sysnameType}, {Name: "principal_id", Type: intType}, {Name: "type", Type: nvarchar(1)},
			{Name: "type_desc", Type: nvarchar(60)}, {Name: "default_schema_name", Type: sysnameType},
			{Name: "create_date", Type: momentType}, {Name: "modify_date", Type: momentType}, {Name: "sid", Type: sidType},
			{Name: "is_fixed_role", Type: bitType}, {Name: "authentication_type", Type: intType},
			{Name: "authentication_type_desc", Type: nvarchar(60)},
		}, rows: databasePrincipals},
}

// databasePrincipals are those that the session may see: without permission, itself, dbo and the roles.
func databasePrincipals(e *execution) (rows [][]any) {
	c := e.catalog()
	d, self := c.find(e.currentDatabase()), e.principalIn(c)
	rows = append(rows, []any{"dbo", int64(1), "S", "SQL_USER", "dbo", d.Created, d.Created, []byte(saSID), false, int64(1), "INSTANCE"})
	for _, u := range d.Users {
		if u == self || e.mayInDatabase(c, "VIEW DEFINITION") {
			rows = append(rows, []any{u.Name, int64(u.ID), "S", "SQL_USER", "dbo", u.Created, u.Modified, []byte(u.SID), false, int64(2), "DATABASE"})
		}
	}
	for i, role := range databaseRoles {
		rows = append(rows, []any{role, int64(16384 + i), "R", "DATABASE_ROLE", nil, d.Created, d.Created, nil, true, int64(0), "NONE"})
	}
	return rows
}
