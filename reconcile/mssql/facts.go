package mssql

import (
	"context"
	"database/sql"
)

// Facts are what a server says of itself and of what the session may do there, instead of anybody assuming it.
type Facts struct {
	Server  string // @@SERVERNAME, by which an availability group knows it; empty if the server does not tell
	Edition string // "Developer Edition (64-bit)"; empty if the server does not tell
	Version string // "16.0.4175.1"; empty if the server does not tell
	Engine  int    // SERVERPROPERTY('EngineEdition'): 5 is Azure SQL Database, 8 Managed Instance; 0 if the server does not tell
	// Compares: [Session.Accepts] can tell without a login. Not where PWDCOMPARE or the password's hash are not to be had.
	Compares bool
	// Resets: the session may set the login's password without its old one, and so without its history and minimum age.
	Resets bool
	// Policy: CHECK_POLICY is on for the login. Users of a contained database have no such option and are held to the
	// policy always.
	Policy bool
}

// Facts asks the server what it is and what the session may do with login, and remembers the answer for the session's
// life. That costs one round trip where the server knows all that it is asked. A server that lacks something, as Azure
// SQL Database and servers that only resemble SQL Server do, or that does not let the session see it, leaves that fact
// empty; it is no error. A login that does not exist is one, on a server that would show it.
func (s *Session) Facts(ctx context.Context, login string) (Facts, error) {
	if known, ok := s.facts[login]; ok {
		return known, nil
	}
	defer s.wire.bound(ctx)()
	ask := s.askLogin
	if s.endpoint.Contained {
		ask = s.askUser
	}
	facts, exists, err := ask(ctx, login)
	if err != nil {
		return Facts{}, statementFault(ctx, s.endpoint, login, err)
	}
	if !exists {
		return Facts{}, missingLogin(s.endpoint, login)
	}
	s.facts[login] = facts
	return facts, nil
}

// product is what a server says of itself.
type product struct {
	name, edition, version sql.NullString
	engine                 sql.NullInt64
}

func (p *product) questions() []question {
	return []question{
		{"@@SERVERNAME", &p.name},
		{"CAST(SERVERPROPERTY('Edition') AS nvarchar(128))", &p.edition},
		{"CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128))", &p.version},
		{"CAST(SERVERPROPERTY('EngineEdition') AS int)", &p.engine},
	}
}

func (p *product) facts() Facts {
	return Facts{Server: p.name.String, Edition: p.edition.String, Version: p.version.String, Engine: int(p.engine.Int64)}
}

// askLogin asks about a login of the server, and whether there is one: where the server does not show every login, the
// answer is yes.
func (s *Session) askLogin(ctx context.Context, login string) (facts Facts, exists bool, err error) {
	var (
		server                            product
		policy, compares                  sql.NullBool
		shown, seesAll                    sql.NullInt64
		controlsServer, altersLogin       sql.NullInt64
		sysadmin, loginIsSysadmin, grants sql.NullInt64
	)
	err = s.askWhatItKnows(ctx, []any{login}, append(server.questions(),
		question{"(SELECT is_policy_checked FROM sys.sql_logins WHERE name = @p1)", &policy},
		// What the comparison yields does not matter: it is NULL where the hash is not to be seen.
		question{"(SELECT CAST(PWDCOMPARE(N'', password_hash) AS bit) FROM sys.sql_logins WHERE name = @p1)", &compares},
		question{"(SELECT COUNT(*) FROM sys.sql_logins)", &shown},
		question{"HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW ANY DEFINITION')", &seesAll},
		question{"HAS_PERMS_BY_NAME(NULL, NULL, 'CONTROL SERVER')", &controlsServer},
		question{"HAS_PERMS_BY_NAME(QUOTENAME(@p1), 'LOGIN', 'ALTER')", &altersLogin},
		question{"IS_SRVROLEMEMBER('sysadmin')", &sysadmin},
		question{"IS_SRVROLEMEMBER('sysadmin', @p1)", &loginIsSysadmin},
		question{`(SELECT COUNT(*) FROM sys.server_permissions AS p
	LEFT JOIN sys.server_role_members AS m ON m.role_principal_id = p.grantee_principal_id
	JOIN sys.sql_logins AS l ON l.principal_id = p.grantee_principal_id OR l.principal_id = m.member_principal_id
	WHERE l.name = @p1 AND p.type = 'CL' AND p.state IN ('G', 'W'))`, &grants},
	)...)
	if err != nil {
		return Facts{}, false, err
	}
	facts = server.facts()
	facts.Compares, facts.Policy = compares.Valid, policy.Bool
	// The password of who controls the server is reset by who controls it, too, and by nobody else (ALTER LOGIN, SQL
	// Server documentation). Where that cannot be told, it is not taken for granted.
	ordinary := loginIsSysadmin.Valid && loginIsSysadmin.Int64 == 0 && grants.Valid && grants.Int64 == 0
	facts.Resets = permitted(controlsServer) || permitted(sysadmin) || permitted(altersLogin) && ordinary
	return facts, policy.Valid || shown.Int64 == 0 || !permitted(seesAll), nil
}

// askUser asks about a user of the contained database that the session is in.
func (s *Session) askUser(ctx context.Context, user string) (facts Facts, exists bool, err error) {
	var (
		server                 product
		found, seesAll, alters sql.NullInt64
	)
	err = s.askWhatItKnows(ctx, []any{user}, append(server.questions(),
		question{"(SELECT COUNT(*) FROM sys.database_principals WHERE name = @p1 AND authentication_type_desc = 'DATABASE')", &found},
		question{"HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DEFINITION')", &seesAll},
		question{"HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'ALTER ANY USER')", &alters},
	)...)
	facts = server.facts()
	facts.Resets, facts.Policy = permitted(alters), true
	return facts, !found.Valid || found.Int64 > 0 || !permitted(seesAll), err
}
