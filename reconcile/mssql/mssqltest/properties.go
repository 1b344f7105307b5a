package mssqltest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const serverCollation = "SQL_Latin1_General_CP1_CI_AS"

// never is how SQL Server writes a time that has not come.
var never = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)

func serverProperty(e *execution, arguments []any) (any, error) {
	o := e.server.options
	name, _ := arguments[0].(string)
	version := strings.Split(o.Version, ".")
	switch strings.ToLower(name) {
	case "productversion":
		return o.Version, nil
	case "productmajorversion":
		return version[0], nil
	case "productminorversion":
		return version[1], nil
	case "productlevel":
		return "RTM", nil
	case "edition":
		if o.Flavour == FlavourAzureSQLDatabase {
			return "SQL Azure", nil
		}
		return "Developer Edition (64-bit)", nil
	case "engineedition":
		if o.Flavour == FlavourAzureSQLDatabase {
			return int64(5), nil
		}
		return int64(3), nil
	case "servername", "machinename", "computernamephysicalnetbios":
		return o.ServerName, nil
	case "collation":
		return serverCollation, nil
	case "isclustered", "isintegratedsecurityonly", "issingleuser":
		return int64(0), nil
	case "ishadrenabled":
		return number(len(e.server.memberships()) > 0), nil
	case "pathseparator":
		return "/", nil
	}
	return nil, nil
}

// loginProperty answers NULL for a login that is not there or may not be seen. What the password policy counts it
// tells only of logins with both CHECK_POLICY and CHECK_EXPIRATION.
func loginProperty(e *execution, arguments []any) (any, error) {
	name, _ := arguments[0].(string)
	property, _ := arguments[1].(string)
	visible := e.visible()
	at := slices.IndexFunc(visible, func(l *login) bool { return fold(l.Name) == fold(name) })
	if at < 0 {
		return nil, nil
	}
	l := visible[at]
	switch strings.ToLower(property) {
	case "passwordlastsettime":
		return l.PasswordSet, nil
	case "passwordhash":
		if !e.mayReadHashes() {
			return nil, nil
		}
		return []byte(l.Hash), nil
	case "passwordhashalgorithm":
		return int64(2), nil // SHA-2
	case "defaultdatabase":
		return l.DefaultDatabase, nil
	case "defaultlanguage":
		return "us_english", nil
	}
	if !l.CheckPolicy || !l.CheckExpiration {
		return nil, nil
	}
	tried := e.master.badPasswords(l.ID)
	switch strings.ToLower(property) {
	case "badpasswordcount":
		return int64(tried.Count), nil
	case "badpasswordtime":
		return timeOrNever(tried.Last), nil
	case "lockouttime":
		return timeOrNever(tried.LockedAt), nil
	case "islocked":
		return number(tried.locked()), nil
	case "ismustchange":
		return number(l.MustChange), nil
	case "isexpired":
		return number(e.server.policy.expired(l, e.server.now())), nil
	case "historylength":
		return int64(len(l.History)), nil
	case "daysuntilexpiration":
		return e.server.policy.daysLeft(l, e.server.now()), nil
	}
	return nil, nil
}

// daysLeft is NULL for a password that does not expire.
func (p passwordPolicy) daysLeft(l *login, now time.Time) any {
	if p.maxAge == 0 {
		return nil
	}
	left := l.PasswordSet.Add(p.maxAge).Sub(now)
	return int64(max(left, 0) / (24 * time.Hour))
}

func timeOrNever(t time.Time) time.Time {
	if t.IsZero() {
		return never
	}
	return t
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func suserSName(e *execution, arguments []any) (any, error) {
	if len(arguments) == 0 {
		return suserName(e, nil)
	}
	id, _ := arguments[0].([]byte)
	for _, l := range e.catalog().Logins {
		if slices.Equal(l.SID, id) {
			return l.Name, nil
		}
	}
	return nil, nil
}

func suserName(e *execution, arguments []any) (any, error) {
	if len(arguments) == 0 && e.userOf != "" {
		return fmt.Sprintf("S-1-9-3-%d", e.loginID), nil // a user of a contained database has no login's name
	}
	id := int64(e.loginID)
	if len(arguments) == 1 {
		id, _ = arguments[0].(int64)
	}
	if l := e.catalog().loginByID(int(id)); l != nil {
		return l.Name, nil
	}
	return nil, nil
}

// named returns the login that an argument names, or the session's own where there is none.
func (e *execution) named(arguments []any) *login {
	if len(arguments) == 0 {
		return e.self()
	}
	name, _ := arguments[0].(string)
	return e.catalog().login(name)
}

func suserID(e *execution, arguments []any) (any, error) {
	if l := e.named(arguments); l != nil {
		return int64(l.ID), nil
	}
	return nil, nil
}

func suserSID(e *execution, arguments []any) (any, error) {
	if l := e.named(arguments); l != nil {
		return []byte(l.SID), nil
	}
	return nil, nil
}

func dbName(e *execution, arguments []any) (any, error) {
	if len(arguments) == 0 {
		return e.currentDatabase(), nil
	}
	id, _ := arguments[0].(int64)
	if all := e.catalog().Databases; id >= 1 && id <= int64(len(all)) {
		return all[id-1].Name, nil
	}
	return nil, nil
}

func dbID(e *execution, arguments []any) (any, error) {
	name := e.currentDatabase()
	if len(arguments) == 1 {
		name, _ = arguments[0].(string)
	}
	if id, _ := e.catalog().database(name); id > 0 {
		return int64(id), nil
	}
	return nil, nil
}

func isServerRoleMember(e *execution, arguments []any) (any, error) {
	name, _ := arguments[0].(string)
	role, l := strings.ToLower(name), e.named(arguments[1:])
	if e.server.options.Flavour == FlavourAzureSQLDatabase || l == nil || role != "public" && !slices.Contains(serverRoles, role) {
		return nil, nil
	}
	return number(role == "public" || l.inRole(role)), nil
}

// hasPermissionsByName knows permissions on the server, some on the session's database, and ALTER on a login. It is NULL for a permission or a
// securable that is not there.
func hasPermissionsByName(e *execution, arguments []any) (any, error) {
	permission, ok := arguments[2].(string)
	onDatabase := strings.EqualFold(fmt.Sprint(arguments[1]), "DATABASE")
	if !ok || e.server.options.Flavour == FlavourAzureSQLDatabase && !onDatabase {
		return nil, nil
	}
	permission, self := strings.ToUpper(permission), e.self()
	class, isClass := arguments[1].(string)
	switch {
	case arguments[0] == nil && (!isClass || strings.EqualFold(class, "SERVER")):
		if permissionTypes[permission] == "" {
			return nil, nil
		}
		return number(permission == connectSQL || self.may(permission)), nil
	case onDatabase:
		name, _ := arguments[0].(string)
		if !strings.EqualFold(unquoted(name), e.currentDatabase()) || !slices.Contains([]string{"VIEW DEFINITION", "ALTER ANY USER"}, permission) {
			return nil, nil
		}
		return number(e.mayInDatabase(e.catalog(), permission)), nil
	case isClass && strings.EqualFold(class, "LOGIN"):
		name, _ := arguments[0].(string)
		l := e.catalog().login(unquoted(name))
		if l == nil || !slices.Contains(e.visible(), l) || permission != "ALTER" {
			return nil, nil
		}
		return number(self.may("ALTER ANY LOGIN")), nil
	}
	return nil, nil
}

// unquoted is the name of a securable, which may be in brackets.
func unquoted(name string) string {
	if inner, ok := strings.CutPrefix(name, "["); ok && strings.HasSuffix(inner, "]") {
		return strings.ReplaceAll(strings.TrimSuffix(inner, "]"), "]]", "]")
	}
	return name
}
