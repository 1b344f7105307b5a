package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/gitsource/sopsfile"
)

// canary is in every password of these tests, and must be in no problem.
const canary = "Canary5"

const plainSecret = `apiVersion: v1
kind: Secret
metadata:
  name: quickstart-user
  namespace: demo
type: kubernetes.io/basic-auth
stringData:
  username: sa
  password: Canary5-Passw0rd
`

const onlyValues = "^(data|stringData)$"

// sealer encrypts for a key of its own.
type sealer struct {
	keys      sopsfile.Keys
	recipient string
}

func newSealer(t testing.TB) sealer {
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	keys, err := sopsfile.ParseKeys([]byte(identity.String()))
	require.NoError(t, err)
	return sealer{keys, identity.Recipient().String()}
}

func (s sealer) seal(t testing.TB, plain, regex string) string {
	file, err := sopsfile.Encrypt([]byte(plain), []string{s.recipient}, regex)
	require.NoError(t, err)
	return string(file)
}

func requireSilent(t *testing.T, problems ...manifest.Problem) {
	t.Helper()
	require.NotContains(t, fmt.Sprintf("%+v", problems), canary)
}

func TestReadCredential(t *testing.T) {
	s := newSealer(t)

	t.Run("username and password are read", func(t *testing.T) {
		set := parse(s.seal(t, plainSecret, onlyValues))
		require.Empty(t, set.AllProblems())
		secret := set.Secret("demo", "quickstart-user")
		require.True(t, secret.Encrypted)
		got, problem := manifest.ReadCredential(secret, s.keys)
		require.Nil(t, problem)
		require.Equal(t, "sa", got.Username)
		require.Equal(t, "Canary5-Passw0rd", got.Password.Reveal())
		require.NotContains(t, fmt.Sprintf("%+v %#v", *secret, got), canary)
	})

	for story, plain := range map[string]string{
		"data is decoded": strings.NewReplacer("stringData", "data", "username: sa", "username: c2E=",
			"Canary5-Passw0rd", "Q2FuYXJ5NS1QYXNzdzByZA==").Replace(plainSecret),
		"stringData wins over data, as in Kubernetes": plainSecret + "data:\n  password: b3RoZXI=\n",
		"Opaque is as good a type":                    strings.Replace(plainSecret, "kubernetes.io/basic-auth", "Opaque", 1),
		"no type is Opaque":                           strings.Replace(plainSecret, "type: kubernetes.io/basic-auth\n", "", 1),
	} {
		t.Run(story, func(t *testing.T) {
			got, problem := manifest.ReadCredential(parse(s.seal(t, plain, onlyValues)).Secrets[0], s.keys)
			require.Nil(t, problem)
			require.Equal(t, "Canary5-Passw0rd", got.Password.Reveal())
		})
	}

	t.Run("a username that is not encrypted is no secret", func(t *testing.T) {
		set := parse(s.seal(t, plainSecret, "^password$"))
		require.Empty(t, set.AllProblems())
		got, problem := manifest.ReadCredential(set.Secrets[0], s.keys)
		require.Nil(t, problem)
		require.Equal(t, "sa", got.Username)
	})

	t.Run("texts that YAML likes to convert come back as they were", func(t *testing.T) {
		for _, password := range []string{"0123", "1e3", "no", "2026-11-23", "null", "0x1F", "~", "=", "a: b", " x "} {
			plain := strings.Replace(plainSecret, "Canary5-Passw0rd", fmt.Sprintf("%q", password), 1)
			got, problem := manifest.ReadCredential(parse(s.seal(t, plain, onlyValues)).Secrets[0], s.keys)
			require.Nil(t, problem)
			require.Equal(t, password, got.Password.Reveal())
		}
	})

	t.Run("files made by sops are read, of several documents and in JSON", func(t *testing.T) {
		keys, err := sopsfile.LoadKeys("../sopsfile/testdata")
		require.NoError(t, err)
		files := map[string][]byte{}
		for _, name := range []string{"secret.yaml", "multi.yaml", "secret.json"} {
			files[name], err = os.ReadFile(filepath.Join("../sopsfile/testdata", name))
			require.NoError(t, err)
		}
		set := manifest.Parse(files)
		require.Empty(t, set.AllProblems())
		for name, password := range map[string]string{
			"mssqlserver-quickstart-auth-user": "Mssqlserver2-canary", "first": "First-canary-1",
			"second": "Second-canary-2", "json": "Json-canary-3",
		} {
			got, problem := manifest.ReadCredential(set.Secret("demo", name), keys)
			require.Nil(t, problem)
			require.Equal(t, "sa", got.Username)
			require.Equal(t, password, got.Password.Reveal())
		}
	})

	other := newSealer(t)
	damaged := func(plain, old, new string) string {
		return strings.Replace(s.seal(t, plain, onlyValues), old, new, 1)
	}
	for story, test := range map[string]struct{ content, reason, says string }{
		"a key that does not fit is said, with the recipients": {other.seal(t, plainSecret, onlyValues),
			manifest.ReasonUndecryptable, "rotations/a.yaml:1: Undecryptable: the Secret cannot be decrypted: none of gitrota's age keys is a recipient of the file; its age recipients are " + other.recipient},
		"a file that was changed is said": {damaged(plainSecret, "namespace: demo", "namespace: prod"),
			manifest.ReasonUndecryptable, "the MAC does not match"},
		"a number is refused and not converted": {damaged(strings.Replace(plainSecret, "Canary5-Passw0rd", "0123", 1), "", ""),
			manifest.ReasonNotAString, "rotations/a.yaml:9: NotAString: stringData.password was a number and not a string"},
		"a boolean is refused": {damaged(strings.Replace(plainSecret, "Canary5-Passw0rd", "true", 1), "", ""),
			manifest.ReasonNotAString, "was a boolean"},
		"a float is refused": {damaged(strings.Replace(plainSecret, "Canary5-Passw0rd", "1e3", 1), "", ""),
			manifest.ReasonNotAString, "was a number"},
		"a date is refused": {damaged(strings.Replace(plainSecret, "Canary5-Passw0rd", "2026-11-23", 1), "", ""),
			manifest.ReasonNotAString, "and not a string"},
		"no password is refused": {damaged(strings.Replace(plainSecret, "  password: Canary5-Passw0rd\n", "", 1), "", ""),
			manifest.ReasonInvalidSecret, "rotations/a.yaml:1: InvalidSecret: the Secret has no key password"},
		"null is no password": {damaged(strings.Replace(plainSecret, "Canary5-Passw0rd", "null", 1), "", ""),
			manifest.ReasonInvalidSecret, "rotations/a.yaml:9: InvalidSecret: the key password of the Secret is empty"},
		"an empty password is refused": {damaged(strings.Replace(plainSecret, "Canary5-Passw0rd", `""`, 1), "", ""),
			manifest.ReasonInvalidSecret, "the key password of the Secret is empty"},
		"a line break at the end is refused": {damaged(strings.Replace(plainSecret, "Canary5-Passw0rd", `"Canary5\n"`, 1), "", ""),
			manifest.ReasonInvalidSecret, "rotations/a.yaml:9: InvalidSecret: the key password of the Secret holds a line break"},
		"text under data is refused": {damaged(strings.Replace(plainSecret, "stringData", "data", 1), "", ""),
			manifest.ReasonInvalidSecret, "is under data, but is not base64"},
		"bytes that are no text are refused": {damaged(strings.NewReplacer("stringData", "data", "sa", "c2E=", "Canary5-Passw0rd", "//79").Replace(plainSecret), "", ""),
			manifest.ReasonInvalidSecret, "is not UTF-8 text"},
		"another type of Secret is refused": {damaged(strings.Replace(plainSecret, "kubernetes.io/basic-auth", "kubernetes.io/tls", 1), "", ""),
			manifest.ReasonInvalidSecret, `a Secret of the type "kubernetes.io/tls" holds no credential`},
		"a Secret without its sops block is refused": {damaged(plainSecret, "sops:", "pops:"),
			manifest.ReasonInvalidSecret, "the sops block with the key to it is missing"},
	} {
		t.Run(story, func(t *testing.T) {
			require.NotContains(t, test.content, canary)
			set := parse(test.content)
			require.Len(t, set.Secrets, 1)
			got, problem := manifest.ReadCredential(set.Secrets[0], s.keys)
			require.NotNil(t, problem)
			require.True(t, got.IsZero())
			require.Equal(t, test.reason, problem.Reason)
			require.Contains(t, problem.String(), test.says)
			requireSilent(t, *problem)
		})
	}
}

func TestSecretsThatAnybodyCanRead(t *testing.T) {
	s := newSealer(t)
	for story, test := range map[string]struct {
		content string
		line    int
	}{
		"a plaintext Secret":                      {plainSecret, 8},
		"base64 hides nothing":                    {strings.Replace(plainSecret, "stringData", "data", 1), 8},
		"a number":                                {strings.Replace(plainSecret, "Canary5-Passw0rd", "5", 1), 8},
		"a block of text":                         {strings.Replace(plainSecret, "Canary5", "|\n    Canary5", 1), 8},
		"a mapping":                               {strings.Replace(plainSecret, "Canary5-Passw0rd", "{Canary5: 1}", 1), 8},
		"the whole section in one text":           {strings.Replace(plainSecret, "\n  username: sa\n  password: ", " ", 1), 7},
		"a Secret without an apiVersion":          {strings.Replace(plainSecret, "apiVersion: v1\n", "", 1), 7},
		"a Secret without a namespace":            {strings.Replace(plainSecret, "  namespace: demo\n", "", 1), 7},
		"a password that the regex left out":      {s.seal(t, plainSecret, "^username$"), 9},
		"a value that was added after encryption": {strings.Replace(s.seal(t, plainSecret, onlyValues), "stringData:", "stringData:\n    old: Canary5", 1), 8},
		"the copy that kubectl apply leaves": {s.seal(t, strings.Replace(plainSecret, "metadata:", "metadata:\n  annotations:\n"+
			"    kubectl.kubernetes.io/last-applied-configuration: '{\"password\":\"Canary5\"}'", 1), onlyValues), 5},
	} {
		t.Run(story+" is a leak, and is not repeated", func(t *testing.T) {
			set := parse(test.content)
			problems := set.AllProblems()
			at := slices.IndexFunc(problems, func(p manifest.Problem) bool { return p.Reason == manifest.ReasonPlaintextSecret })
			require.GreaterOrEqual(t, at, 0)
			require.Equal(t, test.line, problems[at].Line)
			require.Contains(t, problems[at].Message, "leaked")
			require.Contains(t, problems[at].Hint, `sops --encrypt --encrypted-regex '^(data|stringData)$'`)
			requireSilent(t, problems...)
			for _, secret := range set.Secrets {
				_, problem := manifest.ReadCredential(secret, s.keys)
				require.NotNil(t, problem)
				requireSilent(t, *problem)
			}
			require.NotContains(t, fmt.Sprintf("%+v", set), canary)
		})
	}

	t.Run("a file that cannot be parsed does not repeat it either", func(t *testing.T) {
		for _, value := range []string{"*Canary5", "&Canary5 *Canary5x", "@Canary5", "%Canary5", "\"Canary5", "Canary5: x: y", "!Canary5 {", "{Canary5", "`Canary5"} {
			problems := parse(strings.Replace(plainSecret, "Canary5-Passw0rd", value, 1)).AllProblems()
			require.NotEmpty(t, problems, value)
			requireSilent(t, problems...)
		}
	})
}

func TestSecretsThatNobodyCanFind(t *testing.T) {
	s := newSealer(t)
	for story, content := range map[string]string{
		"everything is encrypted":   s.seal(t, plainSecret, ""),
		"the metadata is encrypted": s.seal(t, plainSecret, "^(metadata|stringData)$"),
	} {
		t.Run(story, func(t *testing.T) {
			set := parse(content)
			require.Empty(t, set.Secrets)
			require.Len(t, set.Problems, 1)
			require.Equal(t, manifest.ReasonEncryptedMetadata, set.Problems[0].Reason)
			require.Contains(t, set.Problems[0].Hint, "--encrypted-regex '^(data|stringData)$'")
		})
	}
}

func TestValidate(t *testing.T) {
	s := newSealer(t)
	request := generated + "  authentication:\n    secretRef:\n      name: quickstart-user\n"
	validate := func(secret string) []string {
		problems := manifest.Validate(map[string][]byte{"request.yaml": []byte(request), "secret.yaml": []byte(secret)})
		requireSilent(t, problems...)
		var said []string
		for _, p := range problems {
			said = append(said, p.String())
		}
		return said
	}

	t.Run("what can be used has no problem, without any key", func(t *testing.T) {
		require.Empty(t, validate(s.seal(t, plainSecret, onlyValues)))
	})
	t.Run("a Secret that is not in Git may be in the cluster", func(t *testing.T) {
		require.Empty(t, validate(""))
	})
	t.Run("a request for a Secret that cannot be used is wrong as well", func(t *testing.T) {
		said := validate(s.seal(t, strings.Replace(plainSecret, "username:", "user:", 1), onlyValues))
		require.Equal(t, []string{"request.yaml:14: UnusableSecret: spec.authentication.secretRef refers to the Secret demo/quickstart-user at secret.yaml:1, " +
			"which cannot be used: the Secret has no key username; it needs username and password"}, said)
	})
	t.Run("a Secret of another type disturbs nobody until a request refers to it", func(t *testing.T) {
		tls := s.seal(t, strings.Replace(plainSecret, "kubernetes.io/basic-auth", "kubernetes.io/tls", 1), onlyValues)
		require.Len(t, validate(tls), 1)
		require.Empty(t, manifest.Validate(map[string][]byte{"secret.yaml": []byte(tls)}))
	})
	t.Run("two Secrets with one name are both wrong", func(t *testing.T) {
		file := s.seal(t, plainSecret, onlyValues)
		problems := manifest.Validate(map[string][]byte{"a.yaml": []byte(file), "b.yaml": []byte(file)})
		require.Len(t, problems, 2)
		require.Equal(t, manifest.ReasonDuplicateName, problems[0].Reason)
		require.Contains(t, problems[0].Message, "b.yaml:1")
	})
}
