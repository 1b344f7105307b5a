package reconcile_test

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// Somebody who may push to the repository, and to nothing else, tries to reach what is not his. Each attempt ends with a
// status or a problem that names it, with a cluster in which nothing has changed, and with an agent that serves the next
// honest request.

// fenced is a simulated cluster in which everything is in its namespace, and what is read outside of demo is noted.
type fenced struct {
	*incarnation
	servers map[string]*manifest.ServerSpec // by database: the SQLServer documents
}

func (f *fenced) Target(ctx context.Context, r reconcile.Request) (reconcile.Target, error) {
	switch {
	case r.Server != nil:
		f.servers[r.Database] = r.Server
		return reconcile.Target{
			Kind: manifest.KindServer, Namespace: r.Namespace, Name: r.Database, Replicas: len(r.Server.Endpoints),
			AuthSecret: r.Server.AuthSecret, Admin: r.Server.Admin,
		}, nil
	case r.Namespace != "demo" || r.Database != "db":
		return reconcile.Target{}, reconcile.ErrNotFound
	}
	return f.incarnation.Target(ctx, r)
}

func (f *fenced) Replicas(ctx context.Context, target reconcile.Target) ([]reconcile.Replica, error) {
	if target.KubeDB() {
		return f.incarnation.Replicas(ctx, target)
	}
	var replicas []reconcile.Replica
	for _, endpoint := range f.servers[target.Name].Endpoints {
		replicas = append(replicas, reconcile.Replica{Namespace: target.Namespace, Name: endpoint, UID: endpoint, Endpoint: mssql.Endpoint{Name: endpoint, Address: endpoint}, Ready: true})
	}
	return replicas, nil
}

func (f *fenced) Secret(ctx context.Context, namespace, name string) (reconcile.Secret, error) {
	if namespace != "demo" {
		f.world.violate("the Secret %s/%s was read", namespace, name)
		return reconcile.Secret{}, reconcile.ErrNotFound
	}
	return f.incarnation.Secret(ctx, namespace, name)
}

func (f *fenced) Open(ctx context.Context, endpoint mssql.Endpoint, login credential.Credential) (reconcile.Session, error) {
	if f.world.server(endpoint) == nil {
		f.world.violate("a credential was sent to %s", endpoint.Address)
		return nil, errUnreachable
	}
	return f.incarnation.Open(ctx, endpoint, login)
}

// tenancy are guardrails under which each team has its folder and its namespaces.
var tenancy = guardrails.Guardrails{
	Paths: []guardrails.Path{
		{Path: "rotations/demo", Namespaces: []string{"demo"}},
		{Path: "rotations/team-a", Namespaces: []string{"team-a", "team-a-*"}},
		{Path: "rotations/policies", Namespaces: []string{"*"}},
	},
}

// besieged is a stage where every attempt is judged by what it has changed.
type besieged struct {
	*stage
	*reconcile.Controller
	options reconcile.Options
	served  int // honest requests
}

func besiege(s *stage, options reconcile.Options) *besieged {
	b := &besieged{stage: s, options: options}
	b.restart()
	return b
}

// restart puts a new process in the agent's place, which knows what Git and the cluster say.
func (b *besieged) restart() {
	b.Controller = b.controller(b.options, schedule{}.at)
	cluster := &fenced{b.Engine.Cluster.(*incarnation), map[string]*manifest.ServerSpec{}}
	b.Engine.Cluster, b.Engine.Servers = cluster, cluster
}

// traces are what a rotation leaves.
type traces struct {
	secrets      map[string]string // their versions and, of the keeper, the credentials: it also notes what did not run
	paused       string
	logins       map[string]string
	failedLogins int
}

func (b *besieged) traces() traces {
	found := traces{secrets: map[string]string{}, paused: b.world.paused, logins: maps.Clone(b.world.servers[0].logins), failedLogins: b.world.servers[0].failedLogins}
	for name, secret := range b.world.secrets {
		if found.secrets[name] = secret.ResourceVersion; name != "db-auth-keeper" {
			continue
		}
		if found.secrets[name] = keptCredentials(secret); found.secrets[name] == "" {
			delete(found.secrets, name)
		}
	}
	return found
}

func keptCredentials(keeper reconcile.Secret) (all string) {
	for _, name := range []string{"next", "live", "previous", "retired", "dropped", "dropped-2", "dropped-3", "dropped-4", "dropped-5", "dropped-6", "dropped-7", "dropped-8"} {
		all += strings.Trim(keeper.Data[name+".username"].Reveal()+"/"+keeper.Data[name+".password"].Reveal(), "/")
	}
	return all
}

// harmless lets an attempt happen and the agent work, twice and as a new process. Nothing has changed then.
func (b *besieged) harmless(t *testing.T, attempt func()) {
	t.Helper()
	before := b.traces()
	attempt()
	b.round(b.Controller)
	b.round(b.Controller)
	head := b.repo.Head()
	b.restart()
	b.round(b.Controller)
	require.Equal(t, before, b.traces())
	require.Empty(t, b.world.violations)
	require.Equal(t, head, b.repo.Head(), "what was said is not said again")
}

// serves shows that the next honest request runs.
func (b *besieged) serves(t *testing.T) {
	t.Helper()
	b.served++
	name := "honest-" + strings.Repeat("x", b.served)
	given := len(b.world.servers[0].given["sa"])
	b.repo.Commit(map[string]string{"rotations/demo/" + name + ".yaml": request(name)}, "Rotate")
	b.round(b.Controller)
	require.Equal(t, reconcile.PhaseSuccessful, b.stage.status(b.repo, name).Phase)
	require.Len(t, b.world.servers[0].given["sa"], given+1)
}

// said is what a status or the report of problems says of an attempt: "reason where: message; hint".
func (b *besieged) said(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, file := range b.repo.Files() {
		switch {
		case file == "status/problems.yaml":
			var report struct {
				Problems []struct{ Where, Reason, Message, Hint string }
			}
			require.NoError(t, yaml.Unmarshal([]byte(b.repo.Show(file)), &report))
			for _, p := range report.Problems {
				all[strings.TrimSuffix(p.Reason+" "+p.Where+": "+p.Message+"; "+p.Hint, "; ")] = true
			}
		case strings.Count(file, "/") == 2 && strings.HasPrefix(file, "status/"):
			status, err := reconcile.ParseStatus([]byte(b.repo.Show(file)))
			require.NoError(t, err)
			for _, c := range status.Conditions {
				all[c.Reason+" "+c.Message] = true
			}
		}
	}
	return all
}
