package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// simulation is a cluster with one database and its SQL Server, as plain data. It knows the rules of Kubernetes and of
// SQL Server that a rotation rests on, and nothing of the engine. Engines work on it through [incarnation]s, one
// external call at a time, so that a schedule decides what happens at which call.
type simulation struct {
	now     time.Time
	version int
	secrets map[string]reconcile.Secret
	paused  string // the reason; empty: not paused
	pod     int    // counts the pods that the replica has had
	podEnv  string // the password that the pod started with

	password     string   // that the server accepts
	passwords    []string // that it has ever been given, by ALTER LOGIN
	failedLogins int

	calls      int
	violations []string
}

const (
	initialPassword  = "Initial-Password-1"
	suppliedPassword = "Supplied-Password-1"
)

func newSimulation() *simulation {
	s := &simulation{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), secrets: map[string]reconcile.Secret{}, password: initialPassword, podEnv: initialPassword}
	s.put(reconcile.Secret{Namespace: "demo", Name: "db-auth", Type: "kubernetes.io/basic-auth", Data: map[string]credential.Password{
		"username": credential.NewPassword("sa"), "password": credential.NewPassword(initialPassword),
	}})
	return s
}

func (s *simulation) put(secret reconcile.Secret) reconcile.Secret {
	s.version++
	if secret.UID == "" {
		secret.UID = fmt.Sprint("uid-", s.version)
	}
	secret.ResourceVersion = fmt.Sprint(s.version)
	secret.Data = maps.Clone(secret.Data)
	s.secrets[secret.Name] = secret
	return secret
}

func (s *simulation) value(secret, key string) string { return s.secrets[secret].Data[key].Reveal() }

// check is the oracle that watches every call: the password that the server accepts is in the keeper or, as long as
// nobody has changed it, in the auth Secret.
func (s *simulation) check() {
	if len(s.passwords) == 0 {
		return
	}
	for _, key := range []string{"next", "live", "previous"} {
		if s.value("db-auth-keeper", key+".password") == s.password {
			return
		}
	}
	s.violate("lost: no key of the keeper opens the server")
}

func (s *simulation) violate(what string) { s.violations = append(s.violations, what) }

// mishap is what goes wrong at a call.
type mishap int

const (
	nothing    mishap = iota
	dieBefore         // the process is killed before the call leaves it
	dieAfter          // the call has its effect, and the process is killed
	answerLost        // the call has its effect, and an error comes back
	refused           // the call has no effect, and an error comes back
	mishaps
)

// maxCalls is far more than any rotation needs, with every mishap there is.
const maxCalls = 2000

// incarnation is one life of an agent's process, as its engine sees the outside.
type incarnation struct {
	world *simulation
	// at tells what goes wrong at a call of the world, counted from 1.
	at func(call int) mishap
	// turn blocks until it is this incarnation's turn; nil: always.
	turn func()

	cancel context.CancelFunc
	dead   bool
}

var errDead = errors.New("the process is dead")

// call wraps every external call. A dead incarnation has no more effects.
func call[T any](i *incarnation, broken error, do func() (T, error)) (T, error) {
	var none T
	if i.turn != nil {
		i.turn()
	}
	if i.dead {
		return none, errDead
	}
	if i.world.calls++; i.world.calls > maxCalls {
		i.die() // it goes round in circles
		return none, errDead
	}
	i.world.now = i.world.now.Add(time.Millisecond)
	what := i.at(i.world.calls)
	if what == dieBefore {
		i.die()
		return none, errDead
	}
	if what == refused {
		return none, broken
	}
	result, err := do()
	i.world.check()
	switch what {
	case dieAfter:
		i.die()
		return none, errDead
	case answerLost:
		return none, broken
	}
	return result, err
}

func (i *incarnation) die() {
	i.dead = true
	i.cancel()
}

var errAPI = fmt.Errorf("%w: simulated", reconcile.ErrAPIUnavailable)

// The cluster.

func (i *incarnation) Database(context.Context, string, string) (reconcile.Database, error) {
	return call(i, errAPI, func() (reconcile.Database, error) {
		return reconcile.Database{
			Namespace: "demo", Name: "db", UID: "db", Phase: "Ready", Replicas: 1, AuthSecret: "db-auth",
			Paused: i.world.paused != "", PauseReason: i.world.paused,
		}, nil
	})
}

func (i *incarnation) PausedDatabases(ctx context.Context) ([]reconcile.Database, error) {
	db, err := i.Database(ctx, "demo", "db")
	if err != nil || !db.Paused {
		return nil, err
	}
	return []reconcile.Database{db}, nil
}

func (i *incarnation) Pause(_ context.Context, _ reconcile.Database, reason string) error {
	_, err := call(i, errAPI, func() (any, error) {
		if i.world.paused == "" {
			i.world.paused = reason
		}
		return nil, nil
	})
	return err
}

func (i *incarnation) Resume(_ context.Context, _ reconcile.Database, reason string) error {
	_, err := call(i, errAPI, func() (any, error) {
		if i.world.paused == reason {
			i.world.paused = ""
		}
		return nil, nil
	})
	return err
}

func (i *incarnation) Pods(context.Context, reconcile.Database) ([]reconcile.Pod, error) {
	return call(i, errAPI, func() ([]reconcile.Pod, error) {
		return []reconcile.Pod{{
			Namespace: "demo", Name: "db-0", UID: fmt.Sprint("pod-", i.world.pod), Address: "db-0:1433", Ready: true, PasswordFrom: []string{"db-auth"},
		}}, nil
	})
}

func (i *incarnation) Evict(_ context.Context, pod reconcile.Pod) error {
	_, err := call(i, errAPI, func() (any, error) {
		if pod.UID == fmt.Sprint("pod-", i.world.pod) {
			i.world.pod++
			i.world.podEnv = i.world.value("db-auth", "password")
		}
		return nil, nil
	})
	return err
}

func (i *incarnation) Secret(_ context.Context, _, name string) (reconcile.Secret, error) {
	return call(i, errAPI, func() (reconcile.Secret, error) {
		secret, ok := i.world.secrets[name]
		if !ok {
			return reconcile.Secret{}, reconcile.ErrNotFound
		}
		secret.Data = maps.Clone(secret.Data)
		return secret, nil
	})
}

func (i *incarnation) CreateSecret(_ context.Context, secret reconcile.Secret) (reconcile.Secret, error) {
	return call(i, errAPI, func() (reconcile.Secret, error) {
		if _, ok := i.world.secrets[secret.Name]; ok {
			return reconcile.Secret{}, reconcile.ErrConflict
		}
		return i.world.put(secret), nil
	})
}

func (i *incarnation) UpdateSecret(_ context.Context, secret reconcile.Secret) (reconcile.Secret, error) {
	return call(i, errAPI, func() (reconcile.Secret, error) {
		old := i.world.secrets[secret.Name]
		if old.UID != secret.UID || old.ResourceVersion != secret.ResourceVersion {
			return reconcile.Secret{}, reconcile.ErrConflict
		}
		return i.world.put(secret), nil
	})
}

func (i *incarnation) Missing(context.Context, string) ([]string, error) {
	return call(i, errAPI, func() ([]string, error) { return nil, nil })
}

func (i *incarnation) Event(context.Context, reconcile.Database, string, string) {}

// The server.

var errNetwork = fault.New(fault.Retry, mssql.ReasonUnreachable, "", "simulated")

type session struct {
	*incarnation
	pod    int // a session ends with the pod that it was opened on
	broken bool
}

func (i *incarnation) Open(_ context.Context, _ mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	return call(i, error(fault.New(fault.Wait, mssql.ReasonUnreachable, "", "simulated")), func() (reconcile.Session, error) {
		if login.Password.Reveal() != i.world.password {
			i.world.failedLogins++
			return nil, fault.New(fault.Stop, mssql.ReasonRefusedLogin, "", "simulated: error 18456")
		}
		return &session{incarnation: i, pod: i.world.pod}, nil
	})
}

// use ends the session for good when a mishap befalls it: its connection is gone.
func use[T any](s *session, do func() (T, error)) (T, error) {
	result, err := call(s.incarnation, error(errNetwork), func() (T, error) {
		if s.broken || s.pod != s.world.pod {
			var none T
			return none, errNetwork
		}
		return do()
	})
	s.broken = s.broken || err != nil
	return result, err
}

func (s *session) Accepts(_ context.Context, _ string, passwords ...credential.Password) ([]bool, error) {
	return use(s, func() ([]bool, error) {
		var accepted []bool
		for _, p := range passwords {
			accepted = append(accepted, p.Reveal() == s.world.password)
		}
		return accepted, nil
	})
}

func (s *session) SetPassword(_ context.Context, _ string, p credential.Password) error {
	_, err := use(s, func() (any, error) {
		s.world.password = p.Reveal()
		s.world.passwords = append(s.world.passwords, p.Reveal())
		return nil, nil
	})
	return err
}

func (s *session) Close() {}

// The time passes in sleeps and calls only.

func (i *incarnation) Now() time.Time { return i.world.now }

func (i *incarnation) Sleep(_ context.Context, d time.Duration) {
	i.world.now = i.world.now.Add(d)
	runtime.Gosched()
}

// seeded is a source of randomness for passwords that a seed repeats.
type seeded struct{ *rand.ChaCha8 }

func newSeeded(seed uint64) seeded {
	var key [32]byte
	copy(key[:], fmt.Sprint("seed ", seed))
	return seeded{rand.NewChaCha8(key)}
}

// distinct counts different passwords.
func distinct(passwords []string) int {
	set := map[string]bool{}
	for _, p := range passwords {
		set[p] = true
	}
	return len(set)
}

func (s *simulation) String() string { return strings.Join(s.violations, "; ") }
