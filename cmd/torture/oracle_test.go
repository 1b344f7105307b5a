package main

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// The passwords of the episode that is judged, and the hash that a stand-in has of each.
const before, after, other = "Before-1-a7Kq", "After-2-x9Pd", "Other-3-k4Tz"

// hashOf has a stand-in store a password, and reads it from its disk as the oracle does.
func hashOf(t *testing.T, password string) string {
	t.Helper()
	folder := t.TempDir()
	running, err := mssqltest.Start(mssqltest.Options{DataDir: folder, SAPassword: credential.NewPassword(password)})
	require.NoError(t, err)
	require.NoError(t, running.Close())
	s, err := readServer(&database{kind: "standalone", logins: []string{"sa"}}, "standalone-0", folder)
	require.NoError(t, err)
	require.Empty(t, s.logins["sa"].closed)
	return s.logins["sa"].hash
}

// atRest is what an episode looks like in which one request was served and nothing went wrong.
func atRest(hash string) facts {
	d := &database{kind: "standalone", logins: []string{"sa"}, volumes: []string{"data-standalone-0"}}
	s := status{
		Commit: "c0ffee00", Path: "rotation-status/ns/r1-standalone.yaml", request: "r1-standalone", rotation: "id-1", database: "standalone",
		Phase: successful, Conditions: []condition{
			{Type: "RotateAuth", Status: "True"},
			{Type: successful, Status: "True", LastTransitionTime: "2026-11-28T16:00:00Z"},
		},
	}
	begun := s
	begun.Commit, begun.Phase, begun.Conditions = "beef0000", "Progressing", s.Conditions[:1]
	return facts{
		plan:      Plan{Agents: 1, Databases: []string{"standalone"}},
		databases: []*database{d},
		servers: []server{{database: "standalone", replica: "standalone-0", logins: map[string]login{
			"sa": {hash: hash, changes: 1, refused: 1},
		}}},
		secrets: map[string]secretData{
			"standalone-auth": {"username": "sa", "password": after, "username.prev": "sa", "password.prev": before},
			"standalone-auth-keeper": {"live.username": "sa", "live.password": after, "previous.username": "sa", "previous.password": before,
				"finished": `[{"id":"id-1","request":"ns/r1-standalone","phase":"Successful"}]`},
		},
		tip: []status{s}, wanted: []string{"r1-standalone"}, lines: []lineage{{tip: "c0ffee00", versions: []status{begun, s}}},
	}
}

// then adds one more version of a status to the history.
func (f *facts) then(change func(*status)) {
	s := f.tip[0]
	s.Commit, s.Conditions = "deadbeef", append([]condition(nil), s.Conditions...)
	change(&s)
	f.lines[0].versions = append(f.lines[0].versions, s)
}

func TestTheOracleSeesEachBrokenPromise(t *testing.T) {
	hash := hashOf(t, after)
	require.Empty(t, atRest(hash).violations(), "a good episode")
	alter := func(f *facts, change func(*login)) {
		l := f.servers[0].logins["sa"]
		change(&l)
		f.servers[0].logins["sa"] = l
	}
	add := func(c condition) func(*facts) {
		return func(f *facts) { f.then(func(s *status) { s.Conditions = append(s.Conditions, c) }) }
	}
	for name, planted := range map[string]struct {
		plant func(*facts)
		seen  string
	}{
		"a password was in no keeper": {func(f *facts) { f.lost = []string{"x"} }, "lost: x"},
		"the auth Secret opens nothing": {func(f *facts) { f.secrets["standalone-auth"]["password"] = before },
			"closed: the auth Secret of standalone does not open standalone-0"},
		"the auth Secret is gone": {func(f *facts) { delete(f.secrets, "standalone-auth") }, "closed: "},
		"the login is locked": {func(f *facts) { alter(f, func(l *login) { l.closed = "it is locked" }) },
			"closed: sa of standalone-0: it is locked"},
		"the keeper says something else": {func(f *facts) { f.secrets["standalone-auth-keeper"]["live.password"] = before }, "published: "},
		"a credential is staged":         {func(f *facts) { f.secrets["standalone-auth-keeper"]["next.password"] = other }, "staged: "},
		"the database is paused":         {func(f *facts) { f.paused = []string{"standalone"} }, "paused: standalone"},
		"a pod is not Ready":             {func(f *facts) { f.unready = []string{"pod standalone-0"} }, "not ready: pod standalone-0"},
		"a request has not ended":        {func(f *facts) { f.tip[0].Phase = "Progressing" }, "unended: r1-standalone is Progressing"},
		"a request was overlooked": {func(f *facts) { f.wanted = append(f.wanted, "r2-standalone") },
			"unended: r2-standalone has no status"},
		"a request has failed": {func(f *facts) { f.tip[0].Phase = failed }, "failed: r1-standalone Failed"},
		"a rotation ran twice": {func(f *facts) { alter(f, func(l *login) { l.changes = 2 }) },
			"repeated: the password of sa on standalone-0 was changed 2 times"},
		"two passwords for a rotation": {func(f *facts) { f.repeated = []string{"x"} }, "repeated: x"},
		"too many failed logins": {func(f *facts) { alter(f, func(l *login) { l.refused = 3 }) },
			"logins: standalone-0 has refused 3 logins of sa"},
		"a password in a log":         {func(f *facts) { f.leaks = []string{"agent-0.log"} }, "leaked: agent-0.log"},
		"an agent panicked":           {func(f *facts) { f.panics = []string{"agent-0.log: panic: x"} }, "panic: "},
		"the audit does not prove it": {func(f *facts) { f.audit = "broken  StatusRewritten" }, "audit: broken"},
		"an end became another":       {func(f *facts) { f.then(func(s *status) { s.Phase = failed }) }, "rewritten: "},
		"an end was taken back":       {func(f *facts) { f.then(func(s *status) { s.Phase = "Progressing" }) }, "rewritten: "},
		"an ended status was removed": {func(f *facts) { f.then(func(s *status) { s.removed = true }) }, "rewritten: "},
		"an ended status lost a condition": {func(f *facts) { f.then(func(s *status) { s.Conditions = s.Conditions[1:] }) },
			"rewritten: "},
		"an ended status got a condition": {add(condition{Type: "Waiting"}), "rewritten: "},
		"a condition of an end changed": {func(f *facts) { f.then(func(s *status) { s.Conditions[0].LastTransitionTime = "2026" }) },
			"rewritten: "},
		"an end is another after a force-push": {func(f *facts) {
			f.lines = append(f.lines, lineage{versions: []status{f.tip[0]}})
			f.lines[1].versions[0].Phase = failed
		}, "rewritten: "},
	} {
		t.Run(name, func(t *testing.T) {
			f := atRest(hash)
			planted.plant(&f)
			require.Contains(t, strings.Join(f.violations(), "\n"), planted.seen)
		})
	}
}

func TestTheOracleLetsWhatIsAllowed(t *testing.T) {
	hash := hashOf(t, after)
	for name, allow := range map[string]func(*facts){
		"a condition about the manifest, after the end": func(f *facts) {
			f.then(func(s *status) {
				s.Conditions = append(s.Conditions, condition{Type: "RequestChanged", Status: "True"})
			})
		},
		"a rollback that came too late": func(f *facts) {
			f.tip = append(f.tip, status{request: "r2-standalone", Phase: "Denied",
				Conditions: []condition{{Type: "Denied", Reason: "NothingToRollBack"}}})
		},
		"a failed login for a run that was killed": func(f *facts) {
			f.kills = 1
			f.servers[0].logins["sa"] = login{hash: hash, changes: 1, refused: 3}
		},
		"a rotation that only the keeper remembers": func(f *facts) { f.lines, f.tip, f.wanted = nil, nil, nil },
		"a commit that people have dropped": func(f *facts) {
			f.plan.Steps, f.audit = []Step{{Do: forcePush}}, "broken  SourceMissing"
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := atRest(hash)
			allow(&f)
			require.Empty(t, f.violations())
		})
	}
}

func TestWhatAServerAcceptsIsLookedForInTheKeeper(t *testing.T) {
	d := &database{kind: "pair", logins: []string{"app_a", "app_b"}}
	first, second := hashOf(t, before), hashOf(t, after)
	v := &vault{initial: map[string]string{"pair app_a": first, "pair app_b": first}}
	keeper := func(entry, login, password string) secretData {
		return secretData{entry + ".username": login, entry + ".password": password}
	}
	require.True(t, v.kept(d, "pair", "app_a", first, nil), "before any rotation")
	require.False(t, v.kept(d, "pair", "app_a", second, nil), "changed, and nothing staged")
	require.False(t, v.kept(d, "pair", "app_a", first, keeper("next", "app_b", after)), "clients still use it")
	require.True(t, v.kept(d, "pair", "app_b", first, keeper("live", "app_a", before)), "its turn has not come")
	require.False(t, v.kept(d, "pair", "app_b", second, keeper("live", "app_b", before)), "another password")
	require.False(t, v.kept(d, "pair", "app_b", second, keeper("live", "app_a", after)), "another login")
	for _, entry := range []string{"next", "live", "previous", "retired", "dropped"} {
		require.True(t, v.kept(d, "pair", "app_b", second, keeper(entry, "app_b", after)), entry)
	}
}

func TestAServersFilesAreRead(t *testing.T) {
	hash := hashOf(t, before)
	require.True(t, matches(hash, before))
	for _, wrong := range []string{after, "", before + " ", strings.ToLower(before)} {
		require.False(t, matches(hash, wrong))
	}
	raw, err := hex.DecodeString(hash[2:])
	require.NoError(t, err)
	require.Len(t, raw, 70, "as sys.sql_logins shows it")

	folder := t.TempDir()
	running, err := mssqltest.Start(mssqltest.Options{DataDir: folder, SAPassword: credential.NewPassword(before)})
	require.NoError(t, err)
	o := &outside{folder: folder, sa: credential.NewPassword(before), address: running.Addr()}
	require.NoError(t, o.createLogin(t.Context(), "app", credential.NewPassword(after)))
	o.sa = credential.NewPassword(other)
	require.Error(t, o.createLogin(t.Context(), "never", credential.NewPassword(after)))
	require.NoError(t, running.Close())
	s, err := readServer(&database{kind: "outside", logins: []string{"app", "sa"}}, "outside", folder)
	require.NoError(t, err)
	require.True(t, matches(s.logins["app"].hash, after))
	require.Equal(t, 1, s.logins["sa"].refused)
	require.Zero(t, s.logins["app"].refused)
}

func TestAPasswordIsFoundInEverySpelling(t *testing.T) {
	secret := []credential.Password{credential.NewPassword("Canary/7=fK2")}
	for _, text := range append(credential.Forms(secret[0]), secret[0].Reveal()) {
		require.Equal(t, []string{"log"}, leaks(secret, map[string]string{"log": "x" + text + "y", "else": "<secret>"}))
	}
}

func TestAStatusIsReadAsPeopleReadIt(t *testing.T) {
	s, err := readStatus("c0ffee00", "rotation-status/demo/r.yaml", `
apiVersion: ops.kubedb.com/v1alpha1
kind: MSSQLServerOpsRequest
metadata:
  name: r
  namespace: demo
  annotations: {gitrota.dev/rotation-id: 0ecbb2dac1b00f5312cb35ee0191738c}
spec: {type: RotateAuth, databaseRef: {name: quickstart}}
status:
  phase: Successful
  conditions:
  - {type: RotateAuth, status: "True", reason: RotateAuth, message: begun, lastTransitionTime: "2026-11-28T00:13:31Z"}
  - {type: Successful, status: "True", reason: Successful, message: done, lastTransitionTime: "2026-11-28T00:13:33Z"}
`)
	require.NoError(t, err)
	require.Equal(t, []string{"r", "0ecbb2dac1b00f5312cb35ee0191738c", "quickstart", successful, "2026-11-28T00:13:33Z"},
		[]string{s.request, s.rotation, s.database, s.Phase, s.ended()})
	require.True(t, isStatus("rotation-status/demo/r.yaml"))
	for _, file := range []string{"rotation-status/README.md", "rotation-status/policies.yaml", "rotations/demo/r.yaml"} {
		require.False(t, isStatus(file))
	}
}
