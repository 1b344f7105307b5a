// Package mssqltest is a server that behaves like SQL Server 2022 on Linux as far as rotating a password can tell.
//
// SQL Server itself is proprietary and cannot be had where the tests run, so this stands in for it: it speaks TDS 7.4
// and 8.0 to the real drivers, over TLS, keeps its logins in a file as SQL Server keeps them in master, executes the
// Transact-SQL that concerns logins with SQL Server's permissions, policies and error numbers, and refuses every
// statement that it does not know. It can be told to fail; see [Faults].
//
// [Start] runs one. [Target] is for tests of what talks to SQL Server: it gives them a stand-in, or the real server
// that the environment variable GITROTA_TEST_MSSQL names, so that the same test shows that both behave alike.
//
// It differs from SQL Server where that does not matter to a rotation, and knowingly: a locked login stays locked until
// somebody unlocks it; a transaction that has written keeps every other writer waiting, and no reader; it has no
// databases but in name; there is no MARS, and of stored procedures only sp_executesql, without output parameters.
//
// Its own tests need FreeTDS's tsql (Debian: freetds-bin) besides the Go driver, and fail without it.
//
// The parts: internal/tds turns bytes into requests and results into bytes; internal/tsql parses batches; here, a
// [Server] accepts connections (connection.go: the handshake, logon.go: who may log in), each session executes its
// requests one after the other (session.go, execute.go), reads system views (views.go, query.go) and changes logins
// (logins.go), all on the catalog that master.go keeps.
package mssqltest
