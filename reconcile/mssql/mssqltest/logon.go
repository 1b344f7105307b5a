package mssqltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// client is where a connection comes from.
type client struct {
	addr      net.Addr
	encrypted bool
}

func (c client) host() string {
	host, _, err := net.SplitHostPort(c.addr.String())
	if err != nil {
		return c.addr.String()
	}
	return host
}

// A refusal is why a login failed. The client learns less than the errorlog, which has the true state and reason.
type refusal struct {
	number int32
	state  uint8
	reason string // after "Login failed for user 'x'", for number 18456
	first  *tsql.Error
}

// texts are the messages of the refusals that tell the client what is wrong.
var texts = map[int32]string{
	18401: "Login failed for user '%s'. Reason: Server is in script upgrade mode. Only administrator can connect at this time.",
	18451: "Login failed for user '%s'. Only administrators may connect at this time.",
	18452: "Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication.",
	18456: "Login failed for user '%s'.",
	18461: "Login failed for user '%s'. Reason: Server is in single user mode. Only one administrator can connect at this time.",
	18462: "The login failed for user \"%s\". The password change failed. The password for the user is too recent to change.",
	18463: "The login failed for user \"%s\". The password change failed. The password cannot be used at this time.",
	18464: "Login failed for user '%s'. Reason: Password change failed. The password does not meet operating system policy requirements because it is too short.",
	18465: "Login failed for user '%s'. Reason: Password change failed. The password does not meet operating system policy requirements because it is too long.",
	18466: "Login failed for user '%s'. Reason: Password change failed. The password does not meet operating system policy requirements because it is not complex enough.",
	18467: "The login failed for user \"%s\". The password change failed. The password does not meet the requirements of the password filter DLL.",
	18468: "The login failed for user \"%s\". The password change failed. An unexpected error occurred during password validation.",
	18471: "The login failed for user \"%s\". The password change failed. The user does not have permission to change the password.",
	18470: "Login failed for user '%s'. Reason: The account is disabled.",
	18486: "Login failed for user '%s' because the account is currently locked out. The system administrator can unlock it.",
	18487: "Login failed for user '%s'.  Reason: The password of the account has expired.",
	18488: "Login failed for user '%s'.  Reason: The password of the account must be changed.",
}

func failed(state uint8, reason string) *refusal { return &refusal{18456, state, reason, nil} }

func told(number int32) *refusal { return &refusal{number: number, state: 1} }

// toldBy is the refusal that a fault asks for. Errors about the database come before the one about the login.
func toldBy(fault LoginFault) *refusal {
	switch fault.Error {
	case 976, 983, 4060:
		return &refusal{18456, 38, "Failed to open the explicitly specified database.", forced(fault.Error)}
	}
	return told(fault.Error)
}

func (r *refusal) text(user string) string {
	if format, known := texts[r.number]; known {
		if r.number == 18452 {
			return format
		}
		return fmt.Sprintf(format, user)
	}
	return fmt.Sprintf("Login failed for user '%s'. Error %d.", user, r.number)
}

// logon answers a login. It returns nil where it was refused.
func (s *Server) logon(conn *tds.Conn, request tds.Login, from client) *session {
	fault := s.plan.login(request.User)
	if !sleep(s.ctx, time.Duration(fault.Delay)) || fault.Drop {
		return nil
	}
	var (
		where   realm
		l       *login
		session *session
	)
	refused := toldBy(fault)
	if fault.Error == 0 {
		where, l, refused = s.authenticate(request)
	}
	if refused == nil {
		session, refused = s.begin(conn, request, from, where, l)
	}
	if refused != nil {
		s.refuse(conn, request.User, from, refused)
		return nil
	}
	s.counters.count(s.counters.succeeded, l.Name)
	var answer tds.Response
	answer.Database(session.database, "master")
	answer.Notice(session.changedDatabase())
	answer.LoginAck(s.version, request)
	answer.Environment(conn.SetPacketSize(request.PacketSize))
	answer.Done(false)
	answer.Finish()
	if conn.Reply(answer.Bytes()) != nil {
		s.end(session)
		return nil
	}
	return session
}

// refuse tells the client, the errorlog and the counters.
func (s *Server) refuse(conn *tds.Conn, user string, from client, r *refusal) {
	s.counters.count(s.counters.failed, user)
	s.log("Logon", fmt.Sprintf("Error: %d, Severity: 14, State: %d.", r.number, r.state))
	line := r.text(user)
	if r.reason != "" {
		line += " Reason: " + r.reason
	}
	s.log("Logon", fmt.Sprintf("%s [CLIENT: %s]", line, from.host()))
	var answer tds.Response
	if r.first != nil {
		answer.Notice(s.notice(r.first))
	}
	answer.Notice(tds.Notice{Number: r.number, State: 1, Class: 14, Text: r.text(user), Server: s.options.ServerName, Line: 1})
	answer.Done(true)
	answer.Finish()
	conn.Reply(answer.Bytes()) // the connection ends either way
}

// authenticate checks who logs in, in the order in which SQL Server does, and changes the password if asked to.
func (s *Server) authenticate(request tds.Login) (realm, *login, *refusal) {
	if s.plan.get().ScriptUpgrade {
		return realm{}, nil, told(18401)
	}
	if request.Integrated {
		return realm{}, nil, told(18452)
	}
	if request.Federated {
		return realm{}, nil, failed(102, "Could not validate the access token.")
	}
	where, refused := s.realm(request.Database)
	if refused != nil {
		return realm{}, nil, refused
	}
	l, isUser := where.principal(request.User)
	if !isUser {
		where.userOf = ""
	}
	if refused := s.verify(where, l, request); refused != nil {
		return realm{}, nil, refused
	}
	return where, l, s.admits(l)
}

// verify checks the password of l, which is nil if there is nobody of that name.
func (s *Server) verify(where realm, l *login, request tds.Login) *refusal {
	if l == nil {
		return failed(5, "Could not find a login matching the name provided.")
	}
	if where.master.badPasswords(l.ID).locked() {
		return told(18486)
	}
	if !l.Hash.matches(request.Password) {
		if l.CheckPolicy && s.policy.lockout > 0 {
			if err := where.master.countBadPassword(l.ID, s.policy.lockout, s.now()); err != nil {
				return failed(1, err.Error())
			}
		}
		if l.Disabled {
			return failed(7, "An error occurred while evaluating the password.")
		}
		return failed(8, "Password did not match that for the login provided.")
	}
	if l.Disabled {
		return told(18470)
	}
	if request.ChangePassword {
		if refused := s.changeAtLogin(where, l, request.NewPassword); refused != nil {
			return refused
		}
	} else if l.MustChange {
		return told(18488)
	} else if s.policy.expired(l, s.now()) {
		return told(18487)
	}
	if err := where.master.forgetBadPasswords(l.ID); err != nil {
		return failed(1, err.Error())
	}
	return nil
}

// admits refuses those who may not come in at this time.
func (s *Server) admits(l *login) *refusal {
	faults := s.plan.get()
	if faults.AdminOnly && !l.inRole(sysadmin) {
		return told(18451)
	}
	if faults.SingleUser && (!l.inRole(sysadmin) || s.openSessions() > 0) {
		return told(18461)
	}
	return nil
}

// changeAtLogin changes the password of l, who has shown that it knows the present one.
func (s *Server) changeAtLogin(where realm, l *login, password string) *refusal {
	if where.userOf != "" {
		return told(18471) // users of a contained database have ALTER USER
	}
	ctx, cancel := context.WithTimeout(s.ctx, handshakeDeadline)
	defer cancel()
	change, err := where.master.begin(ctx)
	if err != nil {
		return told(18468)
	}
	if err := s.changeOwnPassword(change, l, password); err != nil {
		change.abandon()
		return told(atLogin(err))
	}
	if change.commit() != nil {
		return told(18468)
	}
	return nil
}

func (s *Server) changeOwnPassword(c *change, verified *login, password string) error {
	l := c.catalog.loginByID(verified.ID)
	if l == nil || !slices.Equal(l.Hash, verified.Hash) {
		return errors.New("dropped or changed in the meantime")
	}
	if units(password) > maxPasswordLength {
		return tsql.Errorf(33063, 16, "")
	}
	if l.CheckPolicy {
		if err := s.policy.check(l.Name, password); err != nil {
			return err
		}
		if err := s.policy.checkChange(l, password, s.now()); err != nil {
			return err
		}
	}
	l.setPassword(newHash(password), s.policy, s.now())
	l.MustChange = false
	c.committed = append(c.committed, s.passwordChanged(l.Name, l.Name, "Logon"))
	return nil
}

// atLogin is the number that a failure to change a password has while logging in.
func atLogin(err error) int32 {
	numbers := map[int32]int32{15114: 18462, 15115: 18463, 33062: 18464, 33063: 18465, 33064: 18466}
	var refused *tsql.Error
	if errors.As(err, &refused) && numbers[refused.Number] != 0 {
		return numbers[refused.Number]
	}
	return 18468
}

// passwordChanged returns what is to happen once the change of a password is durable: it is counted, and leaves a
// line in the errorlog that tests in other processes can count.
func (s *Server) passwordChanged(name, by, source string) func() {
	return func() {
		s.counters.count(s.counters.changes, name)
		s.log(source, fmt.Sprintf("Password of login '%s' was changed by login '%s'.", name, by))
	}
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
