package reconcile_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

// needy are pods that do not start without the auth Secret, which somebody deletes right after the first eviction.
type needy struct {
	*incarnation
	waiting bool // a pod waits for the Secret
	deleted int  // how often the Secret still is deleted
}

func (n *needy) Evict(ctx context.Context, replica reconcile.Replica) error {
	if err := n.incarnation.Evict(ctx, replica); err != nil {
		return err
	}
	n.remove()
	return nil
}

// remove deletes the auth Secret.
func (n *needy) remove() {
	if n.deleted > 0 {
		n.deleted--
		delete(n.world.secrets, "db-auth")
		n.waiting = true
	}
}

func (n *needy) Replicas(ctx context.Context, target reconcile.Target) ([]reconcile.Replica, error) {
	replicas, err := n.incarnation.Replicas(ctx, target)
	if _, there := n.world.secrets["db-auth"]; there && n.waiting {
		n.waiting = false
		n.world.servers[0].podEnv = n.world.value("db-auth", "password")
	}
	for i := range replicas {
		if n.waiting {
			replicas[i].Ready, replicas[i].Endpoint.Address = false, ""
		}
	}
	return replicas, err
}

func (n *needy) CreateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	created, err := n.incarnation.CreateSecret(ctx, s)
	if s.Name == "db-auth" {
		n.remove()
	}
	return created, err
}

func (n *needy) rotate(t *testing.T, m mode) reconcile.Status {
	return engineOn(n.incarnation, 1, func(*incarnation) reconcile.Cluster { return n }).Rotate(t.Context(), job(m))
}

func TestASecretThatIsDeletedBetweenAnEvictionAndTheNextStartIsPublishedBeforeThePodIsWaitedFor(t *testing.T) {
	for _, m := range []mode{{credential: "generated", replicas: 1}, {credential: "supplied", replicas: 1}} {
		world := newSimulation(m)
		n := &needy{incarnation: &incarnation{world: world, at: schedule{}.at, cancel: func() {}}, deleted: 1}
		status := n.rotate(t, m)
		require.Equal(t, reconcile.PhaseSuccessful, status.Phase, status.Conditions)
		require.Equal(t, world.servers[0].logins["sa"], world.value("db-auth", "password"))
		require.Equal(t, world.servers[0].podEnv, world.value("db-auth", "password"))
		require.Less(t, world.calls, 120, "nothing was waited for")
		require.Equal(t, 1, world.servers[0].pod, "and no pod was restarted a second time")
		require.Empty(t, world.violations)
	}
}

func TestWhoeverDeletesAPublishedSecretAgainAndAgainIsNotFoughtWith(t *testing.T) {
	m := mode{credential: "generated", replicas: 1}
	world := newSimulation(m)
	n := &needy{incarnation: &incarnation{world: world, at: schedule{}.at, cancel: func() {}}, deleted: 1000}
	status := n.rotate(t, m)
	require.Equal(t, reconcile.PhaseFailed, status.Phase)
	require.Equal(t, reconcile.ReasonAuthSecretOverwritten, status.Conditions[len(status.Conditions)-1].Reason, status.Conditions)
	require.GreaterOrEqual(t, n.deleted, 995, "published a few times and no more")
	require.Empty(t, world.violations)
	require.Empty(t, world.paused)
}

// rotated is a world after a rotation that has succeeded.
func rotated(t *testing.T, m mode) (*simulation, *incarnation) {
	t.Helper()
	world := newSimulation(m)
	i := &incarnation{world: world, at: schedule{}.at, cancel: func() {}}
	status := engineOn(i, 1, nil).Rotate(t.Context(), job(m))
	require.Equal(t, reconcile.PhaseSuccessful, status.Phase, status.Conditions)
	return world, i
}

// rotateAgain serves another request.
func rotateAgain(t *testing.T, i *incarnation, m mode) reconcile.Status {
	next := job(m)
	next.Status.Request.ID, next.Status.Request.Name, next.Status.Request.SecretRef = "rotation-2", "r2", ""
	return engineOn(i, 2, nil).Rotate(t.Context(), next)
}

func TestASecretThatWasDeletedBeforeARotationIsRestoredFromTheKeeper(t *testing.T) {
	for _, m := range modes {
		if m.flavour.hopeless() {
			continue
		}
		t.Run(m.String(), func(t *testing.T) {
			world, i := rotated(t, m)
			before := world.secrets["db-auth"]
			delete(world.secrets, "db-auth")
			restored := ""
			world.watch = func(reconcile.Secret) {
				if restored == "" {
					restored = world.value("db-auth", "password")
				}
			}
			world.violations = nil
			status := rotateAgain(t, i, m)
			require.Equal(t, reconcile.PhaseSuccessful, status.Phase, status.Conditions)
			require.Equal(t, before.Data["password"].Reveal(), restored, "what clients had read was there before anything was staged")
			require.True(t, world.opens())
			require.Zero(t, world.servers[0].failedLogins)
		})
	}
}

func TestASecretIsNotRestoredWithWhatTheServersRefuse(t *testing.T) {
	m := mode{credential: "generated", replicas: 1}
	world, i := rotated(t, m)
	delete(world.secrets, "db-auth")
	world.servers[0].logins["sa"] = "Somebody-Elses-1"
	status := rotateAgain(t, i, m)
	require.Equal(t, reconcile.PhaseFailed, status.Phase, status.Conditions)
	require.NotContains(t, world.secrets, "db-auth")
	require.Equal(t, 1, world.servers[0].failedLogins)
}

// overwrite writes a made-up credential into the auth Secret, as an operator does that finds none.
func (s *simulation) overwrite(password string) {
	secret := s.secrets["db-auth"]
	secret.Data = map[string]credential.Password{"username": secret.Data["username"], "password": credential.NewPassword(password)}
	s.put(secret)
}

func TestAPatrolKeepsPublishedWhatWasPublishedWhileSomethingIsStaged(t *testing.T) {
	m := mode{credential: "generated", replicas: 1}
	world := newSimulation(m)
	ctx, cancel := context.WithCancel(t.Context())
	i := &incarnation{world: world, cancel: cancel}
	i.at = func(int) mishap { // the rotation publishes, and dies right after
		if world.value("db-auth", "password") != initialPassword {
			return dieBefore
		}
		return nothing
	}
	status := engineOn(i, 1, nil).Rotate(ctx, job(m))
	require.False(t, status.Phase.Finished())
	published := world.value("db-auth", "password")
	require.Equal(t, world.value("db-auth-keeper", "next.password"), published)

	patrols := engineOn(&incarnation{world: world, at: schedule{}.at, cancel: func() {}}, 0, nil)
	world.overwrite("Made-Up-By-KubeDB-1")
	found, err := patrols.Patrol(t.Context(), status, true)
	require.NoError(t, err)
	require.True(t, found.Has(reconcile.TypeOverwritten))
	require.Equal(t, published, world.value("db-auth", "password"))

	world.overwrite("Made-Up-By-KubeDB-2")
	_, err = patrols.Patrol(t.Context(), status, true)
	require.NoError(t, err)
	require.Equal(t, "Made-Up-By-KubeDB-2", world.value("db-auth", "password"), "once, and no more")
}

func TestAPatrolBringsASecretBackThatWasDeletedAtRest(t *testing.T) {
	for _, m := range modes {
		if m.flavour.hopeless() {
			continue // there is nothing that gitrota has published
		}
		world, i := rotated(t, m)
		before := world.value("db-auth", "password")
		delete(world.secrets, "db-auth")
		status := job(m).Status
		status.Phase = reconcile.PhaseSuccessful
		_, err := engineOn(i, 0, nil).Patrol(t.Context(), status, false)
		require.NoError(t, err)
		require.Equal(t, before, world.value("db-auth", "password"), m)
	}
}

func TestAPatrolGivesAServerThatHasAnOlderPasswordTheLiveOne(t *testing.T) {
	m := mode{credential: "pair", replicas: 3} // an administrator changes the logins
	world, i := rotated(t, m)
	login := world.value("db-auth", "username")
	world.servers[1].logins[login] = initialPassword
	keeper := world.secrets["db-auth-keeper"]
	keeper.Data["dropped.username"], keeper.Data["dropped.password"] = credential.NewPassword(login), credential.NewPassword(initialPassword)
	world.put(keeper)
	status := job(m).Status
	status.Phase = reconcile.PhaseSuccessful
	patrol := func(ask bool) bool {
		found, err := engineOn(i, 0, nil).Patrol(t.Context(), status, ask)
		require.NoError(t, err)
		status = found
		return found.Has(reconcile.TypeDrifted)
	}
	require.False(t, patrol(false), "it was not told to ask")
	require.True(t, patrol(true))
	require.True(t, world.opens(), status.Conditions)
	require.False(t, patrol(true))

	world.servers[2].logins[login] = "Somebody-Elses-1"
	require.True(t, patrol(true))
	require.True(t, patrol(true))
	require.Equal(t, "Somebody-Elses-1", world.servers[2].logins[login], "what somebody has set by hand is left alone")
	require.Zero(t, world.servers[2].failedLogins)
}

func TestAPatrolAsksALoginThatChangesItselfOnceAndNotAgain(t *testing.T) {
	m := mode{credential: "generated", replicas: 1}
	world, i := rotated(t, m)
	world.servers[0].logins["sa"] = "Somebody-Elses-1"
	status := job(m).Status
	status.Phase = reconcile.PhaseSuccessful
	for range 5 {
		found, err := engineOn(i, 0, nil).Patrol(t.Context(), status, true)
		require.NoError(t, err)
		require.True(t, found.Has(reconcile.TypeDrifted))
		status = found
	}
	require.Equal(t, 1, world.servers[0].failedLogins)
}

func TestASecretThatIsDeletedAtRestIsPublishedForThePodThatWaitsForIt(t *testing.T) {
	for _, m := range []mode{{credential: "generated", replicas: 1}, {credential: "generated", replicas: 3}} {
		world, i := rotated(t, m)
		delete(world.secrets, "db-auth")
		world.servers[0].waits = true
		_, err := engineOn(i, 3, nil).Patrol(t.Context(), job(m).Status, false)
		require.NoError(t, err)
		require.Equal(t, world.value("db-auth-keeper", "live.password"), world.value("db-auth", "password"))
		require.Zero(t, world.servers[0].failedLogins)
		require.Empty(t, world.violations)
	}
}
