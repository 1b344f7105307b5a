package reconcile_test

import (
	"context"
	"fmt"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

var (
	errNetwork     = fault.New(fault.Retry, mssql.ReasonUnreachable, "", "simulated: the connection broke")
	errUnreachable = fault.New(fault.Wait, mssql.ReasonUnreachable, "", "simulated: no connection")
)

// errPolicy is what a strict server says: it stays connected, and changes nothing.
var errPolicy error = fault.New(fault.Refuse, mssql.ReasonPolicy, "", "simulated: error 33064")

// errChanged is what it says where the login has another hash than the change asks for.
var errChanged = fmt.Errorf("simulated: %w", mssql.ErrChanged)

// session is a login to a simulated server.
type session struct {
	*incarnation
	server *simulated
	pod    int // a session ends with the pod that it was opened on
	login  string
	broken bool
}

// Open lets in who knows the password, and counts who does not.
func (i *incarnation) Open(_ context.Context, endpoint mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	return call(i, error(errUnreachable), func() (reconcile.Session, error) {
		server := i.world.server(endpoint.Name)
		if i.world.isDown(server) {
			return nil, errUnreachable
		}
		if password, known := server.logins[login.Username]; !known || login.Password.Reveal() != password {
			server.failedLogins++
			return nil, fault.New(fault.Stop, mssql.ReasonRefusedLogin, "", "simulated: error 18456")
		}
		return &session{incarnation: i, server: server, pod: server.pod, login: login.Username}, nil
	})
}

func (i *incarnation) OpenWithNewPassword(context.Context, mssql.Endpoint, credential.Credential, credential.Password) (reconcile.Session, error) {
	return nil, errUnreachable // no password expires in the simulation
}

func (s *simulation) server(name string) *simulated {
	for _, server := range s.servers {
		if server.name == name {
			return server
		}
	}
	return nil
}

// use ends the session for good when a mishap befalls it: its connection is gone.
func use[T any](s *session, do func() (T, error)) (T, error) {
	result, err := call(s.incarnation, error(errNetwork), func() (T, error) {
		if s.broken || s.pod != s.server.pod || s.world.isDown(s.server) {
			var none T
			return none, errNetwork
		}
		return do()
	})
	s.broken = s.broken || err != nil && err != errPolicy && err != errChanged
	return result, err
}

func (s *session) Accepts(_ context.Context, login string, passwords ...credential.Password) ([]bool, mssql.Hash, error) {
	var hash mssql.Hash
	accepted, err := use(s, func() ([]bool, error) {
		var accepted []bool
		for _, p := range passwords {
			accepted = append(accepted, p.Reveal() == s.server.logins[login])
		}
		hash = s.server.hash(login)
		return accepted, nil
	})
	return accepted, hash, err
}

// hash is of how often a login's password was set.
func (s *simulated) hash(login string) mssql.Hash {
	return mssql.NewHash([]byte(fmt.Sprint(login, "/", s.changes[login])))
}

func (s *session) SetPassword(_ context.Context, change mssql.Change) error {
	login, next := change.Login, change.Next
	_, err := use(s, func() (any, error) {
		if !change.If.IsZero() && change.If != s.server.hash(login) {
			return nil, errChanged
		}
		if _, exists := s.server.logins[login]; !exists {
			s.world.violate("a login was changed that does not exist: %q", login)
		}
		if s.server.strict && next.Reveal() != initialPassword {
			return nil, errPolicy
		}
		s.server.logins[login] = next.Reveal()
		s.server.changes[login]++
		if s.server.given[login] == nil {
			s.server.given[login] = map[string]bool{}
		}
		s.server.given[login][next.Reveal()] = true
		return nil, nil
	})
	return err
}

func (s *session) Facts(context.Context, string) (mssql.Facts, error) {
	return use(s, func() (mssql.Facts, error) {
		return mssql.Facts{Server: s.server.name, Compares: true, Resets: true}, nil
	})
}

func (s *session) Group(context.Context) (mssql.Group, error) {
	return use(s, func() (mssql.Group, error) {
		group := mssql.Group{Name: "ag"}
		for n, server := range s.world.servers {
			if primary := n == s.world.primary; len(s.world.servers) > 1 && (server == s.server || s.world.servers[s.world.primary] == s.server) {
				group.Replicas = append(group.Replicas, mssql.GroupReplica{Server: server.name, Primary: primary, Connected: !s.world.isDown(server), Healthy: !s.world.isDown(server)})
			}
		}
		return group, nil
	})
}

func (s *session) Sessions(context.Context, string) (int, error) {
	return use(s, func() (int, error) { return 0, nil })
}

func (s *session) Close() {}
