package mssql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/microsoft/go-mssqldb"

	"github.com/gitrota/gitrota/policies/credential"
)

// ErrCannotCompare is what [Session.Accepts] fails with where only a login can tell whether a password is right.
var ErrCannotCompare = errors.New("the server cannot compare passwords")

// Hash is what a server keeps of a login's password, with a salt of its own: every change makes another one, also a
// change to the same password, so that it tells one state of the login from every other. It may be compared with ==, and
// cannot be printed. The zero value is a hash that may not be seen.
type Hash struct{ bytes credential.Password }

// NewHash wraps the bytes of sys.sql_logins.password_hash.
func NewHash(bytes []byte) Hash { return Hash{credential.NewPassword(string(bytes))} }

// IsZero reports whether there is no hash to be seen.
func (h Hash) IsZero() bool { return h.bytes.IsZero() }

// Accepts reports for each password whether it is the login's, in the order given, and the login's hash as they were
// compared with it. An empty password is never accepted. It asks the server with PWDCOMPARE, for all passwords in one
// round trip, and fails no login. Where it cannot, since the server does not have that function or does not let the
// session see the password's hash, and in a contained database always, the error is [ErrCannotCompare].
func (s *Session) Accepts(ctx context.Context, login string, passwords ...credential.Password) ([]bool, Hash, error) {
	if s.endpoint.Contained {
		return nil, Hash{}, cannotCompare(s.endpoint, login, "PWDCOMPARE does not see the users of a contained database")
	}
	defer s.wire.bound(ctx)()
	var (
		verdicts = make([]sql.NullBool, len(passwords))
		args     = []any{login}
		hash     []byte
		columns  = "password_hash"
		into     = []any{&hash}
	)
	for i, password := range passwords {
		if possible(password) {
			args = append(args, password.Reveal())
			columns += fmt.Sprintf(", CAST(PWDCOMPARE(@p%d, password_hash) AS bit)", len(args))
			into = append(into, &verdicts[i])
		}
	}
	// One row, and not a subquery for each answer: hash and verdicts are of the same moment.
	found, err := s.row(ctx, "SELECT "+columns+" FROM sys.sql_logins WHERE name = @p1", args, into)
	switch {
	case isRefusal(err):
		return nil, Hash{}, cannotCompare(s.endpoint, login, credential.Scrub(err.Error(), passwords...))
	case err != nil:
		return nil, Hash{}, statementFault(ctx, s.endpoint, login, err, passwords...)
	case !found:
		return nil, Hash{}, s.unseen(ctx, login)
	case hash == nil:
		return nil, Hash{}, cannotCompare(s.endpoint, login, "the session may not see the hash of its password")
	}
	accepted := make([]bool, len(passwords))
	for i, verdict := range verdicts {
		accepted[i] = verdict.Bool
	}
	return accepted, NewHash(hash), nil
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

// ErrChanged is what [Session.SetPassword] fails with where the password is not any more what it was when somebody
// decided to change it. Nothing was changed.
var ErrChanged = errors.New("the password was changed by somebody else in the meantime")

// Change is a new password for a login, and what has to hold for it at the moment of the change.
type Change struct {
	Login string
	Next  credential.Password
	// If is the hash that the login still has to have; the zero value asks for none.
	If Hash
	// Old is the password that the login still has to have, which the server checks, with its history and its minimum age:
	// it is the change that everybody may make of their own. The zero value asks for none: an administrator's change, who
	// may put a previous password back.
	Old credential.Password
}

// SetPassword runs ALTER LOGIN, or ALTER USER in a contained database, if the login still is what the change asks for: a
// process that was stopped right before it, for however long, undoes nothing that others have done since. [ErrChanged]
// if it has another hash. An old password that is not right any more is a refusal with [ReasonMissing], which has other
// causes, too.
//
// When it returns an error that is not a refusal, the password may or may not have been changed; [Session.Accepts] on
// another session tells. Repeating it with the same password is harmless.
func (s *Session) SetPassword(ctx context.Context, change Change) error {
	defer s.wire.bound(ctx)()
	_, err := s.conn.ExecContext(ctx, change.batch(s.endpoint))
	var server mssql.Error
	switch {
	case err == nil:
		return nil
	case !change.If.IsZero() && asServerError(err, &server) && server.Number == changedNumber:
		return fmt.Errorf("%s: %w", s.endpoint.Name, ErrChanged)
	}
	return statementFault(ctx, s.endpoint, change.Login, err, change.Next, change.Old, change.If.bytes)
}

// changedNumber is the number of every error that RAISERROR raises with a text.
const changedNumber = 50000

// batch is the text of a change. It is one plain batch, with the password as a literal in an ALTER LOGIN that stands in
// it as such: SQL Server keeps the text of those out of its traces, which it does not for dynamic SQL. The server runs
// it when it has all of it, so that whoever sent it may sleep or die meanwhile: between the comparison and the change
// there is nothing but the server itself. A statement without a condition stays alone in its batch, as Azure SQL
// Database wants it.
func (c Change) batch(endpoint Endpoint) string {
	kind := "LOGIN"
	if endpoint.Contained {
		kind = "USER"
	}
	statement := "ALTER " + kind + " " + quoteName(c.Login) + " WITH PASSWORD = " + quoteText(c.Next.Reveal())
	if !c.Old.IsZero() {
		statement += " OLD_PASSWORD = " + quoteText(c.Old.Reveal())
	}
	if c.If.IsZero() {
		return statement
	}
	return fmt.Sprintf("IF (SELECT password_hash FROM sys.sql_logins WHERE name = %s) = 0x%X\n\t%s\nELSE\n\tRAISERROR(N'%s', 16, 1)",
		quoteText(c.Login), c.If.bytes.Reveal(), statement, ErrChanged)
}

// quoteName and quoteText follow T-SQL's rules for delimited identifiers and for national character constants: the
// closing delimiter is doubled, and nothing else is special.

func quoteName(name string) string { return "[" + strings.ReplaceAll(name, "]", "]]") + "]" }
func quoteText(text string) string { return "N'" + strings.ReplaceAll(text, "'", "''") + "'" }
