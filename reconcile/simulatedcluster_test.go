package reconcile_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// The cluster, as an incarnation reaches it.

func (i *incarnation) Target(context.Context, reconcile.Request) (reconcile.Target, error) {
	return call(i, "Target", errAPI, func() (reconcile.Target, error) { return i.world.target(), nil })
}

func (s *simulation) target() reconcile.Target {
	keys := func(name string) manifest.SecretKeys {
		return manifest.SecretKeys{Name: name, UsernameKey: "username", PasswordKey: "password"}
	}
	target := reconcile.Target{
		Kind: manifest.KindMSSQLServer, Namespace: "demo", Name: "db", UID: "db", Version: fmt.Sprint(s.pauses), Phase: "Ready", Replicas: s.mode.replicas,
		AuthSecret: keys("db-auth"), Paused: s.paused != "", PauseReason: s.paused,
		Created: s.created, RotateAfter: s.rotateAfter, Labels: s.labels,
	}
	if s.mode.replicas > 1 {
		target.Mode, target.Group = "AvailabilityGroup", true
	}
	if s.mode.kubedb() {
		return target
	}
	target.Kind, target.Phase, target.Mode = manifest.KindServer, "", ""
	if s.mode.pair() || s.mode.flavour.admin {
		admin := keys("db-admin")
		target.Admin = &admin
	}
	if s.mode.pair() {
		target.LoginPair, target.GracePeriod = []string{"app_a", "app_b"}, time.Minute
	}
	return target
}

func (i *incarnation) Targets(ctx context.Context) ([]reconcile.Target, error) {
	target, err := i.Target(ctx, reconcile.Request{})
	if err != nil || !i.world.mode.kubedb() {
		return nil, err // a server that only Git tells of
	}
	return []reconcile.Target{target}, nil
}

func (i *incarnation) Pause(_ context.Context, target reconcile.Target, reason string) error {
	_, err := call(i, "Pause", errAPI, func() (any, error) {
		if target.Version != i.world.target().Version {
			return nil, reconcile.ErrConflict
		}
		if !i.world.mode.kubedb() {
			i.world.violate("a server that KubeDB does not know was paused")
		}
		if i.world.paused == "" {
			i.world.paused = reason
			i.world.pauses++
		}
		return nil, nil
	})
	return err
}

func (i *incarnation) Resume(_ context.Context, _ reconcile.Target, reason string) error {
	_, err := call(i, "Resume", errAPI, func() (any, error) {
		if i.world.paused == reason {
			i.world.paused = ""
			i.world.pauses++
		}
		return nil, nil
	})
	return err
}

func (i *incarnation) Replicas(context.Context, reconcile.Target) ([]reconcile.Replica, error) {
	return call(i, "Replicas", errAPI, func() ([]reconcile.Replica, error) {
		var list []reconcile.Replica
		for n, server := range i.world.servers[:i.world.mode.replicas] {
			r := reconcile.Replica{
				Namespace: "demo", Name: server.name, UID: fmt.Sprint(server.name, "/", server.pod), Pod: true, Primary: n == i.world.primary,
				Endpoint: mssql.Endpoint{Name: server.name, Address: server.name + ":1433"}, Ready: i.world.ready(server),
			}
			if i.world.mode.kubedb() {
				r.PasswordFrom = []string{"db-auth"}
			}
			list = append(list, r)
		}
		return list, nil
	})
}

func (i *incarnation) Evict(_ context.Context, replica reconcile.Replica) error {
	_, err := call(i, "Evict", errAPI, func() (any, error) {
		for _, server := range i.world.servers {
			if replica.UID == fmt.Sprint(server.name, "/", server.pod) {
				i.world.replacePod(server)
			}
		}
		return nil, nil
	})
	return err
}

func (i *incarnation) Secret(_ context.Context, _, name string) (reconcile.Secret, error) {
	return call(i, "Secret "+name, errAPI, func() (reconcile.Secret, error) {
		secret, ok := i.world.secrets[name]
		if !ok {
			return reconcile.Secret{}, reconcile.ErrNotFound
		}
		secret.Data = maps.Clone(secret.Data)
		return secret, nil
	})
}

func (i *incarnation) CreateSecret(_ context.Context, secret reconcile.Secret) (reconcile.Secret, error) {
	return call(i, "CreateSecret "+secret.Name, errAPI, func() (reconcile.Secret, error) {
		if _, ok := i.world.secrets[secret.Name]; ok {
			return reconcile.Secret{}, reconcile.ErrConflict
		}
		return i.world.put(secret), nil
	})
}

func (i *incarnation) UpdateSecret(_ context.Context, secret reconcile.Secret) (reconcile.Secret, error) {
	return call(i, "UpdateSecret "+secret.Name, errAPI, func() (reconcile.Secret, error) {
		old := i.world.secrets[secret.Name]
		if old.UID != secret.UID || old.ResourceVersion != secret.ResourceVersion {
			return reconcile.Secret{}, reconcile.ErrConflict
		}
		return i.world.put(secret), nil
	})
}

func (i *incarnation) Missing(context.Context, reconcile.Target, bool) ([]string, error) {
	return call(i, "Missing", errAPI, func() ([]string, error) { return nil, nil })
}

func (i *incarnation) Consumers(context.Context, reconcile.Target) ([]reconcile.Consumer, error) {
	return nil, nil
}

func (i *incarnation) RestartConsumer(context.Context, reconcile.Consumer, string) error { return nil }

func (i *incarnation) Event(context.Context, reconcile.Target, string, string) {}

// The time passes in sleeps and calls only.

func (i *incarnation) Now() time.Time { return i.world.now }

func (i *incarnation) Sleep(_ context.Context, d time.Duration) {
	i.world.now = i.world.now.Add(d)
	runtime.Gosched()
}
