package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/sopsfile"
)

func TestValidateFindsNothingWrongWithTheExamples(t *testing.T) {
	t.Parallel()
	got := gitrota(t, "../../examples/push", nil, "validate", "rotations")
	require.Equal(t, result{0, "", "3 files, 2 requests, 1 Secret, 0 problems\n"}, got)
}

func TestValidatePrintsOneLineForEachProblem(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	sealed := func(manifest string) string {
		encrypted, err := sopsfile.Encrypt([]byte(manifest), []string{identity.Recipient().String()}, "^(data|stringData)$")
		require.NoError(t, err)
		return string(encrypted)
	}
	const request = "apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata:\n  name: r\n  namespace: demo\nspec:\n  type: RotateAuth\n  databaseRef:\n    name: db\n"
	const secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: user\n  namespace: demo\ntype: kubernetes.io/basic-auth\nstringData:\n  username: sa\n  password: Mssqlserver-canary-1\n"
	const rollback = "apiVersion: gitrota.dev/v1alpha1\nkind: RotationRollback\nmetadata:\n  name: back\n  namespace: demo\nspec:\n  databaseRef:\n    name: db\n"
	const server = "apiVersion: gitrota.dev/v1alpha1\nkind: SQLServer\nmetadata:\n  name: db\n  namespace: demo\nspec:\n  endpoints: [\"sql1:1433\"]\n  authSecret: {name: db-auth}\n"
	const policy = "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: p}\nspec: {consumers: {restart: true}}\n"
	changed := func(text, old, new string) string {
		require.Contains(t, text, old)
		return strings.Replace(text, old, new, 1)
	}
	withSecret := request + "  authentication:\n    secretRef:\n      name: user\n"
	const sops = "encrypt the values and nothing else: sops --encrypt --encrypted-regex '^(data|stringData)$' --in-place FILE"
	const leaked = "PlaintextSecret: a value of this Secret is readable in Git, and in its history: treat the password as leaked and never use it again; choose a new password, and " + sops
	for _, tc := range []struct {
		name  string
		files map[string]string
		says  string
	}{
		{"a text that is not YAML", map[string]string{"r.yaml": changed(request, "name: db", `name: "db`)},
			"rotations/r.yaml:9: InvalidYAML: the document is not valid YAML: found unexpected end of stream\n"},
		{"a text that is not JSON", map[string]string{"r.json": "{\n  \"kind\": \"Secret\",,\n}\n"},
			"rotations/r.json:2: InvalidYAML: the file is not valid JSON; a comma, a quote or a bracket is missing or too many near here\n"},
		{"a text that is not UTF-8", map[string]string{"r.yaml": request + "# \xff\n"},
			"rotations/r.yaml: UnreadableFile: the file is not UTF-8 text; save it as UTF-8\n"},
		{"a key that is there twice", map[string]string{"r.yaml": request + "  type: Restart\n"},
			"rotations/r.yaml:10: DuplicateKey: this key is here a second time, after line 7, and programs differ in which one they take; keep one of them\n"},
		{"an alias", map[string]string{"r.yaml": changed(changed(request, "name: r", "name: &n r"), "name: db", "name: *n")},
			"rotations/r.yaml:4: UnsupportedYAML: anchors (&) and aliases (*) are not read here; write the value out, or put it in quotes if it is meant to begin with & or *\n" +
				"rotations/r.yaml:9: UnsupportedYAML: anchors (&) and aliases (*) are not read here; write the value out, or put it in quotes if it is meant to begin with & or *\n"},
		{"a version that is not served", map[string]string{"r.yaml": changed(request, "v1alpha1", "v1")},
			"rotations/r.yaml:1: UnsupportedAPIVersion: MSSQLServerOpsRequest is not served in apiVersion \"ops.kubedb.com/v1\"; use ops.kubedb.com/v1alpha1\n"},
		{"a kind that is mistyped", map[string]string{"r.yaml": changed(request, "MSSQLServerOpsRequest", "MSSQLServerOpRequest")},
			"rotations/r.yaml:2: UnknownKind: ops.kubedb.com/v1alpha1 \"MSSQLServerOpRequest\" is not served by gitrota; did you mean \"MSSQLServerOpsRequest\"?\n"},
		{"a field that is mistyped", map[string]string{"r.yaml": request + "  timout: 5m\n"},
			"rotations/r.yaml:10: UnknownField: spec has no field \"timout\"; did you mean \"timeout\"?\n"},
		{"a field that is missing", map[string]string{"r.yaml": changed(request, "  namespace: demo\n", "")},
			"rotations/r.yaml:4: MissingField: metadata.namespace is missing; name it: without it, the request would go to whatever namespace somebody has selected\n"},
		{"a value out of range", map[string]string{"r.yaml": request + "  timeout: 5\n"},
			"rotations/r.yaml:10: InvalidField: spec.timeout is not a duration above zero; write it with its unit, such as 90s, 5m or 1h30m\n"},
		{"a type that is not served", map[string]string{"r.yaml": changed(request, "RotateAuth", "Restart")},
			"rotations/r.yaml:7: UnsupportedType: spec.type Restart is KubeDB's, and not served by gitrota; apply it to the cluster for KubeDB's operator, and keep it out of this folder\n"},
		{"a reference to something else than a Secret", map[string]string{"r.yaml": withSecret + "      kind: ConfigMap\n"},
			"rotations/r.yaml:12: UnsupportedSecretRef: spec.authentication.secretRef.kind is \"ConfigMap\"; the only kind is Secret\n"},
		{"two requests of one name", map[string]string{"a.yaml": request, "b/b.yaml": "---\n" + request},
			"rotations/a.yaml:1: DuplicateName: there is another MSSQLServerOpsRequest named demo/r at rotations/b/b.yaml:2; rename or remove one of them\n" +
				"rotations/b/b.yaml:2: DuplicateName: there is another MSSQLServerOpsRequest named demo/r at rotations/a.yaml:1; rename or remove one of them\n"},
		{"a Secret in plain text", map[string]string{"user.yaml": secret},
			"rotations/user.yaml:8: " + leaked + "\nrotations/user.yaml:9: " + leaked + "\n"},
		{"a Secret whose name is encrypted", map[string]string{"user.yaml": changed(sealed(secret), "name: user", "name: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]")},
			"rotations/user.yaml:1: EncryptedMetadata: SOPS has encrypted the metadata or the type of this Secret, so no request can find it; " + sops + "\n"},
		{"a password that YAML takes for a number", map[string]string{"user.yaml": sealed(changed(secret, "Mssqlserver-canary-1", "0123"))},
			"rotations/user.yaml:9: NotAString: stringData.password was a number and not a string when it was encrypted, and would not come out as it was meant; put it in quotes in the plaintext, and encrypt it again\n"},
		{"a value whose key is missing", map[string]string{"user.yaml": strings.Split(sealed(secret), "sops:")[0]},
			"rotations/user.yaml:8: InvalidSecret: a value is encrypted, but the sops block with the key to it is missing; restore the file as SOPS wrote it\n" +
				"rotations/user.yaml:9: InvalidSecret: a value is encrypted, but the sops block with the key to it is missing; restore the file as SOPS wrote it\n"},
		{"a server whose endpoint is no host and port", map[string]string{"s.yaml": changed(server, "sql1:1433", "sql1")},
			"rotations/s.yaml:7: InvalidField: spec.endpoints[0] is not a host and a port; write host:port, such as sql1.example.com:1433 or [2001:db8::1]:1433\n"},
		{"a rollback and a request of one name", map[string]string{"a.yaml": request, "b.yaml": changed(rollback, "name: back", "name: r")},
			"rotations/a.yaml:1: DuplicateName: there is a RotationRollback named demo/r at rotations/b.yaml:1, and both would have one status file; rename or remove one of them\n" +
				"rotations/b.yaml:1: DuplicateName: there is a MSSQLServerOpsRequest named demo/r at rotations/a.yaml:1, and both would have one status file; rename or remove one of them\n"},
		{"a request for a server that cannot be used", map[string]string{"r.yaml": request, "s.yaml": server + "  port: 1433\n"},
			"rotations/r.yaml:9: UnusableServer: spec.databaseRef refers to the SQLServer demo/db at rotations/s.yaml:9, which cannot be used: spec.port is about pods, and spec.endpoints are none; leave it out\n" +
				"rotations/s.yaml:9: InvalidField: spec.port is about pods, and spec.endpoints are none; leave it out\n"},
		{"policies that differ", map[string]string{"a.yaml": policy, "b.yaml": changed(changed(policy, "name: p", "name: q"), "true", "false"), "r.yaml": request + "---\n" + rollback},
			"rotations/a.yaml:1: PolicyConflict: spec.consumers: rotations/a.yaml:1 and rotations/b.yaml:1 say different things about MSSQLServer demo/db, and neither is more specific; make one of them more specific, or let both say the same\n"},
		{"a request for a Secret that cannot be used", map[string]string{"r.yaml": withSecret, "user.yaml": sealed(changed(secret, "basic-auth", "tls"))},
			"rotations/r.yaml:12: UnusableSecret: spec.authentication.secretRef refers to the Secret demo/user at rotations/user.yaml:1, which cannot be used: a Secret of the type \"kubernetes.io/tls\" holds no credential; use type: kubernetes.io/basic-auth\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tc.files {
				writeFile(t, filepath.Join(dir, "rotations", name), content)
			}
			got := gitrota(t, dir, nil, "validate", "rotations")
			require.Equal(t, tc.says, got.stdout)
			require.Equal(t, 1, got.code)
			require.NotContains(t, got.stdout+got.stderr, "canary")
		})
	}
}

func TestValidateCountsWhatItHasRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "all.yaml"), `apiVersion: gitrota.dev/v1alpha1
kind: SQLServer
metadata: {name: legacy, namespace: shop}
spec:
  selector: {matchLabels: {app: legacy}}
  authSecret: {name: legacy-auth}
---
apiVersion: gitrota.dev/v1alpha1
kind: RotationRollback
metadata: {name: back, namespace: shop}
spec: {databaseRef: {name: legacy}}
---
apiVersion: gitrota.dev/v1alpha1
kind: RotationPolicy
metadata: {name: a}
spec: {consumers: {restart: true}}
---
apiVersion: gitrota.dev/v1alpha1
kind: RotationPolicy
metadata: {name: b}
spec: {databases: [{namespace: shop}], consumers: {restart: true, maxConcurrent: 2}}
`)
	require.Equal(t, result{0, "", "1 file, 1 request, 0 Secrets, 1 server, 2 policies, 0 problems\n"}, gitrota(t, dir, nil, "validate", "all.yaml"))
}

func TestValidateReadsAFileOrAFolderAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "rotations", "notes.txt"), "nothing to read here")
	writeFile(t, filepath.Join(dir, "wrong.yml"), "a: [b")
	require.NoError(t, os.Symlink("../wrong.yml", filepath.Join(dir, "rotations", "link.yaml")))
	validate := func(args ...string) result { return gitrota(t, dir, nil, append([]string{"validate"}, args...)...) }
	const usage = "\nRun 'gitrota validate --help' for usage.\n"

	got := validate("wrong.yml")
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stdout, "wrong.yml:1: InvalidYAML: ")
	require.Equal(t, "1 file, 0 requests, 0 Secrets, 1 problem\n", got.stderr)
	require.Equal(t, result{2, "", "gitrota: lstat nowhere: no such file or directory" + usage}, validate("nowhere"))
	require.Equal(t, result{2, "", "gitrota: there is no .yaml, .yml or .json file at rotations" + usage}, validate("rotations"))
	require.Equal(t, result{2, "", "gitrota: accepts 1 arg(s), received 0" + usage}, validate())
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}
