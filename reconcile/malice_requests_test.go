package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
)

// asks is a request whose metadata and spec are the attempt.
func asks(name, namespace, spec string) string {
	return fmt.Sprintf("apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata: {name: %s, namespace: %s}\nspec: {type: RotateAuth, %s}\n", name, namespace, spec)
}

// sealed is a Secret that SOPS has encrypted for some.
func sealed(t *testing.T, name, namespace, password string, to ...*age.X25519Identity) string {
	t.Helper()
	var recipients []string
	for _, identity := range to {
		recipients = append(recipients, identity.Recipient().String())
	}
	plain := fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\ntype: kubernetes.io/basic-auth\nstringData: {username: sa, password: %s}\n", name, namespace, password)
	content, err := sopsfile.Encrypt([]byte(plain), recipients, "^(data|stringData)$")
	require.NoError(t, err)
	return string(content)
}

// evil is a SQLServer document that would have a credential sent to somebody's own server.
func evil(name string) string {
	return "apiVersion: gitrota.dev/v1alpha1\nkind: SQLServer\nmetadata: {name: " + name + ", namespace: demo}\n" +
		"spec: {endpoints: ['evil.example.com:1433'], authSecret: {name: db-auth}, tls: {trustServerCertificate: true}}\n"
}

// bomb is a request that would be ten times larger with each of its lines.
func bomb(lines int) string {
	text := "apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata: {name: bomb, namespace: demo}\nspec:\n  a0: &a0 x\n"
	for i := 1; i < lines; i++ {
		text += fmt.Sprintf("  a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), i-1)
	}
	return text
}

const (
	noName     = "; use lower case letters, digits and dashes, beginning and ending with a letter or digit"
	noFolder   = " is in no folder that the guardrails list, so it may be about no namespace; move it into a folder of the guardrails' spec.paths"
	moveFolder = "; move it into the folder of that namespace, or let whoever runs gitrota add it to the guardrails' spec.paths"
	noAnchors  = ": anchors (&) and aliases (*) are not read here; write the value out, or put it in quotes if it is meant to begin with & or *"
	db         = "databaseRef: {name: db}"
)

func TestARequestThatReachesForWhatIsNotItsOwnIsNamedAndChangesNothing(t *testing.T) {
	own, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	foreign, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	keys, err := sopsfile.ParseKeys([]byte(own.String()))
	require.NoError(t, err)
	rails := tenancy
	rails.Recipients = []string{own.Recipient().String()}
	b := besiege(newStage(t), reconcile.Options{Guardrails: func() guardrails.Guardrails { return rails }, Keys: func() sopsfile.Keys { return keys }})

	var bombed []string
	for line := range 9 {
		bombed = append(bombed, fmt.Sprintf("rotations/demo/bomb.yaml:%d%s", line+5, noAnchors))
	}
	attempts := []struct{ story, file, content, said string }{
		{"a secretRef with a namespace of its own", "demo/a.yaml", asks("a", "demo", db+", authentication: {secretRef: {name: token, namespace: kube-system}}"),
			`UnknownField rotations/demo/a.yaml:4: spec.authentication.secretRef has no field "namespace"; the fields here are apiGroup, kind, name`},
		{"a secretRef whose name leads to another namespace", "demo/b.yaml", asks("b", "demo", db+", authentication: {secretRef: {name: kube-system/token}}"),
			`InvalidField rotations/demo/b.yaml:4: spec.authentication.secretRef.name "kube-system/token" is not a Kubernetes name` + noName},
		{"a Secret that lies in Git for another namespace", "demo/c.yaml", asks("c", "demo", db+", authentication: {secretRef: {name: theirs}}"),
			"SuppliedSecretUnusable rotations/demo/c.yaml:1: spec.authentication.secretRef names the Secret demo/theirs, which is neither in Git nor in the cluster; add it to Git, encrypted with SOPS, or create it in the cluster, then add a new request"},
		{"a database of another namespace", "demo/d.yaml", asks("d", "demo", "databaseRef: {name: db, namespace: team-a}"),
			`UnknownField rotations/demo/d.yaml:4: spec.databaseRef has no field "namespace"; the fields here are name`},
		{"a database whose name leads to another namespace", "team-a/e.yaml", asks("e", "team-a", "databaseRef: {name: ../demo/db}"),
			`InvalidField rotations/team-a/e.yaml:4: spec.databaseRef.name "../demo/db" is not a Kubernetes name` + noName},
		{"a Secret that somebody else can decrypt", "demo/f.yaml", asks("f", "demo", db+", authentication: {secretRef: {name: leaky}}"),
			fmt.Sprintf(`ForeignRecipient rotations/demo/leaky.yaml:1: the file can be decrypted with the age key %q, which is not one of the recipients that the guardrails allow; choose a new password and encrypt it for allowed keys only: this one stays readable in Git's history`, foreign.Recipient())},
		{"a server that is not on the list", "demo/g.yaml", asks("g", "demo", "databaseRef: {name: mine}") + "---\n" + evil("mine"),
			"EndpointNotAllowed rotations/demo/g.yaml:1: SQLServer demo/mine sends its credential to evil.example.com:1433, which is not on the list of hosts that gitrota may connect to; let whoever runs gitrota add it to --allow-hosts, or correct the endpoint"},
		{"a request about another team's database", "team-a/h.yaml", asks("h", "demo", db),
			`ForeignNamespace rotations/team-a/h.yaml:1: files in "rotations/team-a" may be about the namespaces team-a, team-a-*, and not about "demo"` + moveFolder},
		{"a folder that only begins like an allowed one", "demo-too/i.yaml", asks("i", "demo", db),
			`ForeignNamespace rotations/demo-too/i.yaml:1: the file "rotations/demo-too/i.yaml"` + noFolder},
		{"a request by hand where schedules ask", "scheduled/demo/j.yaml", asks("j", "demo", db),
			`ForeignNamespace rotations/scheduled/demo/j.yaml:1: the file "rotations/scheduled/demo/j.yaml"` + noFolder},
		{"another case", "team-a/k.yaml", asks("k", "Demo", db), `InvalidField rotations/team-a/k.yaml:3: metadata.namespace "Demo" is not a Kubernetes name` + noName},
		{"a letter that looks the same", "team-a/l.yaml", asks("l", "d\u0435mo", db), "InvalidField rotations/team-a/l.yaml:3: metadata.namespace \"d\u0435mo\" is not a Kubernetes name" + noName},
		{"a character that nobody sees", "team-a/m.yaml", asks("m", "demo\u200b", db), `InvalidField rotations/team-a/m.yaml:3: metadata.namespace "demo\u200b" is not a Kubernetes name` + noName},
		{"a namespace with a way out", "team-a/n.yaml", asks("n", "team-a/../demo", db), `InvalidField rotations/team-a/n.yaml:3: metadata.namespace "team-a/../demo" is not a Kubernetes name` + noName},
		{"a name with a way out", "team-a/o.yaml", asks("../../rotations/o", "team-a", db), `InvalidField rotations/team-a/o.yaml:3: metadata.name "../../rotations/o" is not a Kubernetes name` + noName},
		{"a second document that shadows the first", "demo/p.yaml", asks("p", "demo", db) + "---\n" + asks("p", "demo", db+", apply: Always"),
			"DuplicateName rotations/demo/p.yaml:1: there is another MSSQLServerOpsRequest named demo/p at rotations/demo/p.yaml:6; rename or remove one of them"},
		{"a key that is there twice", "demo/q.yaml", strings.Replace(asks("q", "demo", db), "kind:", "metadata: {name: q, namespace: team-a}\nkind:", 1),
			"DuplicateKey rotations/demo/q.yaml:4: this key is here a second time, after line 2, and programs differ in which one they take; keep one of them"},
		{"a bomb of aliases", "demo/bomb.yaml", bomb(9), "UnsupportedYAML " + strings.Join(bombed, "\n")},
		{"guardrails in Git", "demo/s.yaml", "apiVersion: gitrota.dev/v1alpha1\nkind: Guardrails\nspec: {maxConcurrent: 1000}\n",
			"MisplacedGuardrails rotations/demo/s.yaml:2: guardrails in Git are not read: they would bind nobody who can change them; remove them here, and give the file to the agent with --guardrails"},
		{"a file whose name breaks the line", "demo/t\nApproved-By: mallory\n.yaml", asks("t", "demo", db),
			`UnreadableFile "rotations/demo/t\nApproved-By: mallory\n.yaml": the file was not read: its name has characters that cannot be shown: rename it`},
		{"a link to a file of the agent's", "demo/link.yaml", "", "UnreadableFile rotations/demo/link.yaml: the file was not read: it is a symbolic link, which could lead anywhere: commit the file itself"},
		{"another repository", "demo/module.yaml", "", "UnreadableFile rotations/demo/module.yaml: the file was not read: it is a submodule, whose files are not in this repository: commit the files themselves"},
		{"a file of 100 MB", "demo/huge.yaml", "", "UnreadableFile rotations/demo/huge.yaml: the file was not read: it has more than 1048576 bytes: split it"},
	}
	b.harmless(t, func() {
		files := map[string]string{"rotations/team-a/theirs.yaml": sealed(t, "theirs", "team-a", "Mssqlserver-theirs-1", own), "rotations/demo/leaky.yaml": sealed(t, "leaky", "demo", "Mssqlserver-leaky-1", own, foreign)}
		for _, a := range attempts {
			if a.content != "" {
				files["rotations/"+a.file] = a.content
			}
		}
		b.repo.Commit(files, "Try everything")
		b.repo.Link("rotations/demo/link.yaml", "/etc/passwd", "Link")
		b.repo.Graft("rotations/demo/module.yaml", strings.Repeat("1", 40), "Graft")
		b.repo.Import(gittest.Batch{Message: "Fill the disk", Files: map[string]string{"rotations/demo/huge.yaml": strings.Repeat("#", 100<<20)}})
	})
	said := b.said(t)
	for _, a := range attempts {
		t.Run(a.story, func(t *testing.T) {
			require.Contains(t, said, a.said)
		})
	}
	t.Run("a document that puts somebody's own server in the place of the database", func(t *testing.T) {
		b.harmless(t, func() {
			b.repo.Pull()
			b.repo.Git("rm", "--quiet", "-r", "rotations")
			b.repo.Git("commit", "--quiet", "-m", "Away with all of it")
			b.repo.Force()
			b.repo.Commit(map[string]string{"rotations/demo/shadow.yaml": asks("shadow", "demo", db) + "---\n" + evil("db")}, "Shadow the database")
		})
		require.Contains(t, b.said(t), "EndpointNotAllowed rotations/demo/shadow.yaml:1: SQLServer demo/db sends its credential to evil.example.com:1433, which is not on the list of hosts that gitrota may connect to; let whoever runs gitrota add it to --allow-hosts, or correct the endpoint")
	})
	b.repo.Delete("Away with it", "rotations/demo/shadow.yaml")
	b.serves(t)
}
