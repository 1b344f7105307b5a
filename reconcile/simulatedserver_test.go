package reconcile_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// flavour is what servers are like. The zero value is SQL Server with a login that controls it and rotates itself.
type flavour struct {
	name  string
	admin bool // another login changes the one that rotates; a pair's is changed by it always
	// blind: nobody sees the hash of a password, or has PWDCOMPARE. modest: a login may change its own password, if it
	// gives the old one. unsure: the server does not tell what a login may do. newOnly: it knows no OLD_PASSWORD.
	blind, modest, unsure, newOnly bool
	expired                        bool // the password with which everything begins has expired
	contained                      bool // the availability group has logins of its own
	// fickle: it acknowledges a new password and refuses the login with it. forgetful: it acknowledges and changes nothing.
	// balanced: one address stands for two servers. Nobody can rotate these.
	fickle, forgetful, balanced bool
}

// hopeless reports whether no rotation can succeed.
func (f flavour) hopeless() bool {
	return f.fickle || f.forgetful || f.balanced || f.newOnly && f.modest
}

// mayNotEnd reports whether no login may end others' sessions, or see them.
func (f flavour) mayNotEnd() bool { return f.modest || f.newOnly || f.unsure }

// simulated is one SQL Server, or what keeps the logins of a contained group. Its logins outlive its pods.
type simulated struct {
	flavour
	name   string
	pod    int       // counts the pods that it has had
	podEnv string    // the password that the pod started with
	waits  bool      // its pod does not start without an auth Secret
	away   time.Time // until when nobody can connect to it
	strict bool      // it refuses every new password

	logins       map[string]string          // login to password
	given        map[string]map[string]bool // by ALTER LOGIN, to each login
	asked        map[string]int             // how often an ALTER LOGIN was acknowledged, of each
	alters       map[string]int             // how often it has changed something
	stale        map[string]bool            // the logins whose password has expired
	failedLogins int
}

func newServer(name string, f flavour, logins map[string]string) *simulated {
	s := &simulated{flavour: f, name: name, podEnv: initialPassword, logins: maps.Clone(logins),
		given: map[string]map[string]bool{}, asked: map[string]int{}, alters: map[string]int{}, stale: map[string]bool{}}
	if f.expired {
		s.stale["sa"] = true
	}
	return s
}

func (s *simulated) clone() *simulated {
	c := *s
	c.logins, c.asked, c.alters, c.stale = maps.Clone(s.logins), maps.Clone(s.asked), maps.Clone(s.alters), maps.Clone(s.stale)
	c.given = map[string]map[string]bool{}
	for login, passwords := range s.given {
		c.given[login] = maps.Clone(passwords)
	}
	return &c
}

// give changes a password.
func (s *simulated) give(login, password string) {
	s.asked[login]++
	if s.forgetful {
		return
	}
	s.alters[login]++
	if s.given[login] == nil {
		s.given[login] = map[string]bool{}
	}
	s.logins[login], s.given[login][password] = password, true
	delete(s.stale, login)
}

// lets reports whether a login may come in with a password.
func (s *simulated) lets(login credential.Credential) bool {
	password, known := s.logins[login.Username]
	changed := s.given[login.Username][password] && password != initialPassword
	return known && login.Password.Reveal() == password && !(s.fickle && changed)
}

var (
	errNetwork       = fault.New(fault.Retry, mssql.ReasonUnreachable, "", "simulated: the connection broke")
	errUnreachable   = fault.New(fault.Wait, mssql.ReasonUnreachable, "", "simulated: no connection")
	errCannotCompare = &fault.Error{Class: fault.Refuse, Reason: mssql.ReasonCannotCompare, Message: "simulated: it cannot compare", Err: mssql.ErrCannotCompare}
	errRefusedLogin  = fault.New(fault.Stop, mssql.ReasonRefusedLogin, "", "simulated: error 18456")
	errExpired       = fault.New(fault.Stop, mssql.ReasonExpired, "", "simulated: error 18488")
	errMayNotAlter   = fault.New(fault.Stop, mssql.ReasonMissing, "", "simulated: error 15151")
	errNotSupported  = fault.New(fault.Refuse, mssql.ReasonServer, "", "simulated: OLD_PASSWORD is not supported")
	errChanged       = fmt.Errorf("simulated: %w", mssql.ErrChanged)
	errPolicy        = fault.New(fault.Refuse, mssql.ReasonPolicy, "", "simulated: error 33064")
)

// session is a login to a simulated server.
type session struct {
	*incarnation
	server *simulated
	host   *simulated // where the server runs: a contained group's logins are with the primary
	pod    int        // a session ends with the pod that it was opened on
	login  string
	broken bool
}

// Open lets in who knows the password, and counts who does not.
func (i *incarnation) Open(_ context.Context, endpoint mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	return i.logIn(endpoint, login, func(server *simulated) error {
		if server.stale[login.Username] {
			return errExpired
		}
		return nil
	})
}

// OpenWithNewPassword changes the password of whoever comes in.
func (i *incarnation) OpenWithNewPassword(_ context.Context, endpoint mssql.Endpoint, login credential.Credential, next credential.Password) (reconcile.Session, error) {
	return i.logIn(endpoint, login, func(server *simulated) error {
		if server.strict {
			return errPolicy
		}
		server.give(login.Username, next.Reveal())
		return nil
	})
}

func (i *incarnation) logIn(endpoint mssql.Endpoint, login credential.Credential, then func(*simulated) error) (reconcile.Session, error) {
	return call(i, "Open "+endpoint.Name+" as "+login.Username, error(errUnreachable), func() (reconcile.Session, error) {
		server := i.world.server(endpoint)
		if i.world.isDown(server) {
			return nil, errUnreachable
		}
		if !server.lets(login) {
			server.failedLogins++
			return nil, errRefusedLogin
		}
		if err := then(server); err != nil {
			return nil, err
		}
		s := &session{incarnation: i, server: server, host: i.world.host(server), login: login.Username}
		s.pod = s.host.pod
		i.world.sessions = append(i.world.sessions, s)
		return s, nil
	})
}

// server finds who answers at an endpoint.
func (s *simulation) server(endpoint mssql.Endpoint) *simulated {
	if endpoint.Database != "" {
		return s.contained
	}
	if s.mode.flavour.balanced {
		s.connection++
		return s.servers[s.connection%2]
	}
	for _, server := range s.servers {
		if server.name == endpoint.Name {
			return server
		}
	}
	return nil
}

func (s *simulation) host(server *simulated) *simulated {
	if server == s.contained {
		return s.servers[s.primary]
	}
	return server
}

// use ends the session for good when a mishap befalls it: its connection is gone.
func use[T any](s *session, what string, do func() (T, error)) (T, error) {
	result, err := call(s.incarnation, what+" at "+s.server.name, error(errNetwork), func() (T, error) {
		if s.broken || s.host != s.world.host(s.server) || s.pod != s.host.pod || s.world.isDown(s.host) {
			var none T
			return none, errNetwork
		}
		return do()
	})
	s.broken = s.broken || err == error(errNetwork)
	return result, err
}

func (s *session) Accepts(_ context.Context, login string, passwords ...credential.Password) ([]bool, mssql.Hash, error) {
	var hash mssql.Hash
	accepted, err := use(s, "Accepts", func() ([]bool, error) {
		if s.server.blind {
			return nil, errCannotCompare
		}
		var accepted []bool
		for _, p := range passwords {
			accepted = append(accepted, p.Reveal() == s.server.logins[login])
		}
		hash = s.server.hash(login)
		return accepted, nil
	})
	return accepted, hash, err
}

// hash is another one after every change, also to the same password, and on every server.
func (s *simulated) hash(login string) mssql.Hash {
	return mssql.NewHash(fmt.Append(nil, s.name, "/", login, "/", s.alters[login]))
}

func (s *session) SetPassword(_ context.Context, change mssql.Change) error {
	login, next, old := change.Login, change.Next, change.Old
	_, err := use(s, "SetPassword of "+login, func() (any, error) {
		password, exists := s.server.logins[login]
		switch {
		case !change.If.IsZero() && (s.server.blind || change.If != s.server.hash(login)):
			return nil, errChanged
		case !exists:
			s.world.violate("a login was changed that does not exist: %q", login)
			return nil, errMayNotAlter
		case !old.IsZero() && s.server.newOnly:
			return nil, errNotSupported
		case !old.IsZero() && old.Reveal() != password, old.IsZero() && s.server.modest && s.login == login:
			return nil, errMayNotAlter
		case s.server.strict && next.Reveal() != initialPassword:
			return nil, errPolicy
		}
		// Stopped between the look at the keeper and the change, which is tried with OLD_PASSWORD first.
		if s.server.blind && s.server.newOnly && s.napped > 0 && s.napped >= s.calls-2 {
			s.world.unguarded = true
		}
		s.server.give(login, next.Reveal())
		return nil, nil
	})
	return err
}

func (s *session) Facts(_ context.Context, login string) (mssql.Facts, error) {
	return use(s, "Facts", func() (mssql.Facts, error) {
		resets := !s.server.unsure && (!s.server.modest || s.login != login)
		return mssql.Facts{Server: s.host.name, Compares: !s.server.blind, Resets: resets}, nil
	})
}

func (s *session) Group(context.Context) (mssql.Group, error) {
	return use(s, "Group", func() (mssql.Group, error) { return s.world.group(s.server), nil })
}

// group is the availability group as a server sees it: the primary sees everybody, a secondary itself.
func (s *simulation) group(seer *simulated) mssql.Group {
	group := mssql.Group{Name: "ag"}
	if s.contained != nil {
		group.Contained, group.Database = true, "orders"
	}
	for n, server := range s.servers {
		if s.mode.replicas > 1 && (server == seer || s.servers[s.primary] == seer) {
			up := !s.isDown(server)
			group.Replicas = append(group.Replicas, mssql.GroupReplica{Server: server.name, Primary: n == s.primary, Connected: up, Healthy: up})
		}
	}
	return group
}

func (s *session) Sessions(context.Context, string) (int, error) {
	return use(s, "Sessions", func() (int, error) { return 0, nil })
}

// EndOlder breaks what other processes have opened before with the same login, where this one has the right to.
func (s *session) EndOlder(context.Context) (int, error) {
	return use(s, "EndOlder", func() (int, error) {
		ended := 0
		if s.server.mayNotEnd() {
			return 0, nil
		}
		for _, older := range s.world.sessions[:slices.Index(s.world.sessions, s)] {
			if older.server == s.server && older.host == s.host && older.login == s.login && older.incarnation != s.incarnation && !older.broken {
				older.broken = true
				ended++
			}
		}
		return ended, nil
	})
}

func (s *session) Close() {}

func (s *simulated) String() string { return fmt.Sprint(s.name, "/", s.pod) }
