package main

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// outsideStory is one server outside of the cluster, and how a rotation of a login there ends.
type outsideStory struct {
	name    string
	options func(*mssqltest.Options)
	// prepare makes the login that rotates and returns it with the rest of the document's spec.
	prepare  func(s *outside) (credential.Credential, []string)
	database string // where the login opens
	failed   int    // logins that were refused
	rejected string // the status of PreviousCredentialRejected
	says     string // why it Failed; "" if it is Successful
}

func flavour(f mssqltest.Flavour) func(*mssqltest.Options) {
	return func(o *mssqltest.Options) { o.Flavour = f }
}

// byItself makes a login that has to change its own password with the old one.
func byItself(s *outside) (credential.Credential, []string) { return s.login("app"), nil }

// byItselfWith does so on a server with a fault.
func byItselfWith(fault mssqltest.StatementFault) func(s *outside) (credential.Credential, []string) {
	return func(s *outside) (credential.Credential, []string) {
		login := s.login("app")
		s.StandIn().SetFaults(mssqltest.Faults{Statements: []mssqltest.StatementFault{fault}})
		return login, nil
	}
}

// byAdmin makes a login that the server's administrator changes.
func byAdmin(s *outside) (credential.Credential, []string) {
	s.w.keep(s.name+"-admin", s.Admin)
	return s.login("app"), []string{"admin: {name: " + s.name + "-admin}"}
}

var outsideStories = []outsideStory{
	{name: "admin", prepare: byAdmin, rejected: "True"},
	{name: "itself", prepare: byItself, rejected: "Unknown"},
	{name: "dropped-before", prepare: byItselfWith(mssqltest.StatementFault{Kind: "ALTER LOGIN", Drop: mssqltest.DropBefore, Times: 1}), failed: 1, rejected: "Unknown"},
	{name: "dropped-after", prepare: byItselfWith(mssqltest.StatementFault{Kind: "ALTER LOGIN", Drop: mssqltest.DropAfter, Times: 1}), rejected: "Unknown"},
	{name: "sysadmin", prepare: func(s *outside) (credential.Credential, []string) { return s.Admin, nil }, rejected: "True"},
	{name: "user", database: "shop", rejected: "Unknown", prepare: func(s *outside) (credential.Credential, []string) {
		return s.user("clerk"), []string{"containedDatabase: shop"}
	}},
	{name: "user-admin", database: "shop", rejected: "Unknown", prepare: func(s *outside) (credential.Credential, []string) {
		s.w.keep(s.name+"-admin", s.Admin)
		return s.user("clerk"), []string{"containedDatabase: shop", "admin: {name: " + s.name + "-admin}"}
	}},
	{name: "azure", options: flavour(mssqltest.FlavourAzureSQLDatabase), prepare: byItself, rejected: "Unknown"},
	{name: "azure-admin", options: flavour(mssqltest.FlavourAzureSQLDatabase), prepare: byAdmin, rejected: "Unknown"},
	{name: "foreign", options: flavour(mssqltest.FlavourForeign), prepare: byItself,
		says: "'ALTER LOGIN ... OLD_PASSWORD' is not supported. (33557097)"},
	{name: "foreign-admin", options: flavour(mssqltest.FlavourForeign), prepare: byAdmin, rejected: "Unknown"},
	{name: "must-change", rejected: "Unknown", failed: 1, prepare: func(s *outside) (credential.Credential, []string) {
		return s.login("app", " MUST_CHANGE, CHECK_EXPIRATION = ON"), nil
	}},
	expired(),
}

// expired is the story of a login whose password was too old when the agent came.
func expired() outsideStory {
	var late atomic.Bool
	return outsideStory{name: "expired", rejected: "Unknown", failed: 1, options: func(o *mssqltest.Options) {
		late.Store(false)
		o.MaxPasswordAge = 24 * time.Hour
		o.Now = func() time.Time {
			if late.Load() {
				return time.Now().Add(48 * time.Hour)
			}
			return time.Now()
		}
	}, prepare: func(s *outside) (credential.Credential, []string) {
		defer late.Store(true)
		return s.login("app", ", CHECK_EXPIRATION = ON"), nil
	}}
}

func TestALoginOfAServerOutsideOfTheClusterIsRotated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	servers, logins, files := map[string]*outside{}, map[string]credential.Credential{}, map[string]string{}
	for _, story := range outsideStories {
		var options []func(*mssqltest.Options)
		if story.options != nil {
			options = append(options, story.options)
		}
		s := w.outside(story.name, options...)
		login, spec := story.prepare(s)
		w.keep(story.name+"-auth", login)
		spec = append(spec, s.at(), authSecret(story.name), trusted)
		servers[story.name], logins[story.name] = s, login
		files["rotations/"+story.name+".yaml"] = w.document(story.name, spec...) + "---\n" + w.request(story.name, story.name, "timeout: 20s")
	}
	w.repo.Commit(files, "Rotate the logins of all servers")
	agent := w.agent("--allow-hosts", "127.0.0.1")
	for _, story := range outsideStories {
		w.ended(story.name)
	}
	for _, story := range outsideStories {
		t.Run(story.name, func(t *testing.T) {
			w := w.of(t)
			s, before, ended := servers[story.name], logins[story.name], w.status(story.name)
			_, failed := s.StandIn().Logins(before.Username)
			if story.says != "" {
				require.Equal(t, "Failed", ended.phase())
				require.Equal(t, "ServerError", ended.condition("Failed").Reason)
				require.Contains(t, ended.why(), story.says)
				require.Zero(t, failed+s.StandIn().PasswordChanges(before.Username))
				require.Equal(t, before, w.kept(story.name+"-auth"))
				require.True(t, s.lets(before))
				return
			}
			require.Equal(t, "Successful", ended.phase(), ended.why())
			require.Equal(t, story.failed, failed, "logins that were refused")
			require.Equal(t, 1, s.StandIn().PasswordChanges(before.Username))
			require.Equal(t, story.rejected, ended.condition("PreviousCredentialRejected").Status)
			after := w.kept(story.name + "-auth")
			require.Equal(t, before.Username, after.Username)
			require.NotEqual(t, before.Password, after.Password)
			require.Equal(t, before, w.kept(story.name+"-auth", "username.prev", "password.prev"))
			require.Equal(t, "sql.example.com", string(w.secret(story.name + "-auth").Data["host"]), "other keys stay")
			w.requireKeeper(story.name+"-auth-keeper", after, before)
			in := "database=master"
			if story.database != "" {
				in = "database=" + story.database
			}
			require.True(t, s.lets(after, in))
			require.False(t, s.lets(before, in))
		})
	}
	require.Equal(t, 0, agent.terminate())
}

func TestNothingIsSaidToAServerThatIsNotAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	var connections atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			conn.Close()
		}
	}()
	before := w.credential("sa")
	w.keep("stranger-auth", before)
	manifest := w.document("stranger", "endpoints: [\""+listener.Addr().String()+"\"]", authSecret("stranger"), trusted)
	w.repo.Commit(map[string]string{"rotations/stranger.yaml": manifest + "---\n" + w.request("stranger", "stranger")}, "Rotate a stranger")

	for _, allowed := range []string{"", "sql.example.com,127.0.0.1:1433"} {
		agent := w.agent("--allow-hosts", allowed)
		s := w.ended("stranger")
		require.Equal(t, "Denied", s.phase())
		require.Equal(t, "EndpointNotAllowed", s.condition("Denied").Reason)
		require.Equal(t, "SQLServer "+w.namespace+"/stranger sends its credential to "+listener.Addr().String()+
			", which is not on the list of hosts that gitrota may connect to; let whoever runs gitrota add it to --allow-hosts, or correct the endpoint", s.why())
		require.Equal(t, 0, agent.terminate())
		w.repo.Delete("Once more, with other hosts allowed", w.statusPath("stranger"))
	}
	require.Zero(t, connections.Load())
	require.False(t, w.keeps("stranger"))
	require.Equal(t, before, w.kept("stranger-auth"))
}

func TestKeysOfTheSecretCanHaveOtherNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.outside("legacy")
	before := s.login("app")
	w.keep("legacy-auth", before, "DB_USER", "DB_PASS")
	w.keep("legacy-admin", s.Admin, "who", "secret")
	w.repo.Commit(map[string]string{"rotations/legacy.yaml": w.document("legacy", s.at(), trusted,
		"authSecret: {name: legacy-auth, usernameKey: DB_USER, passwordKey: DB_PASS}",
		"admin: {name: legacy-admin, usernameKey: who, passwordKey: secret}") + "---\n" + w.request("legacy", "legacy")}, "Rotate legacy")
	require.Equal(t, 0, w.once("--allow-hosts", "127.0.0.1"))

	after := w.kept("legacy-auth", "DB_USER", "DB_PASS")
	require.True(t, s.lets(after))
	require.Equal(t, before, w.kept("legacy-auth", "DB_USER.prev", "DB_PASS.prev"))
	require.NotContains(t, w.secret("legacy-auth").Data, "password")
	require.True(t, strings.Contains(w.status("legacy").condition("CredentialPromoted").Message, "DB_USER.prev and DB_PASS.prev"))
	_, failed := s.StandIn().Logins("app")
	require.Zero(t, failed)
}

func TestADocumentAndAMSSQLServerOfOneNameAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.outside("twice")
	w.keep("twice-auth", s.Admin)
	w.unmanaged("twice")
	w.repo.Commit(map[string]string{"rotations/twice.yaml": w.document("twice", s.at(), authSecret("twice"), trusted) + "---\n" + w.request("twice", "twice")}, "Rotate twice")
	require.Equal(t, 1, w.once("--allow-hosts", "127.0.0.1"))

	failed := w.status("twice").condition("Failed")
	require.Equal(t, "AmbiguousTarget", failed.Reason)
	require.Equal(t, w.namespace+"/twice is both a MSSQLServer of KubeDB and a SQLServer document in Git; give the SQLServer document another name", w.status("twice").why())
	require.True(t, s.lets(s.Admin))
	require.False(t, w.keeps("twice"))
}
