package mssql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	// ReasonStarting: the server is there but takes no logins yet (starting, upgrading its scripts, single-user).
	ReasonStarting = "ServerNotOpen"
	// ReasonUntrusted: the server's certificate is not signed by the expected authority or not for this name.
	ReasonUntrusted = "CertificateUntrusted"
	// ReasonRefusedLogin: the server refused the credential (18456).
	ReasonRefusedLogin = "CredentialRefused"
	// ReasonLocked: the login is locked out (18486, 15113).
	ReasonLocked = "LoginLocked"
	// ReasonDisabled: the login is disabled (18470).
	ReasonDisabled = "LoginDisabled"
	// ReasonExpired: the login's password has expired or must be changed (18487, 18488).
	ReasonExpired = "PasswordExpired"
	// ReasonPolicy: the server's password policy refused the new password (33062-33064, 15114-15119, 15156).
	ReasonPolicy = "PasswordRefused"
	// ReasonMissing: there is no such login, or it may not be seen (15151).
	ReasonMissing = "LoginNotFound"
	// ReasonPermission: the login may not do what a rotation needs (15247, hidden password hashes).
	ReasonPermission = "PermissionDenied"
	// ReasonServer: the server answered with an error that gitrota has no rule for.
	ReasonServer = "ServerError"
)

type rule struct {
	class  fault.Class
	reason string
	what   string // completes "<server>: ", with %s for the login
	hint   string
}

// rules maps SQL Server's error numbers (sys.messages; "Database Engine errors", SQL Server documentation) to what a
// rotation does about them.
var rules = map[int32]rule{
	18456: {fault.Stop, ReasonRefusedLogin, "refused the login of %q (error 18456): the password is not the one that the server has", ""},
	18401: {fault.Wait, ReasonStarting, "is in script upgrade mode (error 18401)", ""},
	18451: {fault.Wait, ReasonStarting, "takes only administrators at this time (error 18451)", ""},
	18461: {fault.Wait, ReasonStarting, "is in single-user mode (error 18461)", ""},
	18452: {fault.Stop, ReasonRefusedLogin, "takes Windows logins only (error 18452)", "enable SQL Server authentication (mixed mode) on it"},
	18470: {fault.Stop, ReasonDisabled, "has the login %q disabled (error 18470)", "enable it: ALTER LOGIN ... ENABLE"},
	18486: {fault.Stop, ReasonLocked, "has the login %q locked out (error 18486)", "find who sent wrong passwords, then unlock it: ALTER LOGIN ... WITH PASSWORD = '...' UNLOCK"},
	15113: {fault.Stop, ReasonLocked, "has the login %q locked out (error 15113)", "find who sent wrong passwords, then unlock it: ALTER LOGIN ... WITH PASSWORD = '...' UNLOCK"},
	18487: {fault.Stop, ReasonExpired, "says that the password of %q has expired (error 18487)", "change it on the server and put the new one into the auth Secret"},
	18488: {fault.Stop, ReasonExpired, "says that the password of %q must be changed (error 18488)", "change it on the server and put the new one into the auth Secret"},
	15114: {fault.Refuse, ReasonPolicy, "says that the password of %q was changed too recently (error 15114)", "wait for the policy's minimum password age and add a new request"},
	15115: {fault.Refuse, ReasonPolicy, "says that this password of %q cannot be used now (error 15115): it is in the password history", "use another one"},
	15116: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too short (error 15116)", "use a longer one"},
	15117: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too long (error 15117)", "use a shorter one"},
	15118: {fault.Refuse, ReasonPolicy, "refused the new password of %q as not complex enough (error 15118)", "mix upper case, lower case, digits and symbols"},
	15119: {fault.Refuse, ReasonPolicy, "refused the new password of %q by its password filter (error 15119)", "ask who runs the server what its filter wants"},
	15156: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too long (error 15156)", "use 128 characters at most"},
	33062: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too short (error 33062)", "use a longer one"},
	33063: {fault.Refuse, ReasonPolicy, "refused the new password of %q as too long (error 33063)", "use a shorter one"},
	33064: {fault.Refuse, ReasonPolicy, "refused the new password of %q as not complex enough (error 33064)", "mix upper case, lower case, digits and symbols"},
	15151: {fault.Stop, ReasonMissing, "has no login %q, or does not let it be changed (error 15151)", "check sys.server_principals and the permission ALTER ANY LOGIN"},
	15247: {fault.Stop, ReasonPermission, "does not let %q change the login (error 15247)", "grant CONTROL SERVER or ALTER ANY LOGIN"},
	229:   {fault.Stop, ReasonPermission, "denied %q a permission that a rotation needs (error 229)", "grant CONTROL SERVER"},
	297:   {fault.Stop, ReasonPermission, "denied %q a permission that a rotation needs (error 297)", "grant CONTROL SERVER"},
}

// loginFault classifies a login that failed.
func loginFault(ctx context.Context, endpoint Endpoint, login credential.Credential, err error) error {
	if classified := byNumber(endpoint, login.Username, err); classified != nil {
		return classified
	}
	text := credential.Scrub(err.Error(), login.Password)
	var unknownAuthority x509.UnknownAuthorityError
	var verification *tls.CertificateVerificationError
	// The driver flattens the TLS error into text for all but strict connections.
	if errors.As(err, &unknownAuthority) || errors.As(err, &verification) || strings.Contains(text, "failed to verify certificate") {
		return fault.New(fault.Refuse, ReasonUntrusted, "check the CA that signs the server's certificates",
			"%s (%s): %s", endpoint.Name, endpoint.Address, text)
	}
	return unreachable(ctx, endpoint, text, fault.Wait)
}

// statementFault classifies a statement that failed on an open session.
func statementFault(ctx context.Context, endpoint Endpoint, login string, err error, passwords ...credential.Password) error {
	if classified := byNumber(endpoint, login, err); classified != nil {
		return classified
	}
	text := credential.Scrub(err.Error(), passwords...)
	var server mssql.Error
	if asServerError(err, &server) {
		return fault.New(fault.Refuse, ReasonServer, "", "%s: %s", endpoint.Name, text)
	}
	return unreachable(ctx, endpoint, text, fault.Retry)
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

func byNumber(endpoint Endpoint, login string, err error) error {
	var server mssql.Error
	if !asServerError(err, &server) {
		return nil
	}
	known, ok := rules[server.Number]
	if !ok {
		return nil
	}
	what := known.what
	if strings.Contains(what, "%q") {
		what = fmt.Sprintf(what, login)
	}
	// The server's own text is left out: it can quote the statement.
	return &fault.Error{Class: known.class, Reason: known.reason, Message: endpoint.Name + " " + what, Hint: known.hint, Err: nil}
}

func missingLogin(endpoint Endpoint, login string) error {
	return fault.New(fault.Stop, ReasonMissing, "check sys.sql_logins on the server", "%s has no SQL login %q", endpoint.Name, login)
}

func hiddenHash(endpoint Endpoint, login string) error {
	return fault.New(fault.Stop, ReasonPermission, "grant CONTROL SERVER to the login that rotates",
		"%s does not show the password hash of %q, so passwords cannot be compared without failing logins", endpoint.Name, login)
}

func asServerError(err error, target *mssql.Error) bool { return errors.As(err, target) }
