// Package mssqltest is a server that behaves like SQL Server 2022 on Linux as far as rotating a password can tell.
//
// SQL Server itself is proprietary and cannot be had where the tests run, so this stands in for it: it speaks TDS 7.4
// and 8.0 to the real drivers, over TLS, keeps its logins in a file as SQL Server keeps them in master, executes the
// Transact-SQL that concerns logins with SQL Server's permissions, policies and error numbers, and refuses every
// statement that it does not know. It can be told to fail; see [Faults].
//
// Servers of one process can be a [Group], an availability group, and [Server.AddContainedDatabase] makes a database with
// users of its own. A [Flavour] is a server that lacks part of it, as Azure SQL Database does.
//
// [Start] runs one. [Target] is for tests of what talks to SQL Server: it gives them a stand-in, or the real server
// that the environment variable GITROTA_TEST_MSSQL names, so that the same test shows that both behave alike.
//
// It differs from SQL Server where that does not matter to a rotation, and knowingly: a locked login stays locked until
// somebody unlocks it; a transaction that has written keeps every other writer waiting, and no reader; it has no
// databases but in name, and every login may open each of them; a query in parentheses does not refer to the one around
// it; uniqueidentifiers are texts; the logins of a contained availability group live as long as the process; there is no
// MARS, and of stored procedures only sp_executesql, without output parameters.
//
// Its own tests need FreeTDS's tsql (Debian: freetds-bin) besides the Go driver, and fail without it.
//
// The parts: internal/tds turns bytes into requests and results into bytes; internal/tsql parses batches; here, a
// [Server] accepts connections (connection.go: the handshake, realm.go and logon.go: who may log in where), each session
// executes its requests one after the other (session.go, execute.go), reads system views (views.go, query.go) and changes
// logins and users (logins.go, users.go), all on the catalog that master.go keeps; availability.go joins servers.
package mssqltest
