package reconcile_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// balancer is one address that leads to several servers, to the next one with each session.
type balancer struct {
	servers []*stood
	opened  int
}

func (b *balancer) Open(ctx context.Context, _ mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	server := b.servers[b.opened%len(b.servers)]
	b.opened++
	replicas, err := server.Replicas(ctx, reconcile.Target{})
	if err != nil {
		return nil, err
	}
	return server.Open(ctx, replicas[0].Endpoint, login)
}

func (b *balancer) OpenWithNewPassword(context.Context, mssql.Endpoint, credential.Credential, credential.Password) (reconcile.Session, error) {
	return nil, errUnreachable
}

func TestAnAddressThatLeadsToTwoServersIsFoundOut(t *testing.T) {
	for _, tc := range []struct {
		name    string
		flavour mssqltest.Flavour
		options mssqltest.LoginOptions
	}{
		{"that compare passwords", mssqltest.FlavourSQLServer, mssqltest.LoginOptions{Roles: []string{"sysadmin"}}},
		{"that show no hashes", mssqltest.FlavourSQLServer, mssqltest.LoginOptions{}},
		{"of Azure SQL Database", mssqltest.FlavourAzureSQLDatabase, mssqltest.LoginOptions{}},
		{"that only resemble SQL Server", mssqltest.FlavourForeign, mssqltest.LoginOptions{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first := standing(t, tc.flavour, false, tc.options)
			second := standing(t, tc.flavour, false, tc.options)
			b := &balancer{servers: []*stood{first, second}}
			status := first.rotate(t.Context(), b, "r", 1)
			require.Equal(t, reconcile.PhaseFailed, status.Phase, status.Conditions)
			require.Less(t, b.opened, 100)
			changes := first.instance.StandIn().PasswordChanges("app") + second.instance.StandIn().PasswordChanges("app")
			require.LessOrEqual(t, changes, 6)
			second.world = first.world
			for _, server := range b.servers {
				_, refused := server.instance.StandIn().Logins("app")
				require.LessOrEqual(t, refused, 1)
			}
			require.True(t, first.opens(t) && second.opens(t) || status.Has(reconcile.TypeRecoveryRequired), status.Conditions)
			t.Log(status.Conditions[len(status.Conditions)-1], changes, b.opened)
		})
	}
}

// forgetful is a server of which each session has a mind of its own.
type forgetful struct {
	incarnation *incarnation
	alters      int
}

type mind struct {
	reconcile.Session
	server *forgetful
	login  string
	has    string
}

func (f *forgetful) Open(_ context.Context, _ mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	return call(f.incarnation, "Open", error(errUnreachable), func() (reconcile.Session, error) {
		return &mind{server: f, login: login.Username, has: login.Password.Reveal()}, nil
	})
}

func (f *forgetful) OpenWithNewPassword(context.Context, mssql.Endpoint, credential.Credential, credential.Password) (reconcile.Session, error) {
	return nil, errUnreachable
}

func (m *mind) Facts(context.Context, string) (mssql.Facts, error) {
	return mssql.Facts{Server: "forgetful", Compares: true, Resets: true}, nil
}

func (m *mind) Accepts(_ context.Context, _ string, passwords ...credential.Password) (accepted []bool, hash mssql.Hash, err error) {
	for _, p := range passwords {
		accepted = append(accepted, p.Reveal() == m.has)
	}
	return accepted, mssql.NewHash([]byte(m.has)), nil
}

func (m *mind) SetPassword(_ context.Context, change mssql.Change) error {
	m.server.alters++
	m.has = change.Next.Reveal()
	return nil
}

func (m *mind) Group(context.Context) (mssql.Group, error)    { return mssql.Group{}, nil }
func (m *mind) Sessions(context.Context, string) (int, error) { return 0, nil }
func (m *mind) EndOlder(context.Context) (int, error)         { return 0, nil }
func (m *mind) Close()                                        {}

func TestAServerThatForgetsIsFoundOut(t *testing.T) {
	m := mode{credential: "generated", replicas: 1}
	i := &incarnation{world: newSimulation(m), at: schedule{}.at, cancel: func() {}}
	server := &forgetful{incarnation: i}
	engine := engineOn(i, 1, nil)
	engine.Servers = server
	status := engine.Rotate(t.Context(), job(m))
	require.Equal(t, reconcile.PhaseFailed, status.Phase)
	require.LessOrEqual(t, server.alters, 2, "once, and as often again as the request says")
	last := status.Conditions[len(status.Conditions)-1]
	require.Equal(t, reconcile.ReasonNoProgress, last.Reason, last)
	require.Contains(t, last.Message, `the step "apply db-0" succeeded 2 times and left everything as it was`)
}
