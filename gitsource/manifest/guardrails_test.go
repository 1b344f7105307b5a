package manifest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/guardrails"
)

const wholeGuardrails = `apiVersion: gitrota.dev/v1alpha1
kind: Guardrails
spec:
  paths:
  - {path: rotations/team-a, namespaces: [team-a, "team-a-*"]}
  - {path: rotations/ops/, namespaces: ["*"]}
  hosts: ["sql1.example.com:1433", "*.db.example.com"]
  sops: {recipients: [age1ours], keyServices: [age, pgp]}
  approval: {mode: Reviews}
  policyApproval: {mode: Reviews, count: 2}
  bots: [gitrota-bot]
  maxConcurrent: 3
  escrow: {recipients: [RECIPIENT]}
  denyList: [password]
  denyListFile: common-passwords.txt
`

func TestGuardrails(t *testing.T) {
	recipient := newSealer(t).recipient
	whole := strings.Replace(wholeGuardrails, "RECIPIENT", recipient, 1)

	t.Run("all of them are read", func(t *testing.T) {
		g, problems := manifest.ParseGuardrails("guardrails.yaml", []byte(whole))
		require.Empty(t, problems)
		require.True(t, g.Hosts.Allows("sql1.example.com:1433"))
		require.True(t, g.Hosts.Allows("a.db.example.com:9999"))
		require.False(t, g.Hosts.Allows("sql2.example.com:1433"))
		g.Hosts = nil
		require.Equal(t, guardrails.Guardrails{
			Paths: []guardrails.Path{
				{Path: "rotations/team-a", Namespaces: []string{"team-a", "team-a-*"}},
				{Path: "rotations/ops", Namespaces: []string{"*"}},
			},
			Recipients: []string{"age1ours"}, KeyServices: []string{"age", "pgp"},
			Approval:       approval.Rule{Mode: approval.Reviews, Count: 1},
			PolicyApproval: &approval.Rule{Mode: approval.Reviews, Count: 2},
			Bots:           []string{"gitrota-bot"},
			MaxConcurrent:  3,
			Escrow:         []string{recipient},
			DenyList:       []string{"password"}, DenyListFile: "common-passwords.txt",
		}, g)
	})

	t.Run("what is left out has its default", func(t *testing.T) {
		g, problems := manifest.ParseGuardrails("guardrails.yaml", []byte("apiVersion: gitrota.dev/v1alpha1\nkind: Guardrails\nmetadata: {name: ours}\nspec: {}\n"))
		require.Empty(t, problems)
		require.Equal(t, guardrails.Guardrails{MaxConcurrent: 10}, g)
	})

	replace := func(old, new string) string { return strings.Replace(whole, old, new, 1) }
	for story, test := range map[string]struct{ content, want string }{
		"a mistyped field would allow what was to be forbidden": {replace("  sops:", "  sosp:"),
			`g.yaml:8: UnknownField: spec has no field "sosp"; did you mean "sops"?`},
		"another kind is none": {replace("Guardrails", "RotationPolicy"),
			`g.yaml:1: UnknownKind: this is "RotationPolicy" in "gitrota.dev/v1alpha1", and not Guardrails in gitrota.dev/v1alpha1; begin the file with apiVersion: gitrota.dev/v1alpha1 and kind: Guardrails`},
		"an empty file is none": {"# soon\n",
			"g.yaml: InvalidYAML: the file has 0 and not one document; put all guardrails into one document of the kind Guardrails"},
		"a second document would be passed over": {whole + "---\n" + whole,
			"g.yaml: InvalidYAML: the file has 2 and not one document; put all guardrails into one document of the kind Guardrails"},
		"a key that is there twice is unclear": {whole + "  bots: []\n",
			"g.yaml:16: DuplicateKey: this key is here a second time, after line 11, and programs differ in which one they take; keep one of them"},
		"a spec is needed": {strings.Split(whole, "spec:")[0],
			"g.yaml:1: MissingField: spec is missing, and so the guardrails allow everything; start the agent without --guardrails, or give some"},
		"a path has one way of writing": {replace("path: rotations/team-a", "path: rotations/x/../team-a"),
			`g.yaml:5: InvalidField: spec.paths[0].path "rotations/x/../team-a" is not a path in the repository; write it from the top of the repository, such as rotations/team-a, without . and ..`},
		"a path is there once": {replace("path: rotations/ops/", "path: rotations/team-a"),
			`g.yaml:6: InvalidField: spec.paths[1].path "rotations/team-a" is that of line 5 again; put all its namespaces into one`},
		"no paths at all would allow all of them": {replace("  - {path: rotations/team-a, namespaces: [team-a, \"team-a-*\"]}\n  - {path: rotations/ops/, namespaces: [\"*\"]}\n", "    []\n"),
			"g.yaml:5: InvalidField: spec.paths is empty; leave it out, or put something into it"},
		"a namespace is a glob": {replace("team-a-*", "Team_?"),
			`g.yaml:5: InvalidField: spec.paths[0].namespaces has "Team_?", which cannot match a Kubernetes name; use lower case letters, digits, dashes and dots, and * for any characters`},
		"a host is no pattern for all": {replace("*.db.example.com", "*"),
			`g.yaml:7: InvalidField: spec.hosts: "*" is not a host, a host:port, or a domain as *.example.com; write each as sql1.example.com:1433, sql1.example.com or *.db.example.com`},
		"hosts are items of a list": {replace("*.db.example.com", "a.example.com, b.example.com"),
			`g.yaml:7: InvalidField: spec.hosts: "a.example.com, b.example.com" is not one host; write each as sql1.example.com:1433, sql1.example.com or *.db.example.com`},
		"a kind of keys that SOPS does not have": {replace("[age, pgp]", "[age, gpg]"),
			`g.yaml:8: InvalidField: spec.sops.keyServices has "gpg"; the kinds are age, pgp, kms, gcp_kms, azure_kv, hc_vault, hckms`},
		"an approval is read as in a policy": {replace("{mode: Reviews, count: 2}", "{mode: Reviews, count: 0}"),
			"g.yaml:10: InvalidField: spec.policyApproval.count is not a whole number from 1 up; write it without quotes"},
		"escrow for a key that is none": {replace(recipient, "age1nonsense"),
			`g.yaml:13: InvalidField: spec.escrow.recipients has "age1nonsense", which is not an age recipient; give public keys as age-keygen prints them, age1…`},
		"escrow for a private key": {replace(recipient, "AGE-SECRET-KEY-1CANARY5"),
			"g.yaml:13: PlaintextSecret: spec.escrow.recipients[0] is a private key; make another one, and give public keys as age-keygen prints them, age1…"},
		"a deny list is beside the file": {replace("common-passwords.txt", "../../etc/passwd"),
			`g.yaml:15: InvalidField: spec.denyListFile "../../etc/passwd" is not the name of a file; put the file beside this one, and give its name without a folder`},
	} {
		t.Run(story, func(t *testing.T) {
			g, problems := manifest.ParseGuardrails("g.yaml", []byte(test.content))
			require.Len(t, problems, 1)
			require.Equal(t, test.want, problems[0].String())
			require.Zero(t, g)
			requireSilent(t, problems...)
		})
	}

	t.Run("in Git they are not read, and not passed over either", func(t *testing.T) {
		for _, content := range []string{whole, strings.Replace(whole, "gitrota.dev/v1alpha1", "gitrota.dev/v1", 1), strings.Replace(whole, "gitrota.dev/", "", 1)} {
			problems := parse(content).AllProblems()
			require.Len(t, problems, 1)
			require.Equal(t, "rotations/a.yaml:2: MisplacedGuardrails: guardrails in Git are not read: they would bind nobody who can change them; "+
				"remove them here, and give the file to the agent with --guardrails", problems[0].String())
		}
	})
}

func FuzzParseGuardrails(f *testing.F) {
	f.Add(strings.Replace(wholeGuardrails, "RECIPIENT", newSealer(f).recipient, 1))
	f.Add("spec: [&a {<<: *a}]\n---\n{}")
	f.Fuzz(func(t *testing.T, content string) {
		g, problems := manifest.ParseGuardrails("g.yaml", []byte(content))
		if len(problems) > 0 {
			require.Zero(t, g)
			return
		}
		for _, p := range g.Paths {
			require.True(t, guardrails.IsPath(p.Path))
			require.NotEmpty(t, p.Namespaces)
		}
		require.Positive(t, g.MaxConcurrent)
	})
}
