package guardrails_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/approval"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/policies/hosts"
)

func TestAFileMayBeAboutTheNamespacesOfItsFolder(t *testing.T) {
	g := guardrails.Guardrails{Paths: []guardrails.Path{
		{Path: "rotations/team-a", Namespaces: []string{"team-a", "team-a-*"}},
		{Path: "rotations/team-b", Namespaces: []string{"team-b"}},
		{Path: "rotations/team-a/shared", Namespaces: []string{"shared"}},
		{Path: "rotations/team-a/shared", Namespaces: []string{"common"}},
		{Path: "ops.yaml", Namespaces: []string{"*"}},
	}}
	const (
		nowhere = "is in no folder that the guardrails list, so it may be about no namespace"
		ofTeamA = `files in "rotations/team-a" may be about the namespaces team-a, team-a-*, and not about `
	)
	for story, test := range map[string]struct{ file, namespace, refused string }{
		"its own namespace":                                  {"rotations/team-a/orders.yaml", "team-a", ""},
		"a folder below counts as well":                      {"rotations/team-a/deep/er/orders.yaml", "team-a-eu", ""},
		"another team's namespace is refused":                {"rotations/team-a/orders.yaml", "team-b", ofTeamA + `"team-b"`},
		"of two folders the longer one counts":               {"rotations/team-a/shared/x.yaml", "team-a", `files in "rotations/team-a/shared" may be about the namespaces shared, common, and not about "team-a"`},
		"a folder that is listed twice has both":             {"rotations/team-a/shared/x.yaml", "common", ""},
		"a path can be a file":                               {"ops.yaml", "anything", ""},
		"a folder whose name only begins alike is not meant": {"rotations/team-ab/x.yaml", "team-a", nowhere},
		"a file beside the folders may be about nothing":     {"rotations/x.yaml", "team-a", nowhere},
		"the way up and down again is no path":               {"rotations/team-a/../team-b/x.yaml", "team-a", nowhere},
		"neither is one with a dot":                          {"rotations/./team-a/x.yaml", "team-a", nowhere},
		"neither is one with two slashes":                    {"rotations//team-a/x.yaml", "team-a", nowhere},
		"neither is an absolute one":                         {"/rotations/team-a/x.yaml", "team-a", nowhere},
		"upper case is another folder":                       {"rotations/Team-A/x.yaml", "team-a", nowhere},
		"a backslash does not part folders":                  {`rotations/team-a\..\team-b/x.yaml`, "team-a", nowhere},
		"a policy's glob has to be within the folder's":      {"rotations/team-a/p.yaml", "team-a-*", ""},
		"a policy's glob that reaches further is refused":    {"rotations/team-a/p.yaml", "team-*", ofTeamA + `"team-*"`},
		"a policy about everything is refused":               {"rotations/team-a/p.yaml", "*", ofTeamA + `"*"`},
	} {
		t.Run(story, func(t *testing.T) {
			refusal := g.File(test.file, test.namespace)
			if test.refused == "" {
				require.Nil(t, refusal)
				return
			}
			require.Equal(t, "ForeignNamespace", refusal.Reason)
			require.Contains(t, refusal.Message, test.refused)
		})
	}

	t.Run("without paths every file may be about everything", func(t *testing.T) {
		require.Nil(t, guardrails.Guardrails{}.File("a/../x.yaml", "kube-system"))
	})

	t.Run("the top of the repository is above all", func(t *testing.T) {
		g := guardrails.Guardrails{Paths: []guardrails.Path{{Path: ".", Namespaces: []string{"team-*"}}}}
		require.Nil(t, g.File("x.yaml", "team-a"))
		require.NotNil(t, g.File("x.yaml", "ops"))
		require.NotNil(t, g.File("../x.yaml", "team-a"))
	})
}

func TestWhoMayReadASuppliedCredential(t *testing.T) {
	const ours = "age1ours"
	both := guardrails.Guardrails{Recipients: []string{ours}, KeyServices: []string{"age"}}
	onlyKinds := guardrails.Guardrails{KeyServices: []string{"age", "pgp"}}
	for story, test := range map[string]struct {
		guardrails     guardrails.Guardrails
		kind, name     string
		refusedBecause string
	}{
		"without guardrails anybody":        {guardrails.Guardrails{}, "hc_vault", "https://vault.example.com", ""},
		"a listed recipient":                {both, "age", ours, ""},
		"any of a listed kind":              {onlyKinds, "pgp", "0123ABCD", ""},
		"another recipient is refused":      {both, "age", "age1eve", `the file can be decrypted with the age key "age1eve", which is not one of the recipients that the guardrails allow`},
		"another kind of key is refused":    {both, "kms", ours, `the file can be decrypted with the key "age1ours" of the kind "kms", and the guardrails allow the kinds age`},
		"a name with a line break is shown": {both, "age", "age1\n\x1b[31m", `the file can be decrypted with the age key "age1\n\x1b[31m", which is not one of the recipients that the guardrails allow`},
		"a long name is cut":                {both, "age", strings.Repeat("x", 5000), `the file can be decrypted with the age key "` + strings.Repeat("x", 100) + `…", which is not one of the recipients that the guardrails allow`},
	} {
		t.Run(story, func(t *testing.T) {
			refusal := test.guardrails.Recipient(test.kind, test.name)
			if test.refusedBecause == "" {
				require.Nil(t, refusal)
				return
			}
			require.Equal(t, "ForeignRecipient", refusal.Reason)
			require.Equal(t, test.refusedBecause, refusal.Message)
		})
	}
}

func TestAHostThatIsNotListedIsSentNothing(t *testing.T) {
	list, err := hosts.Parse("sql1.example.com:1433")
	require.NoError(t, err)
	g := guardrails.Guardrails{Hosts: list}
	require.Nil(t, g.Host("sql1.example.com:1433"))
	require.Equal(t, &guardrails.Refusal{
		Reason:  "EndpointNotAllowed",
		Message: `"evil.example.com:1433" is not on the list of hosts that gitrota may connect to`,
		Hint:    "let whoever runs gitrota add it to --allow-hosts or to spec.hosts of the guardrails, or correct the endpoint",
	}, g.Host("evil.example.com:1433"))
	require.NotNil(t, guardrails.Guardrails{}.Host("sql1.example.com:1433"))
}

func TestPoliciesAddToTheApprovalThatGuardrailsAskFor(t *testing.T) {
	one := approval.Rule{Mode: approval.Reviews, Count: 1}
	two := approval.Rule{Mode: approval.Signatures, Count: 2}
	g := guardrails.Guardrails{Approval: one}
	require.Equal(t, []approval.Rule{one, two}, g.RequestApprovals(&two))
	require.Equal(t, []approval.Rule{one}, g.RequestApprovals(&approval.Rule{Mode: approval.Merge}), "a policy lowers nothing")
	require.Equal(t, []approval.Rule{one}, g.RequestApprovals(nil))
	require.Empty(t, guardrails.Guardrails{}.RequestApprovals(nil))

	require.Equal(t, []approval.Rule{one}, g.PolicyApprovals())
	g.PolicyApproval = &two
	require.Equal(t, []approval.Rule{two}, g.PolicyApprovals())
}

func TestHowManyRotationsRunAtOnce(t *testing.T) {
	require.Equal(t, 10, guardrails.Guardrails{}.Concurrent())
	require.Equal(t, 3, guardrails.Guardrails{MaxConcurrent: 3}.Concurrent())
}

func TestANamespaceThatNoFolderIsForIsNobodysBusiness(t *testing.T) {
	require.True(t, guardrails.Guardrails{}.Namespace("any"))
	g := guardrails.Guardrails{Paths: []guardrails.Path{{Path: "a", Namespaces: []string{"team-a"}}, {Path: "b", Namespaces: []string{"team-b", "b-*"}}}}
	require.True(t, g.Namespace("team-a"))
	require.True(t, g.Namespace("b-test"))
	require.False(t, g.Namespace("team-c"))
}
