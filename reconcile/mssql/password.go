package mssql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/gitrota/gitrota/policies/credential"
)

// ErrCannotCompare is what [Session.Accepts] fails with where only a login can tell whether a password is right.
var ErrCannotCompare = errors.New("the server cannot compare passwords")

// Accepts reports for each password whether it is the login's, in the order given. An empty password is never
// accepted. It asks the server with PWDCOMPARE, for all passwords in one round trip, and fails no login. Where it
// cannot, since the server does not have that function or does not let the session see the password's hash, and in a
// contained database always, the error is [ErrCannotCompare].
func (s *Session) Accepts(ctx context.Context, login string, passwords ...credential.Password) ([]bool, error) {
	if s.endpoint.Contained {
		return nil, cannotCompare(s.endpoint, login, "PWDCOMPARE does not see the users of a contained database")
	}
	defer s.wire.bound(ctx)()
	var (
		verdicts = make([]sql.NullBool, len(passwords))
		args     = []any{login}
		found    int
		asked    = []question{{"(SELECT COUNT(*) FROM sys.sql_logins WHERE name = @p1)", &found}}
	)
	for i, password := range passwords {
		if possible(password) {
			args = append(args, password.Reveal())
			asked = append(asked, question{fmt.Sprintf(
				"(SELECT CAST(PWDCOMPARE(@p%d, password_hash) AS bit) FROM sys.sql_logins WHERE name = @p1)", len(args)), &verdicts[i]})
		}
	}
	accepted := make([]bool, len(passwords))
	if len(asked) == 1 {
		return accepted, nil
	}
	err := s.ask(ctx, args, asked...)
	switch {
	case isRefusal(err):
		return nil, cannotCompare(s.endpoint, login, credential.Scrub(err.Error(), passwords...))
	case err != nil:
		return nil, statementFault(ctx, s.endpoint, login, err, passwords...)
	case found == 0:
		return nil, s.unseen(ctx, login)
	case !asked[1].into.(*sql.NullBool).Valid:
		return nil, cannotCompare(s.endpoint, login, "the session may not see the hash of its password")
	}
	for i, verdict := range verdicts {
		accepted[i] = verdict.Bool
	}
	return accepted, nil
}

// unseen tells a login that does not exist from one that the session may not see.
func (s *Session) unseen(ctx context.Context, login string) error {
	var seesAll sql.NullInt64
	err := s.askWhatItKnows(ctx, nil, question{"HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW ANY DEFINITION')", &seesAll})
	switch {
	case err != nil:
		return statementFault(ctx, s.endpoint, login, err)
	case permitted(seesAll):
		return missingLogin(s.endpoint, login)
	default:
		return cannotCompare(s.endpoint, login, "the session may not see that login, if there is one")
	}
}

// possible reports whether a login can have the password at all. PWDCOMPARE takes a sysname, and what it makes of a
// longer text is nowhere written.
func possible(password credential.Password) bool {
	length := len(utf16.Encode([]rune(password.Reveal())))
	return length > 0 && length <= credential.MaxLength
}

// SetPassword runs ALTER LOGIN, or ALTER USER in a contained database. With an old password, which may be empty, it is
// the change that everybody may make of their own: the server checks the old one, its history and its minimum age.
// Without, it is an administrator's, who may put a previous password back.
//
// When it returns an error that is not a refusal, the password may or may not have been changed; [Session.Accepts] on
// another session tells. Repeating it with the same password is harmless.
func (s *Session) SetPassword(ctx context.Context, login string, next, old credential.Password) error {
	defer s.wire.bound(ctx)()
	if _, err := s.conn.ExecContext(ctx, alter(s.endpoint, login, next, old)); err != nil {
		return statementFault(ctx, s.endpoint, login, err, next, old)
	}
	return nil
}

func alter(endpoint Endpoint, login string, next, old credential.Password) string {
	kind := "LOGIN"
	if endpoint.Contained {
		kind = "USER"
	}
	statement := "ALTER " + kind + " " + quoteName(login) + " WITH PASSWORD = " + quoteText(next.Reveal())
	if !old.IsZero() {
		statement += " OLD_PASSWORD = " + quoteText(old.Reveal())
	}
	return statement
}

// quoteName and quoteText follow T-SQL's rules for delimited identifiers and for national character constants: the
// closing delimiter is doubled, and nothing else is special.

func quoteName(name string) string { return "[" + strings.ReplaceAll(name, "]", "]]") + "]" }
func quoteText(text string) string { return "N'" + strings.ReplaceAll(text, "'", "''") + "'" }
