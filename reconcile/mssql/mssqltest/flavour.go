package mssqltest

import (
	"slices"
	"strings"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// A Flavour is which server the stand-in resembles. The others are there for what they lack: whoever talks to them has
// to find that out and get along without.
type Flavour string

const (
	// FlavourSQLServer is SQL Server on Linux. It is the zero value.
	FlavourSQLServer Flavour = ""
	// FlavourAzureSQLDatabase compares no passwords, shows no hashes, has logins in master only, without options, and
	// neither roles and permissions on the server nor availability groups. USE changes no database.
	FlavourAzureSQLDatabase Flavour = "azure-sql-database"
	// FlavourForeign is a server that speaks TDS and little else: it has no sys.sql_logins, no SERVERPROPERTY and no
	// OLD_PASSWORD, and says so with an error number of its own.
	FlavourForeign Flavour = "foreign"
)

// foreignNumber is what the foreign server says to all that it does not know.
const foreignNumber = 33557097

// lacking are the functions and views that a flavour does not have.
var lacking = map[Flavour]struct{ functions, views []string }{
	FlavourAzureSQLDatabase: {
		functions: []string{"PWDCOMPARE", "LOGINPROPERTY"},
		views:     []string{"sys.server_principals", "sys.server_role_members", "sys.server_permissions"},
	},
	FlavourForeign: {
		functions: []string{"PWDCOMPARE", "LOGINPROPERTY", "SERVERPROPERTY"},
		views:     []string{"sys.sql_logins", "sys.server_role_members", "sys.server_permissions"},
	},
}

// hasView reports whether f has a view, for a session in that database.
func (f Flavour) hasView(name, database string) bool {
	_, availability := availabilityViews[name]
	switch {
	case f == FlavourSQLServer:
		return true
	case f == FlavourAzureSQLDatabase && name == "sys.sql_logins":
		return strings.EqualFold(database, "master")
	}
	return !availability && !slices.Contains(lacking[f].views, name)
}

// arity tells the parser how many arguments a function takes.
func (f Flavour) arity(name string) (least, most int, known bool) {
	function, known := functions[name]
	return function.least, function.most, known && !slices.Contains(lacking[f].functions, name)
}

// number is the number with which f raises an error of SQL Server's.
func (f Flavour) number(number int32) int32 {
	if f == FlavourForeign && slices.Contains([]int32{102, 156, 195, 207, 208, 2812, 4104}, number) {
		return foreignNumber
	}
	return number
}

// permits refuses the statements that f does not have, in the form in which SQL Server has them.
func (f Flavour) permits(statement tsql.Statement, database string) error {
	switch f {
	case FlavourAzureSQLDatabase:
		return permitsAzure(statement, database)
	case FlavourForeign:
		if s, ok := statement.(tsql.AlterLogin); ok && s.Options.Password != nil && s.Options.Password.Old != nil {
			return tsql.Errorf(foreignNumber, 16, "'ALTER LOGIN ... OLD_PASSWORD' is not supported.")
		}
	}
	return nil
}

func permitsAzure(statement tsql.Statement, database string) error {
	notSupported := func(what string) error {
		return tsql.Errorf(40517, 16, "Keyword or statement option '%s' is not supported in this version of SQL Server.", what)
	}
	var options tsql.LoginOptions
	switch s := statement.(type) {
	case tsql.Use:
		if strings.EqualFold(s.Database, database) {
			return nil
		}
		return tsql.Errorf(40508, 16, "USE statement is not supported to switch between databases. Use a new connection to connect to a different database.")
	case tsql.AlterServerRole, tsql.Permission:
		return tsql.Errorf(40510, 16, "Statement '%s' is not supported in this version of SQL Server.", statement.Kind())
	case tsql.AlterLogin:
		options = s.Options
	case tsql.CreateLogin:
		options = s.Options
	case tsql.DropLogin:
	default:
		return nil
	}
	secret := options.Password
	switch {
	case !strings.EqualFold(database, "master"):
		return tsql.Errorf(5001, 16, "User must be in the master database.")
	case options.CheckPolicy != nil:
		return notSupported("CHECK_POLICY")
	case options.CheckExpiration != nil:
		return notSupported("CHECK_EXPIRATION")
	case options.DefaultDatabase != nil:
		return notSupported("DEFAULT_DATABASE")
	case secret != nil && secret.MustChange:
		return notSupported("MUST_CHANGE")
	case secret != nil && secret.Unlock:
		return notSupported("UNLOCK")
	case secret != nil && secret.Hash != nil:
		return notSupported("HASHED")
	}
	return nil
}
