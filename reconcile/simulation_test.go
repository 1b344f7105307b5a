package reconcile_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

// simulation is a cluster with one database and its SQL Servers, as plain data. It knows the rules of Kubernetes, of
// KubeDB and of SQL Server that a rotation rests on, and nothing of the engine. Engines work on it through
// [incarnation]s, one external call at a time, so that a schedule decides what happens at which call.
type simulation struct {
	mode    mode
	now     time.Time
	version int
	secrets map[string]reconcile.Secret
	paused  string // the reason; empty: not paused
	pauses  int    // counts how often that has changed
	servers []*simulated
	primary int
	// contained is the store of logins that the availability group has for itself; nil: it has none.
	contained *simulated
	// What KubeDB knows of the database beside.
	created     time.Time
	rotateAfter time.Duration
	labels      map[string]string
	beside      func()                        // is what goes on while a process is stopped; nil: see others
	watch       func(keeper reconcile.Secret) // is told of every write of the keeper; nil: nobody is

	alter      func(*incarnation) reconcile.Cluster // see engineOn
	calls      int
	lives      uint64     // incarnations that worked beside
	request    int        // the number of the request that others serve next
	naps       int        // how often somebody has slept
	connection int        // counts those that a load balancer has given away
	sessions   []*session // in the order in which they were opened
	// Until when the API server refuses everything, as it does right after its start, and since when the auth Secret is
	// gone; zero: neither.
	forbidden, authGone time.Time

	oracle
}

const (
	initialPassword  = "Initial-Password-1"
	suppliedPassword = "Supplied-Password-1"
	adminPassword    = "Admin-Password-1"
	kubedbPassword   = "KubeDB-Made-This-1"

	remembered = 3 // passwords that must not be used again
)

// mode is a kind of rotation.
type mode struct {
	credential string // generated, supplied, pair
	replicas   int
	flavour    flavour
	again      bool // it was rotated before, an hour ago
	plain      bool // a workload that KubeDB does not know and whose pods have no password in their environment; every pair's is
	probe      bool // pods are Ready while the password in their environment opens their server
}

func (m mode) String() string {
	text := fmt.Sprintf("%s x%d", m.credential, m.replicas)
	if m.plain {
		text += " plain"
	}
	if m.again {
		text += " again"
	}
	if m.probe {
		text += " probed"
	}
	return strings.TrimSpace(text + " " + m.flavour.name)
}

func (m mode) pair() bool   { return m.credential == "pair" }
func (m mode) kubedb() bool { return !m.plain && !m.pair() && !m.flavour.admin }

func newSimulation(m mode) *simulation {
	s := &simulation{mode: m, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), secrets: map[string]reconcile.Secret{}, request: 1, oracle: newOracle()}
	username, logins := "sa", map[string]string{"sa": initialPassword}
	if m.pair() {
		username, logins = "app_a", map[string]string{"app_a": initialPassword, "app_b": "Nobody-Knows-1"}
	}
	if m.pair() || m.flavour.admin {
		s.put(basicAuth("db-admin", "rotator", adminPassword))
		logins["rotator"] = adminPassword
	}
	s.put(basicAuth("db-auth", username, initialPassword))
	servers := m.replicas
	if m.flavour.balanced {
		servers = 2
	}
	for i := range servers {
		s.servers = append(s.servers, newServer(fmt.Sprint("db-", i), m.flavour, logins))
	}
	if m.flavour.contained {
		s.contained = newServer("availability group ag", m.flavour, logins)
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
	before := s.secrets[secret.Name]
	s.secrets[secret.Name] = secret
	if secret.Name == "db-auth-keeper" {
		s.keeperWritten(before, secret)
		if s.watch != nil {
			s.watch(secret)
		}
	}
	return secret
}

func (s *simulation) value(secret, key string) string { return s.secrets[secret].Data[key].Reveal() }

// stores are all that keep logins.
func (s *simulation) stores() []*simulated {
	if s.contained == nil {
		return s.servers
	}
	return append(slices.Clone(s.servers), s.contained)
}

// opens reports whether every server accepts what the auth Secret holds.
func (s *simulation) opens() bool {
	for _, server := range s.stores() {
		if server.logins[s.value("db-auth", "username")] != s.value("db-auth", "password") {
			return false
		}
	}
	return true
}

func (s *simulation) isDown(server *simulated) bool {
	if server == s.contained {
		server = s.servers[s.primary]
	}
	return s.now.Before(server.away) || server.waits
}

// ready is what the pod's readiness probe says.
func (s *simulation) ready(server *simulated) bool {
	return !s.isDown(server) && (!s.mode.probe || server.podEnv == server.logins["sa"])
}

// replacePod ends a pod. The one that takes its place takes the password of its environment from the auth Secret, and
// does not start without.
func (s *simulation) replacePod(server *simulated) {
	server.pod++
	server.waits = s.mode.kubedb()
	s.startPods()
}

func (s *simulation) startPods() {
	if _, there := s.secrets["db-auth"]; !there {
		return
	}
	for _, server := range s.servers {
		if server.waits {
			server.waits, server.podEnv = false, s.value("db-auth", "password")
		}
	}
}

// settle lets the others in the cluster do what they do by themselves: KubeDB makes an auth Secret where there is none,
// unless it was told to leave the database alone, and pods start that have waited for it.
func (s *simulation) settle() {
	if _, there := s.secrets["db-auth"]; there {
		s.authGone = time.Time{}
	} else if s.authGone.IsZero() {
		s.authGone = s.now
	} else if s.mode.kubedb() && s.paused == "" && s.now.Sub(s.authGone) > 30*time.Second {
		secret := basicAuth("db-auth", "sa", kubedbPassword)
		secret.Writers = map[string]string{"password": "kubedb-provisioner"}
		s.put(secret)
	}
	s.startPods()
}

// seeded is a source of randomness for passwords that a seed repeats.
type seeded struct{ *rand.ChaCha8 }

func newSeeded(seed uint64) seeded {
	var key [32]byte
	copy(key[:], fmt.Sprint("seed ", seed))
	return seeded{rand.NewChaCha8(key)}
}

// clone returns a simulation that goes on from here by itself.
func (s *simulation) clone() *simulation {
	c := *s
	c.secrets = maps.Clone(s.secrets)
	c.servers, c.sessions = nil, nil
	for _, server := range s.servers {
		c.servers = append(c.servers, server.clone())
	}
	if s.contained != nil {
		c.contained = s.contained.clone()
	}
	c.oracle = s.oracle.clone()
	return &c
}
