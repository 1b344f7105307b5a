package tsql

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSyntaxErrorsSayWhatSQLServerSays(t *testing.T) {
	for _, c := range []struct{ batch, want string }{
		{"SELECT 1\nFROM", "Msg 102, Level 15, State 1, Line 2: Incorrect syntax near 'FROM'."},
		{"SELECT\n\nWHERE 1 = 1", "Msg 156, Level 15, State 1, Line 3: Incorrect syntax near the keyword 'WHERE'."},
		{"ALTER LOGIN sa WITH PASSWORD = N'x', NONSENSE = 1", "Msg 102, Level 15, State 1, Line 1: Incorrect syntax near 'NONSENSE'."},
		{"SELECT 'a\nb", "Msg 105, Level 15, State 1, Line 1: Unclosed quotation mark after the character string 'a\nb'."},
		{"SELECT @x", `Msg 137, Level 15, State 2, Line 1: Must declare the scalar variable "@x".`},
		{"SELECT 1 = 1", "Msg 102, Level 15, State 1, Line 1: Incorrect syntax near '='."},
		{"DELETE FROM sys.sql_logins", "Msg 156, Level 15, State 1, Line 1: Incorrect syntax near the keyword 'DELETE'."},
		{"ALTER TABLE x", "Msg 156, Level 15, State 1, Line 1: Incorrect syntax near the keyword 'TABLE'."},
	} {
		t.Run(c.batch, func(t *testing.T) {
			statements, err := Parse(c.batch, Scope{Function: anyFunction})
			require.Empty(t, statements)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestStatementsNeedNoSeparator(t *testing.T) {
	statements, err := Parse("USE master SELECT 1 x ALTER LOGIN a ENABLE;;KILL 60\n-- the end", Scope{Function: anyFunction})
	require.Nil(t, err)
	var kinds []string
	for _, s := range statements {
		kinds = append(kinds, s.Kind())
	}
	require.Equal(t, []string{"USE", "SELECT", "ALTER LOGIN", "KILL"}, kinds)
	require.Equal(t, 1, statements[3].At())
}

func TestMasked(t *testing.T) {
	for _, c := range []struct{ name, batch, want string }{
		{"what is about no password is shown as it is", "SELECT name FROM sys.databases WHERE name = 'x'", "SELECT name FROM sys.databases WHERE name = 'x'"},
		{"passwords and hashes are not shown", "ALTER LOGIN [a'b] WITH PASSWORD = N'it''s' OLD_PASSWORD='x', CHECK_POLICY = OFF", "ALTER LOGIN [a'b] WITH PASSWORD = '***' OLD_PASSWORD='***', CHECK_POLICY = OFF"},
		{"nor are those in dynamic SQL", "EXEC (N'ALTER LOGIN a WITH PASSWORD = N''x''')", "EXEC ('***')"},
		{"nor what follows a quote that has no end", "ALTER LOGIN a WITH PASSWORD = N'x", " ..."},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, Masked(c.batch)) })
	}
}
