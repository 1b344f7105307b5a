package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// atRest is a server whose login was rotated, and an agent that looks after its Secret every second.
func (w *world) atRest(name string, spec ...string) (*outside, *agentProcess) {
	w.Helper()
	s := w.outside(name)
	if len(spec) == 0 {
		w.keep(name+"-auth", s.Admin) // the login changes itself
	} else {
		w.keep(name+"-auth", s.login("app"))
		w.keep(name+"-admin", s.Admin)
	}
	document := w.document(name, append(spec, s.at(), authSecret(name), trusted)...)
	w.repo.Commit(map[string]string{"rotations/" + name + ".yaml": document + "---\n" + w.request("r", name)}, "Rotate "+name)
	agent := w.agent("--allow-hosts", "127.0.0.1", "--patrol-interval", "1s", "--verbose")
	require.Equal(w.T, "Successful", w.ended("r").phase(), w.status("r").why())
	return s, agent
}

// overwritten waits until the status of r says about the auth Secret what a text is part of.
func (w *world) overwritten(status, part string) {
	w.Helper()
	w.eventually("the status says: "+part, func() bool {
		c := w.status("r").condition("AuthSecretOverwritten")
		return c.Status == status && strings.Contains(c.Message, part)
	})
}

func TestASecretThatIsOverwrittenAtRestIsRepairedOnceAndNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, agent := w.atRest("db", "admin: {name: db-admin}")
	old, live := w.kept("db-auth", "username.prev", "password.prev"), w.kept("db-auth")

	require.NoError(t, w.write(t.Context(), "argocd-controller", "db-auth", old))
	w.overwritten("True", "argocd-controller wrote another credential into the Secret "+w.namespace+"/db-auth than the one that the servers accept; gitrota has put that back, once")
	require.Equal(t, live, w.kept("db-auth"))
	require.Equal(t, old, w.kept("db-auth", "username.prev", "password.prev"))
	w.overwritten("False", "the Secret "+w.namespace+"/db-auth holds the live credential")
	agent.requireIdle(0)

	require.NoError(t, w.write(t.Context(), "argocd-controller", "db-auth", old))
	w.overwritten("True", "argocd-controller has overwritten the Secret "+w.namespace+"/db-auth again, after gitrota had repaired it once; "+
		"the servers accept live.password of the Secret "+w.namespace+"/db-auth-keeper; keep that writer off the Secret")
	version := w.secret("db-auth").ResourceVersion
	agent.requireIdle(0)
	require.Equal(t, version, w.secret("db-auth").ResourceVersion, "nobody is fought with")
	require.Equal(t, old, w.kept("db-auth"))
	require.True(t, s.lets(w.kept("db-auth-keeper", "live.username", "live.password")))
	require.Equal(t, "Successful", w.status("r").phase(), "the rotation itself was in order")

	w.repo.Commit(map[string]string{"rotations/next.yaml": w.request("next", "db")}, "Rotate db again")
	require.Equal(t, "Successful", w.ended("next").phase(), w.status("next").why())
	w.requireOneTruth(s)
	_, failed := s.StandIn().Logins("app")
	require.Zero(t, failed, "the administrator asks")
	require.Equal(t, 0, agent.terminate())
}

func TestASecretThatIsDeletedAtRestComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, agent := w.atRest("db")
	live := w.kept("db-auth")
	w.cluster.Kubectl(t, "-n", w.namespace, "delete", "secret", "db-auth")
	w.eventually("the Secret is back", func() bool { return w.secret("db-auth") != nil })
	require.Equal(t, live, w.kept("db-auth"))
	w.requireOneTruth(s)
	w.overwritten("True", "gitrota has put that back, once")
	_, failed := s.StandIn().Logins("sa")
	require.Zero(t, failed)
	require.Equal(t, 0, agent.terminate())
}

func TestAPasswordThatAPersonHasChangedEverywhereIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, agent := w.atRest("db")
	theirs := w.credential("sa")
	s.Admin = w.kept("db-auth")
	s.exec("master", fmt.Sprintf("ALTER LOGIN sa WITH PASSWORD = N'%s'", theirs.Password.Reveal()))
	require.NoError(t, w.write(t.Context(), "dana", "db-auth", theirs))

	w.overwritten("True", "dana wrote another credential into the Secret "+w.namespace+"/db-auth, and the servers refuse the one that gitrota knows: "+
		"the password was changed elsewhere, so nothing was done; the next rotation begins from what the Secret holds")
	agent.requireIdle(0)
	require.Equal(t, theirs, w.kept("db-auth"))
	_, failed := s.StandIn().Logins("sa")
	require.Equal(t, 1, failed, "the patrol has asked once")
	require.Equal(t, 0, agent.terminate())

	again := w.agent("--allow-hosts", "127.0.0.1", "--patrol-interval", "1s")
	again.requireIdle(0)
	_, failed = s.StandIn().Logins("sa")
	require.Equal(t, 1, failed, "nor does the next agent ask again")
	w.repo.Commit(map[string]string{"rotations/next.yaml": w.request("next", "db")}, "Rotate db again")
	require.Equal(t, "Successful", w.ended("next").phase(), w.status("next").why())
	w.requireOneTruth(s)
	require.Equal(t, theirs, w.kept("db-auth", "username.prev", "password.prev"))
	require.Equal(t, 0, again.terminate())
}

func TestASecretThatBelongsToSomebodyElseIsNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secrets := w.cluster.Client.CoreV1().Secrets(w.namespace)
	is := true
	w.unmanaged("orders")
	orders := types.UID(w.cluster.Kubectl(t, "-n", w.namespace, "get", "mssqlserver", "orders", "-o", "jsonpath={.metadata.uid}"))
	stories := []struct {
		name          string
		phase, reason string
		change        func(*metav1.ObjectMeta)
		immutable     *bool
		says          string
	}{
		{name: "synced", phase: "Denied", reason: "AuthSecretForeign", change: func(m *metav1.ObjectMeta) {
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "external-secrets.io/v1", Kind: "ExternalSecret", Name: "vault", UID: "1", Controller: &is}}
		}, says: "belongs to ExternalSecret vault, which may write it at any time; rotate where the Secret comes from"},
		{name: "labelled", phase: "Denied", reason: "AuthSecretForeign", change: func(m *metav1.ObjectMeta) {
			m.Labels = map[string]string{"app.kubernetes.io/name": "mssqlservers.kubedb.com", "app.kubernetes.io/instance": "orders"}
		}, says: "belongs to another database, MSSQLServer orders; give each database a Secret of its own"},
		{name: "owned", phase: "Denied", reason: "AuthSecretForeign", change: func(m *metav1.ObjectMeta) {
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "kubedb.com/v1alpha2", Kind: "MSSQLServer", Name: "orders", UID: orders}}
		}, says: "belongs to MSSQLServer orders, which may write it at any time; rotate where the Secret comes from"},
		{name: "immutable", phase: "Failed", reason: "AuthSecretUnusable", change: func(*metav1.ObjectMeta) {}, immutable: &is,
			says: "is immutable, so the new password could not be published; replace it by one that is not immutable"},
	}
	files, servers, before := map[string]string{}, map[string]*outside{}, map[string]string{}
	for _, story := range stories {
		s := w.outside(story.name)
		w.keep(story.name+"-auth", s.Admin)
		secret, err := secrets.Get(context.Background(), story.name+"-auth", metav1.GetOptions{})
		require.NoError(t, err)
		story.change(&secret.ObjectMeta)
		secret.Immutable = story.immutable
		secret.UID, secret.ResourceVersion = "", ""
		require.NoError(t, secrets.Delete(context.Background(), secret.Name, metav1.DeleteOptions{}))
		created, err := secrets.Create(context.Background(), secret, metav1.CreateOptions{})
		require.NoError(t, err)
		servers[story.name], before[story.name] = s, created.ResourceVersion
		files["rotations/"+story.name+".yaml"] = w.document(story.name, s.at(), authSecret(story.name), trusted) + "---\n" + w.request(story.name, story.name)
	}
	w.repo.Commit(files, "Rotate all")
	require.Equal(t, 1, w.once("--allow-hosts", "127.0.0.1"))
	for _, story := range stories {
		s := w.status(story.name)
		require.Equal(t, story.phase, s.phase(), s.why())
		require.Equal(t, story.reason, s.condition(story.phase).Reason)
		require.Equal(t, "the auth Secret "+w.namespace+"/"+story.name+"-auth "+story.says, s.why())
		require.Equal(t, before[story.name], w.secret(story.name+"-auth").ResourceVersion)
		require.False(t, w.keeps(story.name))
		succeeded, failed := servers[story.name].StandIn().Logins("sa")
		require.Zero(t, succeeded+failed, "%s: the server was not asked", story.name)
		require.True(t, servers[story.name].lets(servers[story.name].Admin))
	}
}

func TestAnExternallyManagedSecretOfADatabaseIsNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databases("db")
	w.unwatched("db")
	before := w.traces("db")
	w.cluster.Kubectl(t, "-n", w.namespace, "patch", "mssqlserver", "db", "--type=merge", "-p", `{"spec":{"authSecret":{"name":"db-auth","externallyManaged":true}}}`)
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	require.Equal(t, 1, w.once())
	s := w.status("r")
	require.Equal(t, "Denied", s.phase())
	require.Equal(t, "AuthSecretForeign", s.condition("Denied").Reason)
	require.Contains(t, s.why(), "is managed by somebody else, as spec.authSecret.externallyManaged of MSSQLServer "+w.namespace+"/db says")
	require.Equal(t, before, w.traces("db"))
	require.True(t, w.opens("db", w.live("db")))
}
