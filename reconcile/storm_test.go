package reconcile_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/policies/pace"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// fleet is a cluster with a database in each of many namespaces. Each is simulated by itself, and only one rotation works
// on it.
type fleet struct {
	databases map[string]*incarnation // by namespace

	mu           sync.Mutex
	now          time.Time
	paused, peak int // databases that rotate at once
}

func newFleet(size int) *fleet {
	f := &fleet{databases: map[string]*incarnation{}}
	for i := range size {
		world := newSimulation(mode{credential: "generated", replicas: 1})
		world.unasked = true
		f.databases[fmt.Sprintf("team-%03d", i)] = &incarnation{world: world, at: schedule{}.at, cancel: func() {}}
	}
	f.now = f.databases["team-000"].world.now
	return f
}

func (f *fleet) Target(ctx context.Context, r reconcile.Request) (reconcile.Target, error) {
	target, err := f.databases[r.Namespace].Target(ctx, r)
	target.Namespace = r.Namespace
	return target, err
}

func (f *fleet) Targets(ctx context.Context) ([]reconcile.Target, error) {
	var targets []reconcile.Target
	for namespace := range f.databases {
		target, err := f.Target(ctx, reconcile.Request{Namespace: namespace})
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	return targets, nil
}

func (f *fleet) Pause(ctx context.Context, target reconcile.Target, reason string) error {
	f.mu.Lock()
	f.paused++
	f.peak = max(f.peak, f.paused)
	f.mu.Unlock()
	return f.databases[target.Namespace].Pause(ctx, target, reason)
}

func (f *fleet) Resume(ctx context.Context, target reconcile.Target, reason string) error {
	f.mu.Lock()
	f.paused--
	f.mu.Unlock()
	return f.databases[target.Namespace].Resume(ctx, target, reason)
}

func (f *fleet) Replicas(ctx context.Context, target reconcile.Target) ([]reconcile.Replica, error) {
	replicas, err := f.databases[target.Namespace].Replicas(ctx, target)
	for i := range replicas {
		replicas[i].Namespace = target.Namespace
		replicas[i].Endpoint.Address = target.Namespace + ".example.com:1433"
	}
	return replicas, err
}

func (f *fleet) Evict(ctx context.Context, replica reconcile.Replica) error {
	return f.databases[replica.Namespace].Evict(ctx, replica)
}

func (f *fleet) Secret(ctx context.Context, namespace, name string) (reconcile.Secret, error) {
	secret, err := f.databases[namespace].Secret(ctx, namespace, name)
	secret.Namespace = namespace
	return secret, err
}

func (f *fleet) CreateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return f.databases[s.Namespace].CreateSecret(ctx, s)
}

func (f *fleet) UpdateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return f.databases[s.Namespace].UpdateSecret(ctx, s)
}

func (f *fleet) Missing(context.Context, reconcile.Target, bool) ([]string, error) { return nil, nil }

func (f *fleet) Consumers(context.Context, reconcile.Target) ([]reconcile.Consumer, error) {
	return nil, nil
}

func (f *fleet) RestartConsumer(context.Context, reconcile.Consumer, string) error { return nil }

func (f *fleet) Event(context.Context, reconcile.Target, string, string) {}

func (f *fleet) Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	namespace, _, _ := strings.Cut(endpoint.Address, ".")
	return f.databases[namespace].Open(ctx, endpoint, login)
}

func (f *fleet) OpenWithNewPassword(context.Context, mssql.Endpoint, credential.Credential, credential.Password) (reconcile.Session, error) {
	return nil, errUnreachable
}

func (f *fleet) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fleet) Sleep(_ context.Context, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func TestAStormOfRequestsIsPacedAndSaysSo(t *testing.T) {
	const requests, atOnce = 500, 10
	s, f := newStage(t), newFleet(requests)
	files := map[string]string{}
	for namespace := range f.databases {
		files["rotations/"+namespace+".yaml"] = asks("r", namespace, db)
	}
	s.repo.Commit(files, "Rotate everything")
	c := s.controller(reconcile.Options{}, schedule{}.at)
	c.Engine.Cluster, c.Engine.Servers, c.Engine.Clock, c.Engine.Random = f, f, f, rand.Reader

	s.round(c)
	last, err := reconcile.ParseStatus([]byte(s.repo.Show("status/team-499/r.yaml")))
	require.NoError(t, err)
	require.Equal(t, reconcile.PhasePending, last.Phase)
	require.Equal(t, string(pace.AtOverallLimit), last.Conditions[0].Reason)
	require.Equal(t, "rotations/team-499.yaml:1: waits its turn in a storm of more than 100 rotations: at most 10 rotations run at once (guardrails)", last.Conditions[0].Message)
	require.Equal(t, requests-atOnce, c.State().Waiting)
	rounds := 1
	for ; c.State().Waiting > 0 && rounds < requests; rounds++ {
		s.round(c)
	}
	require.Equal(t, requests/atOnce, rounds)
	require.Equal(t, map[reconcile.Phase]int{reconcile.PhaseSuccessful: requests}, c.State().Ended)
	require.LessOrEqual(t, f.peak, atOnce)
	for namespace, database := range f.databases {
		require.Len(t, database.world.servers[0].given["sa"], 1, namespace)
		require.NotEqual(t, initialPassword, database.world.value("db-auth", "password"), namespace)
		require.Empty(t, database.world.violations, namespace)
	}

	s.repo.Pull()
	require.Len(t, strings.Fields(s.repo.Git("log", "--author=gitrota", "--format=%H")), rounds, "a commit for each round")
	said := map[string]int{}
	for _, file := range strings.Fields(s.repo.Git("log", "--author=gitrota", "--format=", "--name-only")) {
		said[file]++
	}
	for namespace := range f.databases {
		require.LessOrEqual(t, said["status/"+namespace+"/r.yaml"], 3, "that it waits in a storm, that the storm is over, and how it ended")
	}
	require.Equal(t, 2, said["status/team-200/r.yaml"], "for most, the storm lasts until it is their turn")
}
