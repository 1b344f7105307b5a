package reconcile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// simulation is a cluster with one database and its SQL Servers, as plain data. It knows the rules of Kubernetes and of
// SQL Server that a rotation rests on, and nothing of the engine. Engines work on it through [incarnation]s, one
// external call at a time, so that a schedule decides what happens at which call.
type simulation struct {
	now     time.Time
	version int
	secrets map[string]reconcile.Secret
	paused  string // the reason; empty: not paused
	pair    bool   // two logins take turns, and an administrator changes them; KubeDB has no part in it
	servers []*simulated
	primary int
	// What KubeDB knows of the database beside.
	created     time.Time
	rotateAfter time.Duration
	labels      map[string]string
	watch       func(keeper reconcile.Secret) // is told of every write of the keeper; nil: nobody is

	calls      int
	lived      []string // the passwords that the keeper has called live, each once, the newest last
	unasked    bool     // no policy asks for a history
	violations []string
	refusals   int // of the credential in the auth Secret, by any server
}

// simulated is one SQL Server. Its logins outlive its pods.
type simulated struct {
	name   string
	pod    int       // counts the pods that it has had
	podEnv string    // the password that the pod started with
	away   time.Time // until when nobody can connect to it
	strict bool      // it refuses every new password

	logins       map[string]string          // login to password
	changes      map[string]int             // how often each was set
	given        map[string]map[string]bool // by ALTER LOGIN, to each login
	failedLogins int
}

const (
	initialPassword  = "Initial-Password-1"
	suppliedPassword = "Supplied-Password-1"
	adminPassword    = "Admin-Password-1"

	remembered = 3 // passwords that must not be used again
)

func newSimulation(m mode) *simulation {
	s := &simulation{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), secrets: map[string]reconcile.Secret{}, pair: m.credential == "pair"}
	username := "sa"
	if s.pair {
		username = "app_a"
		s.put(basicAuth("db-admin", "rotator", adminPassword))
	}
	s.put(basicAuth("db-auth", username, initialPassword))
	for i := range m.replicas {
		server := &simulated{name: fmt.Sprint("db-", i), podEnv: initialPassword, logins: map[string]string{"sa": initialPassword}, changes: map[string]int{}, given: map[string]map[string]bool{}}
		if s.pair {
			server.logins = map[string]string{"rotator": adminPassword, "app_a": initialPassword, "app_b": "Nobody-Knows-1"}
		}
		s.servers = append(s.servers, server)
	}
	return s
}

func basicAuth(name, username, password string) reconcile.Secret {
	return reconcile.Secret{Namespace: "demo", Name: name, Type: "kubernetes.io/basic-auth", Data: map[string]credential.Password{
		"username": credential.NewPassword(username), "password": credential.NewPassword(password),
	}}
}

func (s *simulation) put(secret reconcile.Secret) reconcile.Secret {
	s.version++
	if secret.UID == "" {
		secret.UID = fmt.Sprint("uid-", s.version)
	}
	secret.ResourceVersion = fmt.Sprint(s.version)
	secret.Data = maps.Clone(secret.Data)
	s.secrets[secret.Name] = secret
	if secret.Name == "db-auth-keeper" {
		s.checkHistory(secret)
		if s.watch != nil {
			s.watch(secret)
		}
	}
	return secret
}

func (s *simulation) value(secret, key string) string { return s.secrets[secret].Data[key].Reveal() }

// check is the oracle that watches every call: the password that a server accepts, of a login that was ever changed, is
// in the keeper. Clients of a pair never meet a refused password.
func (s *simulation) check() {
	keeper := s.secrets["db-auth-keeper"].Data
	for _, server := range s.servers {
		for login := range server.given {
			kept := false
			for _, key := range []string{"next", "live", "previous", "retired", "dropped"} {
				kept = kept || keeper[key+".username"].Reveal() == login && keeper[key+".password"].Reveal() == server.logins[login]
			}
			if !kept {
				s.violate("lost: no key of the keeper opens %s as %s", server.name, login)
			}
		}
	}
	if !s.opens() {
		s.refusals++
		if s.pair {
			s.violate("refused: the auth Secret does not open every server")
		}
	}
}

// checkHistory is the oracle for a write of the keeper: from the first rotation that has ended well, its history is of the
// last passwords that were live, in their order, and of no other.
func (s *simulation) checkHistory(keeper reconcile.Secret) {
	if live := keeper.Data["live.password"].Reveal(); live != "" {
		s.lived = append(slices.DeleteFunc(s.lived, func(before string) bool { return before == live }), live)
	}
	var history credential.History
	if err := json.Unmarshal([]byte(keeper.Data["history"].Reveal()), &history); err != nil {
		s.violate("history: %v", err)
	}
	expected := s.lived[max(0, len(s.lived)-remembered):]
	if len(s.lived) == 1 || s.unasked {
		expected = nil
	}
	matches := len(history) == len(expected)
	for i := range min(len(history), len(expected)) {
		matches = matches && history[i].Of(credential.NewPassword(expected[i]))
	}
	if !matches {
		s.violate("history: it has %d passwords, and not the %d that were live", len(history), len(expected))
	}
}

// opens reports whether every server accepts what the auth Secret holds.
func (s *simulation) opens() bool {
	for _, server := range s.servers {
		if server.logins[s.value("db-auth", "username")] != s.value("db-auth", "password") {
			return false
		}
	}
	return true
}

func (s *simulation) violate(format string, args ...any) {
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}

// mishap is what goes wrong at a call.
type mishap int

const (
	nothing       mishap = iota
	dieBefore            // the process is killed before the call leaves it
	dieAfter             // the call has its effect, and the process is killed
	answerLost           // the call has its effect, and an error comes back
	refused              // the call has no effect, and an error comes back
	singles              // the ones before are tried at every call
	failover             // another replica becomes the primary
	podLost              // a pod is replaced by another one
	restored             // somebody writes the auth Secret as it was in the beginning
	outage               // the API server is away for a while
	survivable           // the ones before keep no rotation from its success
	serverDown           // a server is away for longer than a step may take
	serverRefuses        // a server refuses every new password from then on
	mishaps
)

// maxCalls is far more than any rotation needs, with every mishap there is.
const maxCalls = 5000

// incarnation is one life of an agent's process, as its engine sees the outside.
type incarnation struct {
	world *simulation
	// at tells what goes wrong at a call of the world, counted from 1.
	at func(call int) mishap
	// turn blocks until it is this incarnation's turn; nil: always.
	turn func()

	cancel context.CancelFunc
	dead   bool
	away   int // how many calls to the API server are still refused
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
	switch what {
	case dieBefore:
		i.die()
		return none, errDead
	case refused:
		return none, broken
	case outage:
		i.away = 30
	default:
		i.world.befall(what)
	}
	if i.away > 0 && broken == errAPI {
		i.away--
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

// befall lets something happen that no agent has done.
func (s *simulation) befall(what mishap) {
	switch what {
	case failover:
		s.primary = (s.primary + 1) % len(s.servers)
	case podLost:
		s.replacePod(s.servers[len(s.servers)-1])
	case serverDown:
		s.servers[len(s.servers)-1].away = s.now.Add(20 * time.Minute)
	case serverRefuses:
		s.servers[0].strict = true
	case restored:
		secret := s.secrets["db-auth"]
		username := "sa"
		if s.pair {
			return // then clients are refused, and not by gitrota's doing
		}
		secret.Data = basicAuth("", username, initialPassword).Data
		secret.Writers = map[string]string{"password": "flux"}
		s.put(secret)
	}
}

func (s *simulation) isDown(server *simulated) bool { return s.now.Before(server.away) }

func (s *simulation) replacePod(server *simulated) {
	server.pod++
	server.podEnv = s.value("db-auth", "password")
}

func (i *incarnation) die() {
	i.dead = true
	i.cancel()
}

var errAPI = fmt.Errorf("%w: simulated", reconcile.ErrAPIUnavailable)

// The cluster.

func (i *incarnation) Target(context.Context, reconcile.Request) (reconcile.Target, error) {
	return call(i, errAPI, func() (reconcile.Target, error) {
		keys := func(name string) manifest.SecretKeys {
			return manifest.SecretKeys{Name: name, UsernameKey: "username", PasswordKey: "password"}
		}
		target := reconcile.Target{
			Kind: manifest.KindMSSQLServer, Namespace: "demo", Name: "db", UID: "db", Phase: "Ready", Replicas: len(i.world.servers),
			AuthSecret: keys("db-auth"), Paused: i.world.paused != "", PauseReason: i.world.paused,
			Created: i.world.created, RotateAfter: i.world.rotateAfter, Labels: i.world.labels,
		}
		if len(i.world.servers) > 1 {
			target.Mode, target.Group = "AvailabilityGroup", true
		}
		if i.world.pair {
			admin := keys("db-admin")
			target.Kind, target.Phase, target.Mode, target.Admin = manifest.KindServer, "", "", &admin
			target.LoginPair, target.GracePeriod = []string{"app_a", "app_b"}, time.Minute
		}
		return target, nil
	})
}

func (i *incarnation) Targets(ctx context.Context) ([]reconcile.Target, error) {
	target, err := i.Target(ctx, reconcile.Request{})
	if err != nil || i.world.pair {
		return nil, err // a server that only Git tells of
	}
	return []reconcile.Target{target}, nil
}

func (i *incarnation) Pause(_ context.Context, _ reconcile.Target, reason string) error {
	_, err := call(i, errAPI, func() (any, error) {
		if i.world.pair {
			i.world.violate("a server that KubeDB does not know was paused")
		}
		if i.world.paused == "" {
			i.world.paused = reason
		}
		return nil, nil
	})
	return err
}

func (i *incarnation) Resume(_ context.Context, _ reconcile.Target, reason string) error {
	_, err := call(i, errAPI, func() (any, error) {
		if i.world.paused == reason {
			i.world.paused = ""
		}
		return nil, nil
	})
	return err
}

func (i *incarnation) Replicas(context.Context, reconcile.Target) ([]reconcile.Replica, error) {
	return call(i, errAPI, func() ([]reconcile.Replica, error) {
		var list []reconcile.Replica
		for n, server := range i.world.servers {
			r := reconcile.Replica{
				Namespace: "demo", Name: server.name, UID: fmt.Sprint(server.name, "/", server.pod), Pod: true, Primary: n == i.world.primary,
				Endpoint: mssql.Endpoint{Name: server.name, Address: server.name + ":1433"}, Ready: !i.world.isDown(server),
			}
			if !i.world.pair {
				r.PasswordFrom = []string{"db-auth"}
			}
			list = append(list, r)
		}
		return list, nil
	})
}

func (i *incarnation) Evict(_ context.Context, replica reconcile.Replica) error {
	_, err := call(i, errAPI, func() (any, error) {
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

func (i *incarnation) Missing(context.Context, reconcile.Target, bool) ([]string, error) {
	return call(i, errAPI, func() ([]string, error) { return nil, nil })
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

// seeded is a source of randomness for passwords that a seed repeats.
type seeded struct{ *rand.ChaCha8 }

func newSeeded(seed uint64) seeded {
	var key [32]byte
	copy(key[:], fmt.Sprint("seed ", seed))
	return seeded{rand.NewChaCha8(key)}
}

func (s *simulation) String() string { return strings.Join(s.violations, "; ") }
