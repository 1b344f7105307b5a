package mssqltest

import "github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"

// guidType stands in for uniqueidentifier, which is not one of the types that the server knows.
var guidType = nvarchar(36)

// availabilityViews are those about availability groups. Each server shows the groups that it is a member of. The
// states of all members are known to the primary alone.
var availabilityViews = map[string]view{
	"sys.availability_groups": {
		columns: []tds.Column{
			{Name: "group_id", Type: guidType}, {Name: "name", Type: sysnameType}, {Name: "failure_condition_level", Type: intType},
			{Name: "health_check_timeout", Type: intType}, {Name: "version", Type: smallintType}, {Name: "basic_features", Type: bitType},
			{Name: "dtc_support", Type: bitType}, {Name: "db_failover", Type: bitType}, {Name: "is_distributed", Type: bitType},
			{Name: "cluster_type", Type: tinyintType}, {Name: "cluster_type_desc", Type: nvarchar(60)},
			{Name: "required_synchronized_secondaries_to_commit", Type: intType}, {Name: "is_contained", Type: bitType},
		},
		rows: eachGroup(func(e *execution, g *Group) [][]any {
			return [][]any{{g.id, g.name, int64(3), int64(30000), int64(2), false, false, true, false, int64(1), "EXTERNAL", int64(0), g.contained}}
		})},
	"sys.availability_replicas": {
		columns: []tds.Column{
			{Name: "replica_id", Type: guidType}, {Name: "group_id", Type: guidType}, {Name: "replica_server_name", Type: sysnameType},
			{Name: "availability_mode", Type: tinyintType}, {Name: "availability_mode_desc", Type: nvarchar(60)},
			{Name: "failover_mode", Type: tinyintType}, {Name: "failover_mode_desc", Type: nvarchar(60)},
			{Name: "secondary_role_allow_connections_desc", Type: nvarchar(60)},
		},
		rows: eachGroup(func(e *execution, g *Group) (rows [][]any) {
			for _, m := range g.members {
				rows = append(rows, []any{m.id, g.id, m.name, int64(1), "SYNCHRONOUS_COMMIT", int64(2), "EXTERNAL", "NO"})
			}
			return rows
		})},
	"sys.availability_databases_cluster": {
		columns: []tds.Column{{Name: "group_id", Type: guidType}, {Name: "group_database_id", Type: guidType}, {Name: "database_name", Type: sysnameType}},
		rows: eachGroup(func(e *execution, g *Group) (rows [][]any) {
			for _, name := range g.allDatabases() {
				rows = append(rows, []any{g.id, nil, name})
			}
			return rows
		})},
	"sys.dm_hadr_availability_group_states": {
		permission: "VIEW SERVER STATE",
		columns: []tds.Column{{Name: "group_id", Type: guidType}, {Name: "primary_replica", Type: sysnameType},
			{Name: "synchronization_health", Type: tinyintType}, {Name: "synchronization_health_desc", Type: nvarchar(60)}},
		rows: eachGroup(func(e *execution, g *Group) [][]any {
			row := []any{g.id, nil, int64(2), "HEALTHY"}
			if g.primary != nil {
				row[1] = g.primary.name
			}
			for _, m := range g.members {
				if m != g.primary && !m.synchronized() {
					row[2], row[3] = int64(0), "NOT_HEALTHY"
				}
			}
			return [][]any{row}
		})},
	"sys.dm_hadr_availability_replica_states": {
		permission: "VIEW SERVER STATE",
		columns: []tds.Column{
			{Name: "replica_id", Type: guidType}, {Name: "group_id", Type: guidType}, {Name: "is_local", Type: bitType},
			{Name: "role", Type: tinyintType}, {Name: "role_desc", Type: nvarchar(60)},
			{Name: "operational_state", Type: tinyintType}, {Name: "operational_state_desc", Type: nvarchar(60)},
			{Name: "connected_state", Type: tinyintType}, {Name: "connected_state_desc", Type: nvarchar(60)},
			{Name: "recovery_health", Type: tinyintType}, {Name: "recovery_health_desc", Type: nvarchar(60)},
			{Name: "synchronization_health", Type: tinyintType}, {Name: "synchronization_health_desc", Type: nvarchar(60)},
		},
		rows: eachGroup(func(e *execution, g *Group) (rows [][]any) {
			for _, m := range g.seenBy(e.server) {
				rows = append(rows, m.state(g, m.server == e.server))
			}
			return rows
		})},
	"sys.dm_hadr_database_replica_states": {
		permission: "VIEW SERVER STATE",
		columns: []tds.Column{
			{Name: "database_id", Type: intType}, {Name: "group_id", Type: guidType}, {Name: "replica_id", Type: guidType},
			{Name: "is_local", Type: bitType}, {Name: "is_primary_replica", Type: bitType},
			{Name: "synchronization_state", Type: tinyintType}, {Name: "synchronization_state_desc", Type: nvarchar(60)},
			{Name: "synchronization_health", Type: tinyintType}, {Name: "synchronization_health_desc", Type: nvarchar(60)},
			{Name: "is_suspended", Type: bitType},
		},
		rows: eachGroup(func(e *execution, g *Group) (rows [][]any) {
			for _, m := range g.seenBy(e.server) {
				for _, name := range g.allDatabases() {
					id, _ := e.server.master.read().database(name)
					row := []any{int64(id), g.id, m.id, m.server == e.server, m == g.primary, int64(2), "SYNCHRONIZED", int64(2), "HEALTHY", false}
					if m != g.primary && !m.synchronized() {
						copy(row[5:], []any{int64(0), "NOT SYNCHRONIZING", int64(0), "NOT_HEALTHY"})
					}
					rows = append(rows, row)
				}
			}
			return rows
		})},
}

// eachGroup are the rows of a view that has some for each group. Without permission to see definitions there are none.
func eachGroup(rows func(e *execution, g *Group) [][]any) func(*execution) [][]any {
	return func(e *execution) (all [][]any) {
		if !e.self().may("VIEW ANY DEFINITION") && !e.self().may("VIEW SERVER STATE") {
			return nil
		}
		for _, g := range e.server.memberships() {
			g.mu.Lock()
			g.elect()
			all = append(all, rows(e, g)...)
			g.mu.Unlock()
		}
		return all
	}
}

// seenBy are the members whose state a server knows.
func (g *Group) seenBy(s *Server) []*member {
	if g.primary != nil && g.primary.server == s {
		return g.members
	}
	if m := g.memberOf(s); m != nil {
		return []*member{m}
	}
	return nil
}

// state is the row of sys.dm_hadr_availability_replica_states.
func (m *member) state(g *Group, local bool) []any {
	row := []any{m.id, g.id, local, int64(2), "SECONDARY", nil, nil, int64(1), "CONNECTED", nil, nil, int64(2), "HEALTHY"}
	switch {
	case m == g.primary:
		row[3], row[4] = int64(1), "PRIMARY"
	case g.primary == nil:
		row[3], row[4] = int64(0), "RESOLVING"
	}
	if local {
		row[5], row[6], row[9], row[10] = int64(2), "ONLINE", int64(1), "ONLINE"
	}
	if !m.connected() {
		row[7], row[8] = int64(0), "DISCONNECTED"
	}
	if m != g.primary && !m.synchronized() {
		row[11], row[12] = int64(0), "NOT_HEALTHY"
	}
	return row
}
