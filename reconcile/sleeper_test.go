package reconcile_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// stood is the simulated cluster in front of one stand-in, which is spoken to over the network as a real server is.
type stood struct {
	*incarnation
	instance *mssqltest.Instance
	admin    bool // an administrator changes the login; else it changes itself
}

// standing makes a world whose database is a stand-in with the login "app".
func standing(t *testing.T, flavour mssqltest.Flavour, admin bool, options mssqltest.LoginOptions) *stood {
	t.Helper()
	instance := mssqltest.StandIn(t, func(o *mssqltest.Options) { o.Flavour = flavour })
	instance.CreateLogin(t, "app", credential.NewPassword(initialPassword), options)
	world := newSimulation(mode{credential: "generated", replicas: 1})
	world.servers[0].logins = nil
	world.put(basicAuth("db-auth", "app", initialPassword))
	world.put(basicAuth("db-admin", instance.Admin.Username, instance.Admin.Password.Reveal()))
	return &stood{incarnation: &incarnation{world: world, at: schedule{}.at, cancel: func() {}}, instance: instance, admin: admin}
}

func (s *stood) Target(ctx context.Context, request reconcile.Request) (reconcile.Target, error) {
	target, err := s.incarnation.Target(ctx, request)
	target.Kind, target.Phase = manifest.KindServer, ""
	if s.admin {
		target.Admin = &manifest.SecretKeys{Name: "db-admin", UsernameKey: "username", PasswordKey: "password"}
	}
	return target, err
}

func (s *stood) Replicas(context.Context, reconcile.Target) ([]reconcile.Replica, error) {
	return []reconcile.Replica{{Name: "db-0", UID: "db-0", Ready: true, Endpoint: mssql.Endpoint{
		Name: "db-0", Address: net.JoinHostPort(s.instance.Host, strconv.Itoa(s.instance.Port)), TLS: mssql.TLS{Any: s.instance.TrustServerCertificate},
	}}}, nil
}

func (s *stood) Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	return reconcile.SQLServers{}.Open(ctx, endpoint, login)
}

func (s *stood) OpenWithNewPassword(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential, next credential.Password) (reconcile.Session, error) {
	return reconcile.SQLServers{}.OpenWithNewPassword(ctx, endpoint, login, next)
}

func (s *stood) engine(servers reconcile.Servers, random uint64) *reconcile.Engine {
	return &reconcile.Engine{Owner: "stood", Cluster: s, Servers: servers, Clock: s, Random: newSeeded(random), Log: slog.New(slog.DiscardHandler),
		DigestCost: 1, AllowHost: func(string) bool { return true }}
}

// rotate serves a request of its own name.
func (s *stood) rotate(ctx context.Context, servers reconcile.Servers, name string, random uint64) reconcile.Status {
	return s.engine(servers, random).Rotate(ctx, reconcile.Job{Status: reconcile.Status{Request: reconcile.Request{
		Kind: manifest.KindRequest, Namespace: "demo", Name: name, ID: "id of " + name, Database: "db", MaxRetries: 1,
	}}})
}

// opens reports whether the server accepts what the auth Secret holds.
func (s *stood) opens(t *testing.T) bool {
	t.Helper()
	replicas, err := s.Replicas(t.Context(), reconcile.Target{})
	require.NoError(t, err)
	session, err := mssql.Open(t.Context(), replicas[0].Endpoint, credential.Credential{
		Username: s.world.value("db-auth", "username"), Password: credential.NewPassword(s.world.value("db-auth", "password")),
	})
	if err == nil {
		session.Close()
	}
	return err == nil
}

// drowsy is stopped right before the first change of a password, and goes on when it is woken.
type drowsy struct {
	reconcile.Servers
	asleep, awake chan struct{}
	once          sync.Once
}

func (d *drowsy) Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	session, err := d.Servers.Open(ctx, endpoint, login)
	return &drowsySession{session, d}, err
}

type drowsySession struct {
	reconcile.Session
	*drowsy
}

func (d *drowsySession) SetPassword(ctx context.Context, change mssql.Change) error {
	d.once.Do(func() { close(d.asleep); <-d.awake })
	return d.Session.SetPassword(ctx, change)
}

func (d *drowsySession) Close() { d.Session.Close() }

func TestAnAgentThatWasStoppedRightBeforeItsChangeUndoesNothing(t *testing.T) {
	for _, tc := range []struct {
		name    string
		flavour mssqltest.Flavour
		admin   bool
		options mssqltest.LoginOptions
	}{
		{"a sysadmin that changes itself", mssqltest.FlavourSQLServer, false, mssqltest.LoginOptions{Roles: []string{"sysadmin"}}},
		{"an ordinary login that changes itself", mssqltest.FlavourSQLServer, false, mssqltest.LoginOptions{}},
		{"an administrator", mssqltest.FlavourSQLServer, true, mssqltest.LoginOptions{}},
		{"a login of Azure SQL Database", mssqltest.FlavourAzureSQLDatabase, false, mssqltest.LoginOptions{}},
		{"an administrator of Azure SQL Database", mssqltest.FlavourAzureSQLDatabase, true, mssqltest.LoginOptions{}},
	} {
		for others := 0; others <= 3; others++ {
			t.Run(fmt.Sprintf("%s, and others finished %d more", tc.name, others), func(t *testing.T) {
				s := standing(t, tc.flavour, tc.admin, tc.options)
				sleeper := &drowsy{Servers: s, asleep: make(chan struct{}), awake: make(chan struct{})}
				ended := make(chan reconcile.Status)
				go func() { ended <- s.rotate(t.Context(), sleeper, "first", 1) }()
				<-sleeper.asleep
				names := []string{"first", "second", "third", "fourth"}[:others+1]
				for i, name := range names {
					status := s.rotate(t.Context(), s, name, uint64(2+i))
					require.Equal(t, reconcile.PhaseSuccessful, status.Phase, status.Conditions)
				}
				changes := s.instance.StandIn().PasswordChanges("app")
				close(sleeper.awake)
				require.Equal(t, reconcile.PhaseSuccessful, (<-ended).Phase)
				require.Equal(t, changes, s.instance.StandIn().PasswordChanges("app"), "the sleeper changed a password")
				require.True(t, s.opens(t))
			})
		}
	}
}

// A rotation that fails before it has set anything leaves the login's hash as the sleeper knows it. What it sets then is
// in the keeper, and the patrol puts right what everybody reads.
func TestWhatASleeperSetsAfterFailedRotationsIsInTheKeeper(t *testing.T) {
	s := standing(t, mssqltest.FlavourSQLServer, true, mssqltest.LoginOptions{})
	s.rotate(t.Context(), s, "before", 9)
	sleeper := &drowsy{Servers: s, asleep: make(chan struct{}), awake: make(chan struct{})}
	ended := make(chan reconcile.Status)
	go func() { ended <- s.rotate(t.Context(), sleeper, "first", 1) }()
	<-sleeper.asleep
	s.instance.StandIn().SetFaults(mssqltest.Faults{Statements: []mssqltest.StatementFault{{Kind: "ALTER LOGIN", Error: 33062}}})
	for i, name := range []string{"first", "second", "third"} {
		require.Equal(t, reconcile.PhaseFailed, s.rotate(t.Context(), s, name, uint64(2+i)).Phase)
	}
	s.instance.StandIn().SetFaults(mssqltest.Faults{})
	close(sleeper.awake)
	require.Equal(t, reconcile.PhaseFailed, (<-ended).Phase)
	require.False(t, s.opens(t), "the sleeper has set what it was about to")
	require.Equal(t, "id of first", s.world.value("db-auth-keeper", "dropped-3.rotation-id"))
	replicas, err := s.Replicas(t.Context(), reconcile.Target{})
	require.NoError(t, err)
	session, err := mssql.Open(t.Context(), replicas[0].Endpoint, credential.Credential{
		Username: "app", Password: s.world.secrets["db-auth-keeper"].Data["dropped-3.password"],
	})
	require.NoError(t, err, "no key of the keeper opens the server")
	session.Close()

	status, err := s.engine(s, 7).Patrol(t.Context(), reconcile.Status{Phase: reconcile.PhaseFailed, Request: reconcile.Request{
		Kind: manifest.KindRequest, Namespace: "demo", Name: "third", ID: "id of third", Database: "db",
	}}, true)
	require.NoError(t, err)
	require.True(t, s.opens(t), status.Conditions)
}
