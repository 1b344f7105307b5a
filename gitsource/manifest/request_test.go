package manifest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

const generated = `apiVersion: ops.kubedb.com/v1alpha1
kind: MSSQLServerOpsRequest
metadata:
  name: msops-rotate-auth-generated
  namespace: demo
spec:
  type: RotateAuth
  databaseRef:
    name: mssqlserver-quickstart
  timeout: 5m
  apply: IfReady
`

// parse reads one file.
func parse(content string) *manifest.Set {
	return manifest.Parse(map[string][]byte{"rotations/a.yaml": []byte(content)})
}

// one returns the only request of a file, which has no problems.
func one(t *testing.T, content string) *manifest.Request {
	t.Helper()
	set := parse(content)
	require.Empty(t, set.AllProblems())
	require.Len(t, set.Requests, 1)
	return set.Requests[0]
}

func TestRequest(t *testing.T) {
	t.Run("the guide's first manifest is read as it stands", func(t *testing.T) {
		r := one(t, generated)
		require.Equal(t, "demo", r.Namespace)
		require.Equal(t, "msops-rotate-auth-generated", r.Name)
		require.Equal(t, "rotations/a.yaml", r.Path)
		require.Equal(t, 1, r.Line)
		five := 5 * time.Minute
		require.Equal(t, manifest.Spec{
			Type:        manifest.TypeRotateAuth,
			DatabaseRef: manifest.DatabaseRef{Name: "mssqlserver-quickstart"},
			Timeout:     &five, Apply: manifest.ApplyIfReady, MaxRetries: 1,
		}, r.Spec)
	})

	t.Run("the guide's second manifest refers to a Secret", func(t *testing.T) {
		r := one(t, strings.Replace(generated, "  timeout", "  authentication:\n    secretRef:\n      name: mine\n  timeout", 1))
		require.Equal(t, manifest.SecretRef{Kind: "Secret", Name: "mine"}, r.Spec.Authentication.SecretRef)
	})

	t.Run("it is printed again as it was written", func(t *testing.T) {
		r := one(t, strings.Replace(generated, "  namespace: demo", "  namespace: demo\n  uid: 05d2adb0\n  annotations: {ticket: \"0042\"}", 1))
		text, err := json.Marshal(r.Raw)
		require.NoError(t, err)
		require.JSONEq(t, `{
			"apiVersion": "ops.kubedb.com/v1alpha1", "kind": "MSSQLServerOpsRequest",
			"metadata": {"name": "msops-rotate-auth-generated", "namespace": "demo", "annotations": {"ticket": "0042"}},
			"spec": {"type": "RotateAuth", "databaseRef": {"name": "mssqlserver-quickstart"}, "timeout": "5m", "apply": "IfReady"}
		}`, string(text))
	})

	t.Run("JSON is read as well, with tabs", func(t *testing.T) {
		set := manifest.Parse(map[string][]byte{"a.json": []byte("{\n\t\"apiVersion\": \"ops.kubedb.com/v1alpha1\",\n\t\"kind\": \"MSSQLServerOpsRequest\",\n" +
			"\t\"metadata\": {\"name\": \"a\", \"namespace\": \"demo\"},\n\t\"spec\": {\"type\": \"RotateAuth\", \"databaseRef\": {\"name\": \"db\"}, \"maxRetries\": 3}\n}\n")})
		require.Empty(t, set.AllProblems())
		require.Equal(t, 3, set.Requests[0].Spec.MaxRetries)
	})

	t.Run("the items of a List are read", func(t *testing.T) {
		item := "- " + strings.ReplaceAll(strings.TrimSpace(generated), "\n", "\n  ")
		r := one(t, "apiVersion: v1\nkind: List\nitems:\n"+item+"\n")
		require.Equal(t, 4, r.Line)
	})
}

func TestRotationID(t *testing.T) {
	id := one(t, generated).ID

	t.Run("it never changes between versions of gitrota", func(t *testing.T) {
		require.Equal(t, "0ecbb2dac1b00f5312cb35ee0191738c", id)
	})

	for story, same := range map[string]string{
		"comments, labels and annotations do not change it": "# please\n" + strings.Replace(generated, "  name: msops",
			"  labels: {team: dba}\n  annotations: {why: audit}\n  name: msops", 1),
		"order does not change it": `kind: MSSQLServerOpsRequest
spec: {apply: IfReady, timeout: "5m", databaseRef: {name: mssqlserver-quickstart}, type: RotateAuth}
metadata: {namespace: demo, name: msops-rotate-auth-generated}
apiVersion: ops.kubedb.com/v1alpha1
`,
		"defaults that are written out do not change it":      generated + "  maxRetries: 1\n  authentication: {}\n",
		"a default that is left out does not change it":       strings.Replace(generated, "  apply: IfReady\n", "", 1),
		"another way to write the timeout does not change it": strings.Replace(generated, "5m", "300s", 1),
		"a status that was copied along does not change it":   generated + "status: {phase: Successful}\n",
	} {
		t.Run(story, func(t *testing.T) { require.Equal(t, id, one(t, same).ID) })
	}
	for story, other := range map[string]string{
		"another name is another rotation":      strings.Replace(generated, "generated", "again", 1),
		"another namespace is another rotation": strings.Replace(generated, "namespace: demo", "namespace: prod", 1),
		"another database is another rotation":  strings.Replace(generated, "quickstart", "other", 1),
		"another timeout is another rotation":   strings.Replace(generated, "5m", "6m", 1),
		"another retry is another rotation":     generated + "  maxRetries: 2\n",
		"a Secret makes it another rotation":    generated + "  authentication: {secretRef: {name: x}}\n",
	} {
		t.Run(story, func(t *testing.T) { require.NotEqual(t, id, one(t, other).ID) })
	}
	t.Run("the default kind of a Secret does not change it", func(t *testing.T) {
		short := one(t, generated+"  authentication: {secretRef: {name: x}}\n")
		long := one(t, generated+"  authentication: {secretRef: {name: x, kind: Secret, apiGroup: \"\"}}\n")
		require.Equal(t, short.ID, long.ID)
	})
	t.Run("a request that is wrong has an id of its own", func(t *testing.T) {
		wrong := parse(generated + "  maxRetry: 2\n").Requests[0]
		require.Len(t, wrong.ID, 32)
		require.NotEqual(t, id, wrong.ID)
	})
}

func TestWrongRequests(t *testing.T) {
	with := func(old, new string) string {
		return strings.Replace(generated, old, new, 1)
	}
	for story, test := range map[string]struct {
		content  string
		want     string // the problem as a user reads it
		nameless bool   // nobody can tell which request it is
	}{
		"a mistyped field is named with what was meant": {
			content: with("databaseRef", "databaseref"),
			want:    `rotations/a.yaml:8: UnknownField: spec has no field "databaseref"; did you mean "databaseRef"?`,
		},
		"a field of another type is not ours": {
			content: generated + "  horizontalScaling: {replicas: 3}\n",
			want:    `rotations/a.yaml:12: UnknownField: spec has no field "horizontalScaling"; the fields here are type, databaseRef, authentication, timeout, apply, maxRetries`,
		},
		"a mistyped field in secretRef is found": {
			content: generated + "  authentication:\n    secretRef:\n      name: x\n      namespace: other\n",
			want:    `rotations/a.yaml:15: UnknownField: spec.authentication.secretRef has no field "namespace"; the fields here are apiGroup, kind, name`,
		},
		"another type of KubeDB is left to KubeDB": {
			content: with("RotateAuth", "Restart"),
			want:    `rotations/a.yaml:7: UnsupportedType: spec.type Restart is KubeDB's, and not served by gitrota; apply it to the cluster for KubeDB's operator, and keep it out of this folder`,
		},
		"an unknown type is unknown": {
			content: with("RotateAuth", "rotateauth"),
			want:    `rotations/a.yaml:7: UnsupportedType: spec.type "rotateauth" is unknown; the type that gitrota serves is RotateAuth`,
		},
		"a type is needed": {
			content: with("  type: RotateAuth\n", ""),
			want:    `rotations/a.yaml:7: MissingField: spec.type is missing; write type: RotateAuth`,
		},
		"a namespace is needed": {
			content: with("  namespace: demo\n", ""), nameless: true,
			want: `rotations/a.yaml:4: MissingField: metadata.namespace is missing; name it: without it, the request would go to whatever namespace somebody has selected`,
		},
		"a name that leads out of a folder is no name": {
			content: with("msops-rotate-auth-generated", "../../etc/passwd"), nameless: true,
			want: `rotations/a.yaml:4: InvalidField: metadata.name "../../etc/passwd" is not a Kubernetes name; use lower case letters, digits and dashes, beginning and ending with a letter or digit`,
		},
		"a generated name is no name": {
			content: with("  name: msops", "  generateName: msops"), nameless: true,
			want: `rotations/a.yaml:4: UnknownField: metadata has no field "generateName"; the fields here are name, namespace, labels, annotations, creationTimestamp, uid, resourceVersion, generation, managedFields, ownerReferences, finalizers, selfLink`,
		},
		"a number is no name": {
			content: with("name: mssqlserver-quickstart", "name: 42"),
			want:    `rotations/a.yaml:9: InvalidField: spec.databaseRef.name is a number and not a string; put it in quotes`,
		},
		"a database is needed": {
			content: with("  databaseRef:\n    name: mssqlserver-quickstart\n", ""),
			want:    `rotations/a.yaml:7: MissingField: spec.databaseRef.name is missing; name the database to rotate`,
		},
		"a timeout needs a unit": {
			content: with("5m", "300"),
			want:    `rotations/a.yaml:10: InvalidField: spec.timeout is not a duration above zero; write it with its unit, such as 90s, 5m or 1h30m`,
		},
		"a timeout of nothing is none": {
			content: with("5m", "0s"),
			want:    `rotations/a.yaml:10: InvalidField: spec.timeout is not a duration above zero; write it with its unit, such as 90s, 5m or 1h30m`,
		},
		"apply has two values": {
			content: with("IfReady", "Never"),
			want:    `rotations/a.yaml:11: InvalidField: spec.apply is "Never"; use IfReady or Always`,
		},
		"fewer than no retries make no sense": {
			content: generated + "  maxRetries: -1\n",
			want:    `rotations/a.yaml:12: InvalidField: spec.maxRetries is not a whole number from 0 up; write it without quotes`,
		},
		"a virtual secret is not supported": {
			content: generated + "  authentication: {secretRef: {apiGroup: virtual-secrets.dev, kind: Secret, name: x}}\n",
			want:    `rotations/a.yaml:12: UnsupportedSecretRef: virtual secrets (virtual-secrets.dev) are not supported; use a Secret, encrypted with SOPS`,
		},
		"a ConfigMap holds no credential": {
			content: generated + "  authentication: {secretRef: {kind: ConfigMap, name: x}}\n",
			want:    `rotations/a.yaml:12: UnsupportedSecretRef: spec.authentication.secretRef.kind is "ConfigMap"; the only kind is Secret`,
		},
		"a key that is there twice is refused": {
			content: generated + "  timeout: 10m\n",
			want:    `rotations/a.yaml:12: DuplicateKey: this key is here a second time, after line 10, and programs differ in which one they take; keep one of them`,
		},
		"an alias is refused, and so no bomb explodes": {
			content: with("metadata:", "x: &x [1]\ny: [*x, *x]\nmetadata:"),
			want:    `rotations/a.yaml:3: UnsupportedYAML: anchors (&) and aliases (*) are not read here; write the value out, or put it in quotes if it is meant to begin with & or *`,
		},
		"a label that is no text is refused": {
			content: with("  namespace", "  labels: {year: 2026}\n  namespace"),
			want:    `rotations/a.yaml:5: InvalidField: a value in metadata.labels is a number and not a string; put it in quotes`,
		},
		"another version of the API is not guessed at": {
			content: with("v1alpha1", "v1"), nameless: true,
			want: `rotations/a.yaml:1: UnsupportedAPIVersion: MSSQLServerOpsRequest is not served in apiVersion "ops.kubedb.com/v1"; use ops.kubedb.com/v1alpha1`,
		},
		"a mistyped group is found by its kind": {
			content: with("ops.kubedb.com", "ops.kubdb.com"), nameless: true,
			want: `rotations/a.yaml:1: UnsupportedAPIVersion: MSSQLServerOpsRequest is not served in apiVersion "ops.kubdb.com/v1alpha1"; use ops.kubedb.com/v1alpha1`,
		},
		"a mistyped kind is found by its group": {
			content: with("MSSQLServerOpsRequest", "MSSQLServerOpsrequest"), nameless: true,
			want: `rotations/a.yaml:2: UnknownKind: ops.kubedb.com/v1alpha1 "MSSQLServerOpsrequest" is not served by gitrota; did you mean "MSSQLServerOpsRequest"?`,
		},
		"a request for another database is refused": {
			content: with("MSSQLServerOpsRequest", "RedisOpsRequest"), nameless: true,
			want: `rotations/a.yaml:2: UnknownKind: ops.kubedb.com/v1alpha1 "RedisOpsRequest" is not served by gitrota; gitrota serves ops.kubedb.com/v1alpha1 MSSQLServerOpsRequest only; keep other requests out of its folder`,
		},
		"a kind that gitrota does not have is refused": {
			content: "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolice\n", nameless: true,
			want: `rotations/a.yaml:2: UnknownKind: there is no kind "RotationPolice" in gitrota.dev/v1alpha1 that this version of gitrota reads; did you mean "RotationPolicy"?`,
		},
		"a tab is explained": {
			content: with("  type", "\ttype"), nameless: true,
			want: `rotations/a.yaml:7: InvalidYAML: the document is not valid YAML: found character that cannot start any token; a tab in the indentation, or a value that begins with @, ` + "`" + ` or % and has no quotes`,
		},
	} {
		t.Run(story, func(t *testing.T) {
			set := parse(test.content)
			problems := set.AllProblems()
			var said []string
			for _, p := range problems {
				said = append(said, p.String())
			}
			require.Contains(t, said, test.want)
			if test.nameless {
				require.Empty(t, set.Requests)
				return
			}
			require.Len(t, set.Requests, 1, "its name is known, so that it can have a status")
			require.Equal(t, problems, set.Requests[0].Problems)
			require.Equal(t, "demo", problems[0].Namespace)
			require.Equal(t, "msops-rotate-auth-generated", problems[0].Name)
		})
	}

	t.Run("everything that is wrong is said at once", func(t *testing.T) {
		wrong := parse(strings.NewReplacer("5m", "soon", "IfReady", "Never", "mssqlserver-quickstart", "MS SQL").Replace(generated))
		require.Len(t, wrong.Requests[0].Problems, 3)
	})
}

func TestFiles(t *testing.T) {
	second := strings.Replace(generated, "generated", "second", 1)

	t.Run("documents keep the lines of their file", func(t *testing.T) {
		set := parse("# head\n---\n" + generated + "---\r\n# nothing here\n--- # another\n" + second + "...\n")
		require.Empty(t, set.AllProblems())
		require.Len(t, set.Requests, 2)
		require.Equal(t, 3, set.Requests[0].Line)
		require.Equal(t, 17, set.Requests[1].Line)
	})

	t.Run("a document that cannot be parsed does not hide the others", func(t *testing.T) {
		set := parse(generated + "---\nkind: [\n---\n" + second)
		require.Len(t, set.Requests, 2)
		require.Len(t, set.Problems, 1)
		require.Equal(t, manifest.ReasonInvalidYAML, set.Problems[0].Reason)
		require.Equal(t, 13, set.Problems[0].Line)
	})

	t.Run("a file that cannot be parsed does not hide the others", func(t *testing.T) {
		set := manifest.Parse(map[string][]byte{
			"a.yaml": []byte("{{ helm }}: {{"), "b.json": []byte("{\n\"a\": 1,\n}"), "c.yml": []byte(generated),
			"d.yaml": {0xff, 0xfe, 0}, "e.yaml": []byte(strings.Repeat("#", 1<<20+1)),
		})
		require.Len(t, set.Requests, 1)
		var where []string
		for _, p := range set.Problems {
			where = append(where, p.Where()+" "+p.Reason)
		}
		require.Equal(t, []string{"a.yaml:1 InvalidYAML", "b.json:3 InvalidYAML", "d.yaml UnreadableFile", "e.yaml UnreadableFile"}, where)
	})

	t.Run("other files and other kinds are ignored", func(t *testing.T) {
		set := manifest.Parse(map[string][]byte{
			"README.md":   []byte(generated),
			"a.yaml":      []byte("apiVersion: kubedb.com/v1alpha2\nkind: MSSQLServer\nspec: &a {b: *a}\n---\njust text\n---\n- a list\n---\n---\n"),
			"values.yaml": []byte("kind: 7\nkind: 8\n"),
		})
		require.Empty(t, set.AllProblems())
		require.Empty(t, set.Requests)
	})

	t.Run("a file that is nothing but problems does not drown the others", func(t *testing.T) {
		var fields strings.Builder
		for i := range 10_000 {
			fmt.Fprintf(&fields, "  field%d: x\n", i)
		}
		set := manifest.Parse(map[string][]byte{
			"a.yaml": []byte(strings.Repeat("---\n[\n", 10_000)), "b.yaml": []byte(generated + fields.String()),
			"c.yaml": []byte(strings.Repeat("[", 1<<20)),
		})
		require.Len(t, set.Requests[0].Problems, 20)
		require.Len(t, set.Problems, 21)
		require.Contains(t, set.Problems[19].Message, "there are more problems")
	})

	t.Run("two requests with one name are both refused, and each names the other", func(t *testing.T) {
		a, b := manifest.ParseFile("a.yaml", []byte(generated)), manifest.ParseFile("b.yaml", []byte("# moved\n"+generated))
		set := manifest.Join(b, a)
		require.Len(t, set.Requests, 2)
		require.Equal(t, "a.yaml:1: DuplicateName: there is another MSSQLServerOpsRequest named demo/msops-rotate-auth-generated at b.yaml:2; rename or remove one of them",
			set.Requests[0].Problems[0].String())
		require.Contains(t, set.Requests[1].Problems[0].Message, "at a.yaml:1")

		require.Empty(t, manifest.Join(a).AllProblems(), "what was kept of a file does not remember its twin")
	})

	t.Run("a file that could not be had is a problem if it is a manifest", func(t *testing.T) {
		set := manifest.Join(manifest.Unreadable("a.yaml", "it is a symbolic link"), manifest.Unreadable("logo.png", "too large"))
		require.Len(t, set.Problems, 1)
		require.Equal(t, "a.yaml: UnreadableFile: the file was not read: it is a symbolic link", set.Problems[0].String())
	})
}
