package reconcile_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

func TestTheOracleNoticesWhatItIsThereFor(t *testing.T) {
	// noticed plays single faults until the oracle has counted something.
	noticed := func(m mode, counted func(tally) int, alter func(*incarnation) reconcile.Cluster) bool {
		var total tally
		for c := 1; c <= callsOf(m); c++ {
			for fault := dieBefore; fault < singles; fault++ {
				world, status, _ := play(m, schedule{c: fault}, alter)
				total.judge(world, status, 1)
				if counted(total) > 0 {
					return true
				}
			}
		}
		return false
	}
	lost := func(t tally) int { return t.lost }
	leftPaused := func(t tally) int { return t.leftPaused }
	for _, m := range []mode{{credential: "generated", replicas: 1}, {credential: "generated", replicas: 3}} {
		t.Run("the change comes before the staging, "+m.String(), func(t *testing.T) {
			require.True(t, noticed(m, lost, func(i *incarnation) reconcile.Cluster { return &lateKeeper{incarnation: i} }))
		})
		t.Run("a pause is not lifted, "+m.String(), func(t *testing.T) {
			require.True(t, noticed(m, leftPaused, func(i *incarnation) reconcile.Cluster { return noResume{i} }))
		})
		t.Run("writes are not conditional, "+m.String(), func(t *testing.T) {
			bad := 0
			for n := uint64(0); n < 5000 && bad == 0; n++ {
				world, statuses := playTwo(m, n, func(i *incarnation) reconcile.Cluster { return unconditional{i} })
				var total tally
				for _, status := range statuses {
					total.judge(world, status, 1)
				}
				bad += total.bad()
			}
			require.NotZero(t, bad)
		})
	}
}

func TestTheOracleNoticesAChangeOfASleeper(t *testing.T) {
	m := mode{credential: "generated", replicas: 1, plain: true}
	var total tally
	for c := 1; c <= callsOf(m); c++ {
		world, status, _ := play(m, schedule{c: stopped(1, false)}, func(i *incarnation) reconcile.Cluster { return unguarded{i} })
		total.judge(world, status, 2)
	}
	require.NotZero(t, total.lost)
}

// TestTheOracleNoticesWhatDoesNotEnd has evictions change nothing, and a request that does not bound how often.
func TestTheOracleNoticesWhatDoesNotEnd(t *testing.T) {
	m := mode{credential: "generated", replicas: 1}
	j := job(m)
	j.Status.Request.MaxRetries = 1 << 30
	world := begin(m)
	status := (&incarnation{world: world, at: schedule{}.at}).serve(1, j, func(i *incarnation) reconcile.Cluster { return noEvict{i} })
	var total tally
	total.judge(world, status, 1)
	require.NotZero(t, total.unended)
}

// noEvict says that it evicts pods, and does not.
type noEvict struct{ *incarnation }

func (n noEvict) Evict(context.Context, reconcile.Replica) error {
	_, err := call(n.incarnation, "Evict", errAPI, func() (any, error) { return nil, nil })
	return err
}

// TestTheOracleNoticesAnEndThatNoKeeperHas tells an end as it was told once, where the world could not be read as a whole.
func TestTheOracleNoticesAnEndThatNoKeeperHas(t *testing.T) {
	m := mode{credential: "generated", replicas: 1}
	world := begin(m)
	died := live(world, m, 1, func(int) mishap {
		if world.staged["rotation-1"] != "" {
			return dieBefore
		}
		return nothing
	}, nil)
	require.False(t, died.Phase.Finished())
	died.Phase = reconcile.PhaseFailed
	begun := world.calls
	status := live(world, m, 2, func(call int) mishap {
		if call == begun+3 {
			world.tell(died)
		}
		return nothing
	}, nil)
	var total tally
	total.judge(world, status, 1)
	require.NotZero(t, total.rewritten)
}

// unguarded changes passwords whatever they are by then.
type unguarded struct{ *incarnation }

type unguardedSession struct{ reconcile.Session }

func (u unguarded) Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	session, err := u.incarnation.Open(ctx, endpoint, login)
	if err != nil {
		return nil, err
	}
	return unguardedSession{session}, nil
}

func (unguardedSession) EndOlder(context.Context) (int, error) { return 0, nil }

func (u unguardedSession) SetPassword(ctx context.Context, change mssql.Change) error {
	return u.Session.SetPassword(ctx, mssql.Change{Login: change.Login, Next: change.Next})
}

// lateKeeper keeps the staged credential in memory until the next write.
type lateKeeper struct {
	*incarnation
	held *reconcile.Secret
}

func (l *lateKeeper) CreateSecret(_ context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	s.UID, s.ResourceVersion = "held", "held"
	l.held = &s
	return s, nil
}

func (l *lateKeeper) Secret(ctx context.Context, namespace, name string) (reconcile.Secret, error) {
	if l.held != nil && name == l.held.Name {
		return *l.held, nil
	}
	return l.incarnation.Secret(ctx, namespace, name)
}

func (l *lateKeeper) UpdateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	if l.held != nil {
		held := *l.held
		held.UID, held.ResourceVersion = "", ""
		l.held = nil
		if _, err := l.incarnation.CreateSecret(ctx, held); err != nil {
			return s, err
		}
		if s.UID == "held" {
			return s, reconcile.ErrConflict
		}
	}
	return l.incarnation.UpdateSecret(ctx, s)
}

type noResume struct{ *incarnation }

func (noResume) Resume(context.Context, reconcile.Target, string) error { return nil }

// unconditional overwrites whatever is there.
type unconditional struct{ *incarnation }

func (u unconditional) CreateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return u.UpdateSecret(ctx, s)
}

func (u unconditional) UpdateSecret(_ context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return call(u.incarnation, "UpdateSecret", errAPI, func() (reconcile.Secret, error) { return u.world.put(s), nil })
}
