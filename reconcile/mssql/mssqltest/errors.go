package mssqltest

import "github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"

// The error messages that more than one place raises, with SQL Server's numbers, severities and texts.

func cannotAlter(what, name string) error { return cannot("alter", what, name) }

func cannot(verb, what, name string) error {
	return tsql.Errorf(15151, 16, "Cannot %s the %s '%s', because it does not exist or you do not have permission.", verb, what, name)
}

func noPermission() error {
	return tsql.Errorf(15247, 16, "User does not have permission to perform this action.")
}

func principalExists(name string) error {
	return tsql.Errorf(15025, 16, "The server principal '%s' already exists.", name)
}

func noSuchDatabase(name string) error {
	return tsql.Errorf(15010, 16, "The database '%s' does not exist. Supply a valid database name.", name)
}

// userError is the number of every error that RAISERROR raises with a text.
const userError = 50000

// severe is the class from which on an error ends the connection.
const severe = 20

// abortsBatch reports whether the statements after the one that raised e are not executed.
func abortsBatch(e *tsql.Error) bool {
	switch e.Number {
	case 207, 208, 217, 245, 402, 911, 4104, 8114:
		return true
	}
	return e.Class >= severe || e.Class == 15 && e.Number != userError
}

// forced is the error that a fault raises in place of executing a statement.
func forced(number int32) *tsql.Error {
	severity := uint8(16)
	switch number {
	case 1205: // a deadlock
		severity = 13
	case 701, 802: // memory is short
		severity = 17
	}
	return tsql.Errorf(number, severity, "Error %d, which the server was told to raise.", number)
}
