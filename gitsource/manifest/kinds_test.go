package manifest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

func TestKindsOfGitrota(t *testing.T) {
	for story, test := range map[string]struct{ version, kind, want string }{
		"a mistyped kind is named with what was meant": {"gitrota.dev/v1alpha1", "SqlServer",
			`2: UnknownKind: there is no kind "SqlServer" in gitrota.dev/v1alpha1 that this version of gitrota reads; did you mean "SQLServer"?`},
		"a kind that is like none is answered with all": {"gitrota.dev/v1alpha1", "Schedule",
			`2: UnknownKind: there is no kind "Schedule" in gitrota.dev/v1alpha1 that this version of gitrota reads; the kinds are SQLServer, RotationPolicy, RotationRollback`},
		"another version is not guessed at": {"gitrota.dev/v1", "SQLServer",
			`1: UnsupportedAPIVersion: SQLServer is not served in apiVersion "gitrota.dev/v1"; use gitrota.dev/v1alpha1`},
		"a mistyped group is found": {"gitrota.de/v1alpha1", "RotationPolicy",
			`1: UnsupportedAPIVersion: RotationPolicy is not served in apiVersion "gitrota.de/v1alpha1"; use gitrota.dev/v1alpha1`},
		"a group that is missing is found": {"v1alpha1", "RotationRollback",
			`1: UnsupportedAPIVersion: RotationRollback is not served in apiVersion "v1alpha1"; use gitrota.dev/v1alpha1`},
		"somebody else's kind of the same name is ignored": {"sql.cloud.example.com/v1", "SQLServer", ""},
	} {
		t.Run(story, func(t *testing.T) {
			problems := parse("apiVersion: " + test.version + "\nkind: " + test.kind + "\n").AllProblems()
			if test.want == "" {
				require.Empty(t, problems)
				return
			}
			require.Len(t, problems, 1)
			require.Equal(t, "rotations/a.yaml:"+test.want, problems[0].String())
		})
	}
}

func TestValidateLooksAtWhatARequestRefersTo(t *testing.T) {
	said := func(files map[string][]byte) (said []string) {
		for _, p := range manifest.Validate(files) {
			said = append(said, p.String())
		}
		return said
	}

	t.Run("a server that has problems", func(t *testing.T) {
		require.Equal(t, []string{
			`r.yaml:8: UnusableServer: spec.databaseRef refers to the SQLServer shop/legacy at s.yaml:12, which cannot be used: spec.tls has no field "pin"; the fields here are caSecret, certificate, trustServerCertificate, serverName`,
			`s.yaml:12: UnknownField: spec.tls has no field "pin"; the fields here are caSecret, certificate, trustServerCertificate, serverName`,
		}, said(map[string][]byte{"r.yaml": []byte(rollback), "s.yaml": []byte(legacy + "    pin: x\n")}))
	})

	t.Run("policies that differ, which is said once", func(t *testing.T) {
		const all = "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: a}\nspec: {consumers: {restart: true}}\n"
		const none = "apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: b}\nspec: {consumers: {restart: false}}\n"
		require.Equal(t, []string{
			`a.yaml:1: PolicyConflict: spec.consumers: a.yaml:1 and b.yaml:1 say different things about SQLServer shop/legacy, and neither is more specific; make one of them more specific, or let both say the same`,
		}, said(map[string][]byte{
			"a.yaml": []byte(all), "b.yaml": []byte(none), "s.yaml": []byte(legacy),
			"r.yaml": []byte(rollback + "---\n" + "apiVersion: gitrota.dev/v1alpha1\nkind: RotationRollback\nmetadata: {name: b, namespace: shop}\nspec: {databaseRef: {name: legacy}}\n"),
		}))
	})

	t.Run("two servers with one auth Secret", func(t *testing.T) {
		const hint = "one Secret is about one login; give each server a Secret of its own; servers that have the login in common are endpoints of one SQLServer"
		require.Equal(t, []string{
			`a.yaml:8: SharedSecret: spec.authSecret legacy-auth is that of the SQLServer other at b.yaml:1, too, and ` + hint,
			`b.yaml:6: SharedSecret: spec.authSecret legacy-auth is that of the SQLServer legacy at a.yaml:1, too, and ` + hint,
		}, said(map[string][]byte{
			"a.yaml": []byte(legacy), "b.yaml": []byte(strings.Replace(external, "{name: legacy,", "{name: other,", 1)),
			"c.yaml": []byte(strings.Replace(external, "namespace: shop", "namespace: elsewhere", 1)),
		}))
	})

	t.Run("two servers of one name", func(t *testing.T) {
		require.Equal(t, []string{
			`a.yaml:1: DuplicateName: there is another SQLServer named shop/legacy at b.yaml:1; rename or remove one of them`,
			`b.yaml:1: DuplicateName: there is another SQLServer named shop/legacy at a.yaml:1; rename or remove one of them`,
		}, said(map[string][]byte{"a.yaml": []byte(legacy), "b.yaml": []byte(external)}))
	})
}
