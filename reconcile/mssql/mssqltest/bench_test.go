package mssqltest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// BenchmarkLogin is a login over TLS with one query: what a test pays for asking a server something.
func BenchmarkLogin(b *testing.B) {
	target := instance(b, start(b, mssqltest.Options{}))
	db := target.Open(b, target.Admin)
	db.SetMaxIdleConns(0)
	for b.Loop() {
		var who string
		require.NoError(b, db.QueryRow("SELECT SUSER_SNAME()").Scan(&who))
	}
}

// BenchmarkStart is what one more server costs a test that needs many.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		server, err := mssqltest.Start(mssqltest.Options{SAPassword: saPassword})
		require.NoError(b, err)
		require.NoError(b, server.Close())
	}
}
