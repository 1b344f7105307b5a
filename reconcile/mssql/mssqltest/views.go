package mssqltest

import (
	"cmp"

	"slices"
	"strings"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// A view is what a SELECT reads from: columns, and the rows that the session may see, in the columns' order.
type view struct {
	columns    []tds.Column
	rows       func(e *execution) [][]any
	permission string // without which there is an error in place of rows
}

// without is the view on a server that lacks a column.
func (v view) without(name string) view {
	at := slices.IndexFunc(v.columns, func(c tds.Column) bool { return c.Name == name })
	all := v.rows
	v.columns = slices.Delete(slices.Clone(v.columns), at, at+1)
	v.rows = func(e *execution) (rows [][]any) {
		for _, row := range all(e) {
			rows = append(rows, slices.Delete(row, at, at+1))
		}
		return rows
	}
	return v
}

var (
	tinyintType  = tds.Type{Kind: tds.Int, Size: 1}
	smallintType = tds.Type{Kind: tds.Int, Size: 2}
	sidType      = tds.Type{Kind: tds.VarBinary, Size: 85}
	hashType     = tds.Type{Kind: tds.VarBinary, Size: 256}
)

func nvarchar(size int) tds.Type { return tds.Type{Kind: tds.NVarChar, Size: size} }

// views are the system views, by schema and name.
var views = map[string]view{
	"sys.sql_logins": {
		columns: []tds.Column{
			{Name: "name", Type: sysnameType}, {Name: "principal_id", Type: intType}, {Name: "sid", Type: sidType},
			{Name: "type", Type: nvarchar(1)}, {Name: "type_desc", Type: nvarchar(60)}, {Name: "is_disabled", Type: bitType},
			{Name: "create_date", Type: momentType}, {Name: "modify_date", Type: momentType},
			{Name: "default_database_name", Type: sysnameType}, {Name: "default_language_name", Type: sysnameType},
			{Name: "credential_id", Type: intType}, {Name: "is_policy_checked", Type: bitType},
			{Name: "is_expiration_checked", Type: bitType}, {Name: "password_hash", Type: hashType},
		}, rows: sqlLogins},
	"sys.server_principals": {
		columns: []tds.Column{
			{Name: "name", Type: sysnameType}, {Name: "principal_id", Type: intType}, {Name: "sid", Type: sidType},
			{Name: "type", Type: nvarchar(1)}, {Name: "type_desc", Type: nvarchar(60)}, {Name: "is_disabled", Type: bitType},
			{Name: "create_date", Type: momentType}, {Name: "modify_date", Type: momentType},
			{Name: "default_database_name", Type: sysnameType}, {Name: "default_language_name", Type: sysnameType},
			{Name: "credential_id", Type: intType}, {Name: "owning_principal_id", Type: intType},
			{Name: "is_fixed_role", Type: bitType},
		}, rows: serverPrincipals},
	"sys.server_role_members": {
		columns: []tds.Column{{Name: "role_principal_id", Type: intType}, {Name: "member_principal_id", Type: intType}},
		rows:    serverRoleMembers},
	"sys.server_permissions": {
		columns: []tds.Column{
			{Name: "class", Type: tinyintType}, {Name: "class_desc", Type: nvarchar(60)}, {Name: "major_id", Type: intType},
			{Name: "minor_id", Type: intType}, {Name: "grantee_principal_id", Type: intType}, {Name: "grantor_principal_id", Type: intType},
			{Name: "type", Type: nvarchar(4)}, {Name: "permission_name", Type: nvarchar(128)}, {Name: "state", Type: nvarchar(1)},
			{Name: "state_desc", Type: nvarchar(60)},
		}, rows: serverPermissions},
	"sys.databases": {
		columns: []tds.Column{
			{Name: "name", Type: sysnameType}, {Name: "database_id", Type: intType}, {Name: "owner_sid", Type: sidType},
			{Name: "create_date", Type: momentType}, {Name: "compatibility_level", Type: tinyintType},
			{Name: "collation_name", Type: sysnameType}, {Name: "user_access_desc", Type: nvarchar(60)},
			{Name: "is_read_only", Type: bitType}, {Name: "state", Type: tinyintType}, {Name: "state_desc", Type: nvarchar(60)},
			{Name: "recovery_model_desc", Type: nvarchar(60)}, {Name: "containment", Type: tinyintType},
			{Name: "containment_desc", Type: nvarchar(60)},
		}, rows: databases},
	"sys.dm_exec_sessions": {
		columns: []tds.Column{
			{Name: "session_id", Type: smallintType}, {Name: "login_time", Type: momentType}, {Name: "host_name", Type: sysnameType},
			{Name: "program_name", Type: sysnameType}, {Name: "host_process_id", Type: intType},
			{Name: "client_version", Type: intType}, {Name: "client_interface_name", Type: nvarchar(32)},
			{Name: "security_id", Type: sidType}, {Name: "login_name", Type: sysnameType}, {Name: "status", Type: nvarchar(30)},
			{Name: "last_request_start_time", Type: momentType}, {Name: "is_user_process", Type: bitType},
			{Name: "original_login_name", Type: sysnameType}, {Name: "database_id", Type: smallintType},
			{Name: "authenticating_database_id", Type: intType},
			{Name: "open_transaction_count", Type: intType},
		}, rows: execSessions},
	"sys.dm_exec_connections": {
		columns: []tds.Column{
			{Name: "session_id", Type: intType}, {Name: "connect_time", Type: momentType}, {Name: "net_transport", Type: nvarchar(40)},
			{Name: "encrypt_option", Type: nvarchar(40)}, {Name: "auth_scheme", Type: nvarchar(40)},
			{Name: "client_net_address", Type: nvarchar(48)},
		}, rows: execConnections},
}

// find returns the view that a source names: sys.x, or master.sys.x.
func (e *execution) find(source tsql.Source) (view, error) {
	name := strings.TrimPrefix(strings.ToLower(strings.Join(source.Name, ".")), "master.")
	v, known := views[name]
	for _, more := range []map[string]view{availabilityViews, databaseViews} {
		if !known {
			v, known = more[name]
		}
	}
	f := e.server.options.Flavour
	if !known || !f.hasView(name, e.currentDatabase()) {
		err := tsql.Errorf(208, 16, "Invalid object name '%s'.", strings.Join(source.Name, "."))
		err.Line = source.Line
		return view{}, err
	}
	if v.permission != "" && !e.self().may(v.permission) {
		return view{}, tsql.Errorf(300, 14, "%s permission was denied on object 'server', database 'master'.", v.permission)
	}
	switch {
	case name == "sys.sql_logins" && f == FlavourAzureSQLDatabase:
		return v.without("password_hash"), nil
	case name == "sys.availability_groups" && e.server.version[0] < 16:
		return v.without("is_contained"), nil
	}
	return v, nil
}

// visible are the logins that the session may see: without permission, itself and sa.
func (e *execution) visible() (logins []*login) {
	self := e.self()
	for _, l := range e.catalog().Logins {
		if self.may("VIEW ANY DEFINITION") || l == self || slices.Equal(l.SID, saSID) {
			logins = append(logins, l)
		}
	}
	return logins
}

// mayReadHashes reports whether the session's login may see password hashes.
func (e *execution) mayReadHashes() bool {
	return e.self().may("VIEW ANY CRYPTOGRAPHICALLY SECURED DEFINITION")
}

func sqlLogins(e *execution) (rows [][]any) {
	for _, l := range e.visible() {
		var hash any
		if e.mayReadHashes() {
			hash = []byte(l.Hash)
		}
		rows = append(rows, []any{l.Name, int64(l.ID), []byte(l.SID), "S", "SQL_LOGIN", l.Disabled, l.Created, l.Modified,
			l.DefaultDatabase, "us_english", nil, l.CheckPolicy, l.CheckExpiration, hash})
	}
	return rows
}

func serverPrincipals(e *execution) (rows [][]any) {
	for _, l := range e.visible() {
		rows = append(rows, []any{l.Name, int64(l.ID), []byte(l.SID), "S", "SQL_LOGIN", l.Disabled, l.Created, l.Modified,
			l.DefaultDatabase, "us_english", nil, nil, false})
	}
	for i, role := range append([]string{"public"}, serverRoles...) {
		id := publicRoleID + i
		rows = append(rows, []any{role, int64(id), []byte{byte(id)}, "R", "SERVER_ROLE", false, e.server.started, e.server.started,
			nil, nil, nil, int64(1), role != "public"})
	}
	return rows
}

func serverRoleMembers(e *execution) (rows [][]any) {
	for _, l := range e.visible() {
		for _, role := range l.Roles {
			rows = append(rows, []any{int64(roleID(role)), int64(l.ID)})
		}
	}
	return rows
}

func serverPermissions(e *execution) (rows [][]any) {
	for _, l := range e.visible() {
		for _, p := range append([]string{connectSQL}, l.Permissions...) {
			rows = append(rows, []any{int64(100), "SERVER", int64(0), int64(0), int64(l.ID), int64(1), permissionTypes[p], p, "G", "GRANT"})
		}
	}
	return rows
}

func databases(e *execution) (rows [][]any) {
	for i, d := range e.catalog().Databases {
		model := "SIMPLE"
		if d.Name == "model" || i >= 4 {
			model = "FULL"
		}
		containment := "NONE"
		if d.Contained {
			containment = "PARTIAL"
		}
		rows = append(rows, []any{d.Name, int64(i + 1), []byte(saSID), d.Created, int64(e.server.version[0]) * 10, serverCollation,
			"MULTI_USER", false, int64(0), "ONLINE", model, number(d.Contained), containment})
	}
	return rows
}

// sessionsSeen are the sessions that the session may see, by id: without permission, itself.
func (e *execution) sessionsSeen() (seen []*session) {
	all := e.self().may("VIEW SERVER STATE")
	e.server.mu.Lock()
	defer e.server.mu.Unlock()
	for _, s := range e.server.sessions {
		if all || s == e.session {
			seen = append(seen, s)
		}
	}
	slices.SortFunc(seen, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	return seen
}

func execSessions(e *execution) (rows [][]any) {
	for _, s := range e.sessionsSeen() {
		c := s.master.read()
		var id any
		if l := s.principalIn(c); l != nil {
			id = []byte(l.SID)
		}
		authenticating, _ := c.database(s.userOf)
		s.mu.Lock()
		status, transactions := "sleeping", int64(0)
		if s.running {
			status = "running"
		}
		if s.inTx {
			transactions = 1
		}
		database, _ := c.database(s.database)
		lastBegin := s.lastBegin
		s.mu.Unlock()
		rows = append(rows, []any{int64(s.id), s.since, s.hello.Host, s.hello.App, int64(int32(s.hello.ProcessID)),
			int64(7), s.hello.ClientInterface, id, s.login, status, lastBegin, true, s.login, int64(database), int64(authenticating), transactions})
	}
	return rows
}

func execConnections(e *execution) (rows [][]any) {
	for _, s := range e.sessionsSeen() {
		encrypted := "FALSE"
		if s.client.encrypted {
			encrypted = "TRUE"
		}

		rows = append(rows, []any{int64(s.id), s.since, "TCP", encrypted, "SQL", s.client.host()})
	}
	return rows
}
