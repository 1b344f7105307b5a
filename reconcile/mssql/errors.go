package mssql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/microsoft/go-mssqldb"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// The reasons that conditions give for what a server did.
const (
	// ReasonUnreachable: no connection, or one that broke or stayed silent.
	ReasonUnreachable = "ServerUnreachable"
	// ReasonStarting: the server is there but takes no logins now (18401, 18451, 18461, 6005, 17142, 40613).
	ReasonStarting = "ServerNotOpen"
	// ReasonUntrusted: the server's certificate is not signed by the expected authority, not for this name, not valid now,
	// or cannot be read at all.
	ReasonUntrusted = "CertificateUntrusted"
	// ReasonRefusedLogin: the server refused the credential (18456).
	ReasonRefusedLogin = "CredentialRefused"
	// ReasonWindowsOnly: the server takes no logins of its own (18452).
	ReasonWindowsOnly = "WindowsLoginsOnly"
	// ReasonLocked: the login is locked out (18486, 15113).
	ReasonLocked = "LoginLocked"
	// ReasonDisabled: the login is disabled (18470).
	ReasonDisabled = "LoginDisabled"
	// ReasonExpired: the login's password has expired or must be changed (18487, 18488).
	ReasonExpired = "PasswordExpired"
	// ReasonPolicy: the server's password policy refused the new password (33062-33064, 15114-15119, 15156; 18462-18468
	// for a change while logging in).
	ReasonPolicy = "PasswordRefused"
	// ReasonMissing: there is no such login, or it may not be seen (15151, 33233, 33234).
	ReasonMissing = "LoginNotFound"
	// ReasonDatabase: the database that the session was to begin in is not there, or not open now (4060, 976, 983).
	ReasonDatabase = "DatabaseNotOpen"
	// ReasonPermission: the login may not do what a rotation needs (229, 297, 300, 15247, 18471).
	ReasonPermission = "PermissionDenied"
	// ReasonCannotCompare: the server cannot tell whether a password is right, unless by a login; see [ErrCannotCompare].
	ReasonCannotCompare = "PasswordsNotComparable"
	// ReasonServer: the server answered with an error that gitrota has no rule for.
	ReasonServer = "ServerError"
)

// loginFault classifies a login that failed.
func loginFault(ctx context.Context, endpoint Endpoint, login credential.Credential, err error) error {
	if classified := byNumber(endpoint, login.Username, err); classified != nil {
		return classified
	}
	text := credential.Scrub(err.Error(), login.Password)
	if why, hint, is := untrusted(text); is {
		return fault.New(fault.Refuse, ReasonUntrusted, hint, "%s (%s): the server's certificate %s: %s", endpoint.Name, endpoint.Address, why, text)
	}
	var server mssql.Error
	if !asServerError(err, &server) {
		return unreachable(ctx, endpoint, text, fault.Wait)
	}
	class := fault.Wait
	if server.Class == securitySeverity { // a further try could lock the login
		class = fault.Stop
	}
	return fault.New(class, ReasonServer, "", "%s (%s) let nobody in: %s", endpoint.Name, endpoint.Address, text)
}

// securitySeverity is that of errors about permissions and logins.
const securitySeverity = 14

// statementFault classifies a statement that failed on an open session.
func statementFault(ctx context.Context, endpoint Endpoint, login string, err error, passwords ...credential.Password) error {
	if classified := byNumber(endpoint, login, err); classified != nil {
		return classified
	}
	text := credential.Scrub(err.Error(), passwords...)
	var server mssql.Error
	switch {
	case isRefusal(err):
		return fault.New(fault.Refuse, ReasonServer, "", "%s: %s", endpoint.Name, text)
	case asServerError(err, &server):
		return fault.New(fault.Retry, ReasonServer, "", "%s: %s", endpoint.Name, text)
	default:
		return unreachable(ctx, endpoint, text, fault.Retry)
	}
}

func unreachable(ctx context.Context, endpoint Endpoint, text string, class fault.Class) error {
	if ctx.Err() != nil {
		text = "it gave no answer in time"
	}
	return &fault.Error{
		Class: class, Reason: ReasonUnreachable, Err: ctx.Err(),
		Message: fmt.Sprintf("%s (%s) cannot be reached: %s", endpoint.Name, endpoint.Address, text),
		Hint:    "check that the server runs and that gitrota may connect to its port",
	}
}

// byNumber classifies what there is a rule for.
func byNumber(endpoint Endpoint, login string, err error) error {
	var server mssql.Error
	if !asServerError(err, &server) {
		return nil
	}
	known, ok := rules[number(server)]
	if !ok {
		return nil
	}
	what := known.what
	if strings.Contains(what, "%q") {
		what = fmt.Sprintf(what, login)
	}
	// The server's own text is left out: it can quote the statement.
	return &fault.Error{Class: known.class, Reason: known.reason, Message: endpoint.Name + " " + what, Hint: known.hint}
}

// number is the one that says most. A server may send several errors for one cause, and ends every login that fails
// with 18456.
func number(server mssql.Error) int32 {
	for _, e := range server.All {
		if _, known := rules[e.Number]; known && e.Number != 18456 {
			return e.Number
		}
	}
	return server.Number
}

func missingLogin(endpoint Endpoint, login string) error {
	if endpoint.Contained {
		return fault.New(fault.Stop, ReasonMissing, "check sys.database_principals in that database",
			"%s has no user %q with a password in the database %q", endpoint.Name, login, endpoint.Database)
	}
	return fault.New(fault.Stop, ReasonMissing, "check sys.sql_logins on the server", "%s has no SQL login %q", endpoint.Name, login)
}

// cannotCompare is [ErrCannotCompare] with what stands in the way.
func cannotCompare(endpoint Endpoint, login, why string) error {
	return &fault.Error{
		Class: fault.Refuse, Reason: ReasonCannotCompare, Err: ErrCannotCompare,
		Message: fmt.Sprintf("%s cannot compare passwords of %q without a login: %s", endpoint.Name, login, why),
		Hint:    "grant CONTROL SERVER to the login that rotates, where the server has that permission",
	}
}

func asServerError(err error, target *mssql.Error) bool { return errors.As(err, target) }
