package tsql

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// anyFunction lets the parser go on behind every name.
func anyFunction(string) (least, most int, known bool) { return 0, 10, true }

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"SELECT TOP (1) a.name AS x, PWDCOMPARE(@p1, password_hash) FROM sys.sql_logins a WHERE a.name = N'it''s' AND NOT (1 = 2 OR a.sid IS NULL) ORDER BY 1 DESC",
		"ALTER LOGIN [a]]b] WITH PASSWORD = N'x' OLD_PASSWORD = N'y', CHECK_POLICY = OFF; ALTER LOGIN b ENABLE",
		"CREATE LOGIN a WITH PASSWORD = 0x0200 HASHED, SID = 0x01; DROP LOGIN a; KILL 51; USE master",
		"DECLARE @s nvarchar(max) = N'a' + QUOTENAME(@p1); EXEC (@s); IF EXISTS (SELECT 1) SELECT 2 ELSE BEGIN SELECT 3 END",
		"CREATE USER a WITH PASSWORD = N'x'; ALTER USER a WITH PASSWORD = N'x' OLD_PASSWORD = N'y', NAME = b; ALTER ROLE db_owner ADD MEMBER b; DROP USER b",
		"SELECT a.*, (SELECT COUNT(*) FROM sys.databases) FROM sys.sql_logins a",
		"SELECT CASE WHEN 1 IN (2, 3) THEN CAST(1 AS int) ELSE CONVERT(varchar(9), 0x1, 1) END /* /* */ */ -- x",
		"((((((((", "'", "[", "0x1", "@", "@@", "N'", "/*", "BEGIN", "SET @p1 =", strings.Repeat("(", 1000), strings.Repeat("1+", 5000) + "1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, batch string) {
		statements, err := Parse(batch, Scope{Variables: []string{"@p1"}, Function: anyFunction})
		if err != nil {
			require.Nil(t, statements)
			require.NotZero(t, err.Number)
		}
		Masked(batch)
		ParseParameters(batch)
	})
}

func FuzzMasked(f *testing.F) {
	f.Add("ALTER LOGIN a WITH PASSWORD = N'", "'")
	f.Add("EXEC(N'ALTER LOGIN a WITH PASSWORD=N''", "''')")
	f.Add("ALTER LOGIN a WITH PASSWORD = N'", " and no end")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "S3cr3tS3cr3t"
		// What comes before has to leave the secret inside of a string, or it is none.
		tokens, err := lex(before)
		if err == nil || err.Number != 105 || !strings.Contains(strings.ToUpper(before), "PASSWORD") {
			return
		}
		if last := before[lastEnd(tokens):]; !strings.Contains(last, "'") || strings.ContainsAny(last, "[\"") {
			return // it is a name in brackets that has no end
		}
		require.NotContains(t, Masked(before+secret+after), secret)
	})
}

func lastEnd(tokens []token) int {
	if len(tokens) == 0 {
		return 0
	}
	return tokens[len(tokens)-1].end
}
