// Package tsql reads the part of Transact-SQL that the SQL Server stand-in executes.
//
// It is strict: what is not in its grammar is refused with the number and the text that SQL Server has for it, so that
// a malformed or an injected statement shows instead of passing for something else. A batch is parsed as a whole
// before any of it runs. [Masked] is the other half: a batch as it may be shown, without the passwords in it.
package tsql
