package mssql

import (
	"context"
	"database/sql"
	"strings"

	"github.com/microsoft/go-mssqldb"

	"github.com/gitrota/gitrota/reconcile/fault"
)

// A question is an expression that has one value, and where that goes. A subquery without a row is NULL.
type question struct {
	expression string
	into       any
}

// ask puts all questions in one round trip. They are one statement: of a batch of several, the driver leaves unread
// what comes after one that fails.
func (s *Session) ask(ctx context.Context, args []any, questions ...question) error {
	var expressions []string
	var into []any
	for _, q := range questions {
		expressions, into = append(expressions, q.expression), append(into, q.into)
	}
	_, err := s.row(ctx, "SELECT "+strings.Join(expressions, ",\n\t"), args, into)
	return err
}

// row reads the row that a query yields, and reports whether there was one.
func (s *Session) row(ctx context.Context, query string, args, into []any) (found bool, err error) {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() { // to the end, so that nothing of the answer is left on the connection
		if err := rows.Scan(into...); err != nil {
			return false, err
		}
		found = true
	}
	return found, rows.Err()
}

// askWhatItKnows puts the questions in one round trip and, where the server refuses to answer all of them together,
// one by one. Those that it refuses stay without an answer.
func (s *Session) askWhatItKnows(ctx context.Context, args []any, questions ...question) error {
	err := s.ask(ctx, args, questions...)
	if !isRefusal(err) || len(questions) == 1 {
		return ignoreRefusal(err)
	}
	for _, q := range questions {
		if err := ignoreRefusal(s.ask(ctx, args, q)); err != nil {
			return err
		}
	}
	return nil
}

// isRefusal reports whether err is the server's own answer that it does not know or permit what it was asked, whatever
// the number: servers that only resemble SQL Server have numbers of their own. A state that passes is none, for it says
// nothing about what the server can do. Those are the ones that the rules know, deadlocks, which have severity 13, and
// what is above 16, where the server itself is in trouble ("Database Engine error severities", SQL Server documentation).
func isRefusal(err error) bool {
	var server mssql.Error
	if !asServerError(err, &server) || server.Class > 16 || server.Class == 13 {
		return false
	}
	known := rules[number(server)]
	return known.class == fault.Refuse || known.class == fault.Stop || known == rule{}
}

func ignoreRefusal(err error) error {
	if isRefusal(err) {
		return nil
	}
	return err
}

// permitted is a permission as HAS_PERMS_BY_NAME answers it: NULL where the server does not know it.
func permitted(answer sql.NullInt64) bool { return answer.Int64 == 1 }
