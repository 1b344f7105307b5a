package reconcile_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// inert is a world in which one kind of act succeeds and does nothing.
type inert struct {
	*incarnation
	act      string
	alters   int
	consumer reconcile.Consumer
}

// inertActs are all that an engine does to the outside. An update is of the auth Secret or of the keeper.
var inertActs = []string{"create keeper", "update keeper", "update auth", "pause", "resume", "evict", "restart consumer", "alter", "none"}

func (w *inert) does(act string) bool { return w.act == act }

func (w *inert) CreateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	if w.does("create keeper") {
		s.UID, s.ResourceVersion = "made up", "made up"
		return call(w.incarnation, w.act, errAPI, func() (reconcile.Secret, error) { return s, nil })
	}
	return w.incarnation.CreateSecret(ctx, s)
}

func (w *inert) UpdateSecret(ctx context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	keeper := strings.HasSuffix(s.Name, reconcile.KeeperSuffix)
	if keeper && w.does("update keeper") || !keeper && w.does("update auth") {
		return call(w.incarnation, w.act, errAPI, func() (reconcile.Secret, error) { return s, nil })
	}
	return w.incarnation.UpdateSecret(ctx, s)
}

func (w *inert) Pause(ctx context.Context, target reconcile.Target, reason string) error {
	if w.does("pause") {
		return w.nothing()
	}
	return w.incarnation.Pause(ctx, target, reason)
}

func (w *inert) Resume(ctx context.Context, target reconcile.Target, reason string) error {
	if w.does("resume") {
		return w.nothing()
	}
	return w.incarnation.Resume(ctx, target, reason)
}

func (w *inert) Evict(ctx context.Context, replica reconcile.Replica) error {
	if w.does("evict") {
		return w.nothing()
	}
	return w.incarnation.Evict(ctx, replica)
}

func (w *inert) Consumers(context.Context, reconcile.Target) ([]reconcile.Consumer, error) {
	return []reconcile.Consumer{w.consumer}, w.nothing()
}

func (w *inert) RestartConsumer(_ context.Context, _ reconcile.Consumer, id string) error {
	if !w.does("restart consumer") {
		w.consumer.RotationID = id
	}
	return w.nothing()
}

func (w *inert) nothing() error {
	_, err := call(w.incarnation, w.act, errAPI, func() (any, error) { return nil, nil })
	return err
}

func (w *inert) Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	session, err := w.incarnation.Open(ctx, endpoint, login)
	if err != nil {
		return nil, err
	}
	return &inertSession{session, w}, nil
}

func (w *inert) OpenWithNewPassword(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential, next credential.Password) (reconcile.Session, error) {
	w.alters++
	return w.incarnation.OpenWithNewPassword(ctx, endpoint, login, next)
}

type inertSession struct {
	reconcile.Session
	*inert
}

func (s *inertSession) Close() { s.Session.Close() }

func (s *inertSession) SetPassword(ctx context.Context, change mssql.Change) error {
	s.alters++
	if s.does("alter") {
		return s.nothing()
	}
	return s.Session.SetPassword(ctx, change)
}

// TestAStepThatChangesNothingIsNotRepeatedWithoutEnd lets every act do nothing at all, on every kind of server.
func TestAStepThatChangesNothingIsNotRepeatedWithoutEnd(t *testing.T) {
	kinds := slices.Concat(modes, []mode{
		{credential: "pair", replicas: 1, flavour: flavour{name: "foreign", blind: true, newOnly: true}},
		{credential: "pair", replicas: 1, flavour: flavour{name: "blind", blind: true}},
		{credential: "pair", replicas: 1, flavour: flavour{name: "blind and unsure", blind: true, unsure: true}},
		{credential: "generated", replicas: 1, flavour: flavour{name: "fickle", fickle: true}},
		{credential: "generated", replicas: 1, flavour: flavour{name: "fickle and blind", fickle: true, blind: true}},
		{credential: "pair", replicas: 1, flavour: flavour{name: "fickle and blind", fickle: true, blind: true}},
		{credential: "generated", replicas: 1, flavour: flavour{name: "forgetful", forgetful: true}},
		{credential: "generated", replicas: 1, flavour: flavour{name: "forgetful and blind", forgetful: true, blind: true}},
		{credential: "generated", replicas: 1, flavour: flavour{name: "balanced", balanced: true}},
		{credential: "generated", replicas: 1, flavour: flavour{name: "balanced and blind", balanced: true, blind: true}},
	})
	for _, m := range kinds {
		if m.again {
			continue
		}
		for _, act := range inertActs {
			t.Run(fmt.Sprintf("%s, inert %s", m, act), func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w := &inert{act: act, consumer: reconcile.Consumer{Kind: "Deployment", Name: "shop", Wanted: 1, Settled: true},
					incarnation: &incarnation{world: newSimulation(m), at: schedule{}.at, cancel: cancel}}
				engine := engineOn(w.incarnation, 1, func(*incarnation) reconcile.Cluster { return w })
				engine.Servers = w
				j := job(m)
				j.Status.Request.Consumers = &manifest.Consumers{MaxConcurrent: 1}
				status := engine.Rotate(ctx, j)
				require.True(t, status.Phase.Finished(), "it never ends: %d calls, %d ALTERs", w.world.calls, w.alters)
				require.Less(t, w.world.calls, 600)
				retries := status.Request.MaxRetries
				require.LessOrEqual(t, w.alters, 3*len(w.world.stores())*(1+retries), "there, back, and of the other login of a pair")
				if act == "none" {
					require.Equal(t, m.flavour.hopeless(), status.Phase != reconcile.PhaseSuccessful, status.Conditions)
				}
			})
		}
	}
}
