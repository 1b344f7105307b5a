package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// wrong is a request that must not run, and what its author is told.
type wrong struct {
	name     string // of the request, its file and, unless the manifest says otherwise, its database
	manifest string // of the request; empty: for the Secret below
	secret   string // in Git, in a file of its own
	phase    string
	reason   string
	message  string // R: stands for rotations/<name>.yaml:, S: for rotations/<name>-secret.yaml:, N for the namespace
}

// TestAWrongRequestSaysWhereAndWhyAndHarmsNothing pushes everything that can be wrong about a request in one commit
// together with one request that is right.
func TestAWrongRequestSaysWhereAndWhyAndHarmsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cases := append(wrongManifests(w), wrongSecrets(w)...)
	files, databases := map[string]string{}, []string{"good"}
	for i, c := range cases {
		if c.manifest == "" {
			cases[i].manifest = w.request(c.name, c.name, "authentication:", "  secretRef:", "    name: "+c.name)
		}
		files["rotations/"+c.name+".yaml"] = cases[i].manifest
		if c.secret != "" {
			files["rotations/"+c.name+"-secret.yaml"] = c.secret
		}
		databases = append(databases, c.name)
	}
	w.databases(databases...)
	w.cluster.Kubectl(t, "-n", w.namespace, "create", "secret", "generic", "type-in-cluster", "--type=example.com/login",
		"--from-literal=username=sa", "--from-literal=password=Mssqlserver-type-1")
	before := map[string]traces{}
	for _, c := range cases {
		before[c.name] = w.traces(c.name)
	}
	files["rotations/good.yaml"] = w.request("good", "good")
	files["rotations/twin-again.yaml"] = w.request("twin", "twin", "timeout: 1m")
	files["rotations/broken.yaml"] = w.request("broken", "good", "timeout: \"5m") + "---\n" + w.request("beside-broken", "no-other-database")
	files["rotations/elsewhere.yaml"] = strings.Replace(w.request("elsewhere", "good"), w.namespace, "default", 1)
	files["rotations/nameless.yaml"] = strings.Replace(w.request("nameless", "good"), "  namespace: "+w.namespace+"\n", "", 1)
	w.repo.Commit(files, "Rotate much")

	agent := w.agent()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := w.of(t)
			w.eventually("the request has ended", func() bool { return w.status(c.name).ended() })
			s := w.status(c.name)
			require.Equal(t, c.phase, s.phase())
			verdict := s.condition(c.phase)
			require.Equal(t, c.reason, verdict.Reason)
			file := "rotations/" + c.name
			require.Equal(t, strings.NewReplacer("R:", file+".yaml:", "S:", file+"-secret.yaml:", "N/", w.namespace+"/").Replace(c.message), verdict.Message)
			require.Equal(t, before[c.name], w.traces(c.name))
		})
	}
	t.Run("a file that cannot be parsed is reported, and its other documents are served", func(t *testing.T) {
		w := w.of(t)
		problems := w.repo.Show("rotation-status/problems.yaml")
		require.Contains(t, problems, "message: 'the document is not valid YAML: found unexpected end of stream'\n  phase: Denied\n  reason: InvalidYAML\n  where: rotations/broken.yaml:10\n")
		require.Contains(t, problems, "where: rotations/nameless.yaml:4\n")
		require.Contains(t, problems, "metadata.namespace is missing")
		require.Contains(t, problems, "  reason: PlaintextSecret\n  where: rotations/plaintext-secret.yaml:8\n")
		w.eventually("beside-broken has ended", func() bool { return w.status("beside-broken").ended() })
		require.Equal(t, "Failed", w.status("beside-broken").phase())
		require.Contains(t, w.status("beside-broken").condition("Failed").Message, "rotations/broken.yaml:12: there is no MSSQLServer")
	})
	t.Run("a database of another namespace is not found", func(t *testing.T) {
		w := w.of(t)
		w.namespace = "default"
		w.eventually("elsewhere has ended", func() bool { return w.status("elsewhere").ended() })
		require.Equal(t, "Failed", w.status("elsewhere").phase())
		require.Equal(t, "rotations/elsewhere.yaml:1: there is no MSSQLServer default/good; check spec.databaseRef.name and the namespace; a server that is not KubeDB's needs a SQLServer document beside the request",
			w.status("elsewhere").condition("Failed").Message)
	})
	t.Run("what is right is served, in the same push and later", func(t *testing.T) {
		w := w.of(t)
		w.eventually("good is Successful", func() bool { return w.status("good").phase() == "Successful" })
		w.repo.Commit(map[string]string{"rotations/later.yaml": w.request("later", "good")}, "Rotate good again")
		w.eventually("later is Successful", func() bool { return w.status("later").phase() == "Successful" })
		require.Equal(t, 2, w.passwordChanges("good"))
	})
	t.Run("a leaked password is not repeated", func(t *testing.T) {
		require.NotContains(t, agent.log(), leaked)
		for _, file := range w.repo.Files() {
			if strings.HasPrefix(file, "rotation-status/") {
				require.NotContains(t, w.repo.Show(file), leaked, file)
			}
		}
	})
	agent.requireIdle(0)
	require.Equal(t, 0, agent.terminate(), "the agent has lived through it")
}

func wrongManifests(w *world) []wrong {
	changed := func(name, old, new string) string { return strings.Replace(w.request(name, name), old, new, 1) }
	return []wrong{
		{"unknown-type", changed("unknown-type", "RotateAuth", "RotateAut"), "", "Denied", "UnsupportedType",
			`R:7: spec.type "RotateAut" is unknown; the type that gitrota serves is RotateAuth`},
		{"type-of-kubedb", changed("type-of-kubedb", "RotateAuth", "Restart"), "", "Denied", "UnsupportedType",
			`R:7: spec.type Restart is KubeDB's, and not served by gitrota; apply it to the cluster for KubeDB's operator, and keep it out of this folder`},
		{"unknown-field", w.request("unknown-field", "unknown-field", "timout: 5m"), "", "Denied", "UnknownField",
			`R:10: spec has no field "timout"; did you mean "timeout"?`},
		{"many-flaws", w.request("many-flaws", "many-flaws", "timeout: 300", "apply: Never"), "", "Denied", "InvalidField",
			"R:10: spec.timeout is not a duration above zero; write it with its unit, such as 90s, 5m or 1h30m\nR:11: spec.apply is \"Never\"; use IfReady or Always"},
		{"twin", w.request("twin", "twin"), "", "Denied", "DuplicateName",
			"rotations/twin-again.yaml:1: there is another MSSQLServerOpsRequest named N/twin at R:1; rename or remove one of them"},
		{"no-database", w.request("no-database", "no-such-database"), "", "Failed", "DatabaseNotFound",
			"R:1: there is no MSSQLServer N/no-such-database; check spec.databaseRef.name and the namespace; a server that is not KubeDB's needs a SQLServer document beside the request"},
	}
}

// leaked is the password that somebody has pushed in plain text.
const leaked = "Mssqlserver-leaked-1"

func wrongSecrets(w *world) []wrong {
	plain := func(name, username, password string) string {
		if len(password) > 20 {
			w.remember(credential.NewPassword(password))
		}
		return w.basicAuth(name, username, fmt.Sprintf("%q", password))
	}
	sealed := func(name, username, password string) string { return w.encrypt(plain(name, username, password)) }
	// unquoted is what YAML takes for something else than a string.
	unquoted := func(name, password string) string { return w.encrypt(w.basicAuth(name, "sa", password)) }
	changed := func(name, old, new string) string {
		return strings.Replace(sealed(name, "sa", "Mssqlserver-changed-1"), old, new, 1)
	}
	foreign, err := age.GenerateX25519Identity()
	require.NoError(w.T, err)
	recipient := foreign.Recipient().String()
	foreignSecret, err := sopsfile.Encrypt([]byte(plain("foreign-key", "sa", "Mssqlserver-foreign-1")), []string{recipient}, "^(data|stringData)$")
	require.NoError(w.T, err)
	const (
		another   = "; supply another password under a new request"
		converted = " and not a string when it was encrypted, and would not come out as it was meant; put it in quotes in the plaintext, and encrypt it again"
	)
	return []wrong{
		{"no-secret", "", "", "Denied", "SuppliedSecretUnusable",
			"R:1: spec.authentication.secretRef names the Secret N/no-secret, which is neither in Git nor in the cluster; add it to Git, encrypted with SOPS, or create it in the cluster, then add a new request"},
		{"plaintext", "", w.basicAuth("plaintext", "sa", leaked), "Denied", "PlaintextSecret",
			"R:1: S:8: a value of this Secret is readable in Git, and in its history: treat the password as leaked and never use it again; choose a new password, and encrypt the values and nothing else: sops --encrypt --encrypted-regex '^(data|stringData)$' --in-place FILE"},
		{"foreign-key", "", string(foreignSecret), "Denied", "Undecryptable",
			"R:1: S:1: the Secret cannot be decrypted: none of gitrota's age keys is a recipient of the file; its age recipients are " + recipient + `: add gitrota's with "sops updatekeys" or "sops rotate --add-age"`},
		{"changed-type", "", changed("changed-type", "type: kubernetes.io/basic-auth", "type: Opaque"), "Denied", "Undecryptable",
			"R:1: S:1: the Secret cannot be decrypted: the MAC does not match: the file was changed after it was encrypted"},
		{"flipped", "", changed("flipped", "password: ENC[AES256_GCM,data:", "password: ENC[AES256_GCM,data:AAAA"), "Denied", "Undecryptable",
			"R:1: S:1: the Secret cannot be decrypted: an encrypted value is damaged, or was moved to another place"},
		{"type-in-git", "", w.encrypt(strings.Replace(plain("type-in-git", "sa", "Mssqlserver-in-git-1"), "basic-auth", "tls", 1)), "Denied", "InvalidSecret",
			`R:1: S:1: a Secret of the type "kubernetes.io/tls" holds no credential; use type: kubernetes.io/basic-auth`},
		{"type-in-cluster", "", "", "Denied", "SuppliedSecretUnusable",
			"R:1: the Secret N/type-in-cluster in the cluster is of type example.com/login, not kubernetes.io/basic-auth; create it with --type=kubernetes.io/basic-auth"},
		{"other-username", "", sealed("other-username", "admin", "Mssqlserver-other-1"), "Denied", "UsernameChanged",
			`R:1: database username cannot be changed: the Secret (S:1) has the username "admin", the live one is "sa"; set its username to the live one`},
		{"weak", "", sealed("weak", "sa", "mssqlserver-is-too-weak"), "Denied", "PasswordUnusable",
			"R:1: the Secret (S:1): the password is too simple: it has 2 of the four classes upper case, lower case, digits and symbols, SQL Server's policy wants 3" + another},
		{"too-long", "", sealed("too-long", "sa", "Aa1"+strings.Repeat("x", 126)), "Denied", "PasswordUnusable",
			"R:1: the Secret (S:1): the password is too long: it has 129 characters, SQL Server takes 128 at most" + another},
		{"empty", "", sealed("empty", "sa", ""), "Denied", "InvalidSecret",
			"R:1: S:9: the key password of the Secret is empty; it needs username and password"},
		{"line-break", "", sealed("line-break", "sa", "Mssqlserver-break-1\n"), "Denied", "InvalidSecret",
			"R:1: S:9: the key password of the Secret holds a line break, perhaps one at its end that an editor or echo has left; correct it and encrypt the file again"},
		{"control", "", sealed("control", "sa", "Mssqlserver\tcontrol-1"), "Denied", "PasswordUnusable",
			"R:1: the Secret (S:1): the password holds a control character (a line break or tab, often from `echo` without -n), which clients cannot send" + another},
		{"emoji", "", sealed("emoji", "sa", "Mssqlserver-emoji-1😀"), "Denied", "PasswordUnusable",
			"R:1: the Secret (S:1): the password holds a character outside the Basic Multilingual Plane (an emoji, for example), which SQL Server clients send wrongly" + another},
		{"octal", "", unquoted("octal", "0123"), "Denied", "NotAString", "R:1: S:9: stringData.password was a number" + converted},
		{"exponent", "", unquoted("exponent", "1e3"), "Denied", "NotAString", "R:1: S:9: stringData.password was a number" + converted},
		{"word-true", "", unquoted("word-true", "true"), "Denied", "NotAString", "R:1: S:9: stringData.password was a boolean" + converted},
		{"date", "", unquoted("date", "2026-11-23"), "Denied", "NotAString", "R:1: S:9: stringData.password was a date" + converted},
		{"word-null", "", unquoted("word-null", "null"), "Denied", "InvalidSecret",
			"R:1: S:9: the key password of the Secret is empty; it needs username and password"},
		// sops follows YAML 1.2, where no is a string: the password is these two letters.
		{"word-no", "", unquoted("word-no", "no"), "Denied", "PasswordUnusable",
			"R:1: the Secret (S:1): the password is too short: it has 2 characters, SQL Server's policy wants 8 or more" + another},
	}
}

// of is the same world for a part of its test.
func (w *world) of(t *testing.T) *world {
	return &world{T: t, cluster: w.cluster, namespace: w.namespace, git: w.git, repo: w.repo, secrets: map[credential.Password]bool{}}
}

func (s status) ended() bool {
	switch s.phase() {
	case "Successful", "Failed", "Denied", "Skipped":
		return true
	}
	return false
}

// requireIdle waits until the agent does nothing but poll: three times in a row it finds nothing to do and writes
// nothing. So many requests wait for something, each with its database.
func (p *agentProcess) requireIdle(waiting int) {
	p.w.Helper()
	var polls int
	var head string
	p.w.eventually("three polls find nothing to do", func() bool {
		_, metrics := p.get("/metrics")
		idle := metric(metrics, "gitrota_requests_unfinished") == waiting && metric(metrics, "gitrota_rotations_running") == waiting &&
			metric(metrics, "gitrota_journal_pending") == 0
		polled, now := metric(metrics, `gitrota_polls_total{result="success"}`), p.w.repo.Head()
		if !idle || now != head {
			polls, head = polled, now
			return false
		}
		return polled >= polls+3
	})
}

// databases makes many databases as the guide does, side by side, and waits until they are Ready.
func (w *world) databases(names ...string) {
	w.Helper()
	without := map[string]string{}
	for _, name := range names {
		without[name] = "{}"
	}
	w.databasesWith(without)
}

// databasesWith makes databases whose servers have faults, by name; a fault must not keep KubeDB's health check out.
func (w *world) databasesWith(faults map[string]string) {
	w.Helper()
	guide, err := os.ReadFile("../../examples/push/mssqlserver-quickstart.yaml")
	require.NoError(w.T, err)
	var all strings.Builder
	for name, fault := range faults {
		metadata := fmt.Sprintf("namespace: %s\n  annotations:\n    devcluster.gitrota.dev/faults: '%s'", w.namespace, fault)
		fmt.Fprintln(&all, strings.NewReplacer("mssqlserver-quickstart", name, "namespace: demo", metadata).Replace(string(guide))+"---")
	}
	w.cluster.Apply(w.T, all.String())
	for name := range faults {
		w.cluster.WaitReady(w.T, w.namespace, name)
		w.faulty(name, faults[name])
		w.remember(w.live(name).Password)
	}
}

// traces are what a rotation leaves on its database. A request that is refused leaves none.
type traces struct {
	AuthSecret   string // its resource version
	Keeper       bool
	Paused       string            // the message of the condition Paused
	Pauses       int               // gitrota's events that announce one
	Pods         map[string]string // UIDs by name
	Changes      int               // of the password
	FailedLogins int
}

func (w *world) traces(database string) traces {
	w.Helper()
	ctx := context.Background()
	found := traces{AuthSecret: w.secret(database + "-auth").ResourceVersion, Keeper: w.keeps(database), Pods: map[string]string{}}
	object, err := w.cluster.Dynamic.Resource(kubetest.MSSQLServers).Namespace(w.namespace).Get(ctx, database, metav1.GetOptions{})
	require.NoError(w.T, err)
	conditions, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
	require.NoError(w.T, err)
	for _, c := range conditions {
		if fields := c.(map[string]any); fields["type"] == "Paused" {
			found.Paused = fields["message"].(string)
		}
	}
	events, err := w.cluster.Client.CoreV1().Events(w.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + database})
	require.NoError(w.T, err)
	for _, event := range events.Items {
		if strings.HasPrefix(event.Message, "Pausing") {
			found.Pauses++
		}
	}
	pods, err := w.cluster.Client.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + database})
	require.NoError(w.T, err)
	for _, pod := range pods.Items {
		found.Pods[pod.Name] = string(pod.UID)
	}
	found.Changes, found.FailedLogins = w.passwordChanges(database), w.failedLogins(database)
	return found
}

func TestAManifestThatChangesAfterItsRequestHasEndedRotatesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databases("db", "other")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	agent := w.agent()
	w.eventually("r is Successful", func() bool { return w.status("r").phase() == "Successful" })
	served, after := w.status("r"), w.traces("db")

	for _, change := range []struct{ name, manifest, reason, message string }{
		{"another database", w.request("r", "other"), "SpecImmutable",
			"rotations/r.yaml:1: the spec differs from the one that was served, and a request is immutable; nothing was done; to rotate again add a request with another name"},
		{"a mistake", w.request("r", "db", "aply: Always"), "UnknownField",
			`rotations/r.yaml:10: spec has no field "aply"; did you mean "apply"?`},
	} {
		w.repo.Commit(map[string]string{"rotations/r.yaml": change.manifest}, "Change the request to "+change.name)
		w.eventually(change.name+" is noted", func() bool { return w.status("r").condition("RequestChanged").Reason == change.reason })
		s := w.status("r")
		require.Equal(t, change.message, s.condition("RequestChanged").Message)
		require.Equal(t, "Successful", s.phase(), "what was done stays done")
		require.Equal(t, served.types(), s.types()[:len(served.types())])
		require.Equal(t, served.Metadata, s.Metadata)
		agent.requireIdle(0)
	}
	require.Equal(t, after, w.traces("db"))
	require.Zero(t, w.passwordChanges("other"))

	w.repo.Commit(map[string]string{"rotations/next.yaml": w.request("next", "other")}, "Rotate other")
	w.eventually("next is Successful", func() bool { return w.status("next").phase() == "Successful" })
	require.Equal(t, 0, agent.terminate())
}

func TestAMendedManifestRunsUnderItsOwnName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.databases("db")
	before := w.traces("db")
	w.repo.Commit(map[string]string{
		"rotations/mistyped.yaml": strings.Replace(w.request("mistyped", "db"), "RotateAuth", "RotateAut", 1),
		"rotations/unread.yaml":   strings.Replace(w.request("unread", "db"), "spec:", "spec", 1),
	}, "Rotate db")
	agent := w.agent()
	w.eventually("mistyped is Denied", func() bool { return w.status("mistyped").phase() == "Denied" })
	w.eventually("unread is reported", func() bool { return strings.Contains(w.files(), "problems.yaml") })
	require.Equal(t, before, w.traces("db"))

	w.repo.Commit(map[string]string{"rotations/mistyped.yaml": w.request("mistyped", "db")}, "Mend it")
	w.eventually("mistyped is Successful", func() bool { return w.status("mistyped").phase() == "Successful" })
	require.NotContains(t, w.status("mistyped").types(), "Denied")
	require.Equal(t, 1, w.passwordChanges("db"))

	w.repo.Commit(map[string]string{"rotations/unread.yaml": w.request("unread", "db")}, "Mend the other one")
	w.eventually("unread is Successful", func() bool { return w.status("unread").phase() == "Successful" })
	require.NotContains(t, w.files(), "problems.yaml", "the report goes with what it reports")
	require.Equal(t, 2, w.passwordChanges("db"))
	agent.requireIdle(0)
	require.Equal(t, 0, agent.terminate())
}

// files lists what is in the repository.
func (w *world) files() string { return strings.Join(w.repo.Files(), "\n") }
