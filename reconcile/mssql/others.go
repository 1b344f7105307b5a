package mssql

import (
	"context"
	"fmt"
)

// olderSessions are those that another process of gitrota has opened with the login of this session, before it. Who they
// are is what they said when they came in: program, host and process.
const olderSessions = `FROM sys.dm_exec_sessions AS s
JOIN sys.dm_exec_sessions AS own ON own.session_id = @@SPID
WHERE s.program_name = own.program_name AND s.original_login_name = own.original_login_name
	AND s.login_time < own.login_time AND s.is_user_process = 1
	AND NOT (s.host_name = own.host_name AND s.host_process_id = own.host_process_id)`

// EndOlder ends the sessions that other processes of gitrota have opened with the same login before this one, and returns
// how many: whoever takes a rotation over leaves no statement of its predecessor to come. Sessions of this process and of
// other programs go on. Where the session may not see or end others, nothing happens and it is no error.
func (s *Session) EndOlder(ctx context.Context) (ended int, err error) {
	defer s.wire.bound(ctx)()
	rows, err := s.conn.QueryContext(ctx, "SELECT s.session_id "+olderSessions)
	var ids []int
	if err == nil {
		for rows.Next() {
			var id int
			if err = rows.Scan(&id); err == nil {
				ids = append(ids, id)
			}
		}
		err = rows.Err()
		rows.Close()
	}
	for _, id := range ids {
		if err != nil {
			break
		}
		// The number of a session that has ended meanwhile may be another program's by now.
		_, err = s.conn.ExecContext(ctx, fmt.Sprintf("IF EXISTS (SELECT s.session_id %s AND s.session_id = %d)\n\tKILL %d", olderSessions, id, id))
		if err == nil {
			ended++
		}
	}
	if err := ignoreRefusal(err); err != nil {
		return ended, statementFault(ctx, s.endpoint, "", err)
	}
	return ended, nil
}
