package mssql

import (
	"context"
	"database/sql"
	"slices"
	"strings"
)

// Group is the availability group that a server belongs to. The zero value is none.
type Group struct {
	Name      string
	Contained bool   // it has logins of its own
	Database  string // the first of its users' databases, where a session uses a contained group's logins; empty if it has none
	Replicas  []GroupReplica
}

// GroupReplica is a server as the group's primary sees it; a secondary knows only itself.
type GroupReplica struct {
	Server    string // replica_server_name: @@SERVERNAME of the instance
	Primary   bool
	Connected bool
	Healthy   bool // synchronization_health is HEALTHY
}

// Group asks which availability group the server belongs to, in one round trip. It is the zero Group where there is
// none, where the server has no availability groups at all, and where the session may not see them. Of several groups
// it is the first by name, those with logins of their own before the others.
func (s *Session) Group(ctx context.Context) (Group, error) {
	defer s.wire.bound(ctx)()
	groups, err := s.groups(ctx)
	if err := ignoreRefusal(err); err != nil {
		return Group{}, statementFault(ctx, s.endpoint, "", err)
	}
	if err != nil || len(groups) == 0 {
		return Group{}, nil
	}
	return *slices.MinFunc(groups, func(a, b *Group) int {
		if a.Contained != b.Contained {
			return map[bool]int{true: -1, false: 1}[a.Contained]
		}
		return strings.Compare(a.Name, b.Name)
	}), nil
}

// availability has a row for each replica of each group that the server knows the state of, or one for each database
// of it. It takes all columns of sys.availability_groups, for before SQL Server 2022 there is none named is_contained,
// and to name it would be an error.
const availability = `SELECT r.replica_server_name, s.role_desc, s.connected_state_desc, s.synchronization_health_desc, d.database_name, g.*
FROM sys.availability_groups AS g
JOIN sys.availability_replicas AS r ON r.group_id = g.group_id
JOIN sys.dm_hadr_availability_replica_states AS s ON s.replica_id = r.replica_id
LEFT JOIN sys.availability_databases_cluster AS d ON d.group_id = g.group_id
ORDER BY r.replica_server_name, d.database_name`

func (s *Session) groups(ctx context.Context) (groups []*Group, err error) {
	rows, err := s.conn.QueryContext(ctx, availability)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	byName := map[string]*Group{}
	for rows.Next() {
		found, database, err := scanGroup(rows)
		if err != nil {
			return nil, err
		}
		group, replica := byName[found.Name], found.Replicas[0]
		if group == nil {
			group = &Group{Name: found.Name, Contained: found.Contained}
			byName[group.Name], groups = group, append(groups, group)
		}
		if !slices.Contains(group.Replicas, replica) {
			group.Replicas = append(group.Replicas, replica)
		}
		if group.Database == "" && group.ofUsers(database) {
			group.Database = database
		}
	}
	return groups, rows.Err()
}

// scanGroup reads a row by the names of its columns: a group with one replica, and a database, if it has any.
func scanGroup(rows *sql.Rows) (group Group, database string, err error) {
	columns, err := rows.Columns()
	if err != nil {
		return Group{}, "", err
	}
	var replica GroupReplica
	var role, connected, health, databaseName sql.NullString
	var contained sql.NullBool
	fields := map[string]any{
		"replica_server_name": &replica.Server, "role_desc": &role, "connected_state_desc": &connected,
		"synchronization_health_desc": &health, "database_name": &databaseName, "name": &group.Name, "is_contained": &contained,
	}
	into := make([]any, len(columns))
	for i, column := range columns {
		if into[i] = fields[column]; into[i] == nil {
			into[i] = new(any)
		}
	}
	err = rows.Scan(into...)
	replica.Primary = role.String == "PRIMARY"
	replica.Connected = connected.String == "CONNECTED"
	replica.Healthy = health.String == "HEALTHY"
	group.Contained, group.Replicas = contained.Bool, []GroupReplica{replica}
	return group, databaseName.String, err
}

// ofUsers reports whether a database is one that people made: a contained group keeps its own master and msdb in
// databases that are named after it, and where a session that begins in one of those belongs is nowhere written.
func (g *Group) ofUsers(database string) bool {
	return !g.Contained || database != g.Name+"_master" && database != g.Name+"_msdb"
}

// Sessions counts the user sessions on the server that login has opened, without this one, whomever they impersonate
// now. It is -1 where the session may see no others but its own, or the server does not tell: a number is never made up.
func (s *Session) Sessions(ctx context.Context, login string) (int, error) {
	defer s.wire.bound(ctx)()
	here := ""
	if s.endpoint.Contained { // a login, or a user of another database, can have the same name
		here = " AND authenticating_database_id = DB_ID()"
	}
	var seesState, seesPerformance, count sql.NullInt64 // SQL Server 2022 made one permission into two
	err := s.askWhatItKnows(ctx, []any{login},
		question{"HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE')", &seesState},
		question{"HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER PERFORMANCE STATE')", &seesPerformance},
		question{"(SELECT COUNT(*) FROM sys.dm_exec_sessions WHERE original_login_name = @p1 AND is_user_process = 1 AND session_id <> @@SPID" + here + ")", &count},
	)
	switch {
	case err != nil:
		return 0, statementFault(ctx, s.endpoint, login, err)
	case !count.Valid || !permitted(seesState) && !permitted(seesPerformance):
		return -1, nil
	default:
		return int(count.Int64), nil
	}
}
