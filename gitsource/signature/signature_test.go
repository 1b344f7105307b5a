package signature_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/signature"
)

// day is when the commits of these tests are made.
var day = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// signed returns a commit that real git has signed.
func signed(repo *gittest.Repo, key *gittest.SigningKey) []byte {
	repo.SignWith(key)
	return []byte(repo.Raw(repo.Commit(map[string]string{"rotations/a.yaml": "a"}, "rotate a\n\nbecause it is time")))
}

// signers loads an allowed_signers file.
func signers(t *testing.T, lines ...string) *signature.Signers {
	t.Helper()
	s, err := signature.LoadSigners(write(t, "allowed_signers", strings.Join(lines, "\n")))
	require.NoError(t, err)
	return s
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestCommitsThatGitHasSignedWithSSH(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		t.Run("a listed "+kind+" key is trusted, and named", func(t *testing.T) {
			key := server.NewSSHKey(kind, "")
			raw := signed(server.NewRepo(kind), key)
			got, err := signers(t, "# the DBAs", "", "dana@example.com "+key.Public+" Dana's laptop").Verify(raw)
			require.NoError(t, err)
			require.Equal(t, signature.Signer{Principal: "dana@example.com", Key: key.Name}, got)
		})
	}

	key, other := server.NewSSHKey("ed25519", ""), server.NewSSHKey("ed25519", "")
	repo := server.NewRepo("ops").At(day)
	raw := signed(repo, key)
	hash := repo.Head()

	for _, c := range []struct {
		story, line string
		principal   string // "" when git refuses as well
		err         error
		says        string
	}{
		{"a pattern", "*@example.com %s", "dana@example.com", nil, ""},
		{"several names", "ops@example.com,dana@example.com %s", "dana@example.com", nil, ""},
		{"another name, which names the key", "ops@example.com,* %s", "dana@example.com", nil, ""},
		{"the name of a team", "dba-team %s", "dba-team", nil, ""},
		{"names in quotes", `"dana@example.com" %s`, "dana@example.com", nil, ""},
		{"the namespace git", `dana@example.com namespaces="git" %s`, "dana@example.com", nil, ""},
		{"namespaces by a pattern", `dana@example.com namespaces="file,g*" %s`, "dana@example.com", nil, ""},
		{"options in capitals", `dana@example.com NAMESPACES="git",Valid-After="20260101Z" %s`, "dana@example.com", nil, ""},
		{"a time that has begun", `dana@example.com valid-after="20260310120000Z" %s`, "dana@example.com", nil, ""},
		{"a time that has not ended", `dana@example.com valid-before="20260310120000Z" %s`, "dana@example.com", nil, ""},
		{"times of both kinds", `dana@example.com valid-after="20260308",valid-before="202603120000" %s`, "dana@example.com", nil, ""},

		{"another namespace", `dana@example.com namespaces="file" %s`, "", signature.ErrUntrusted, "not for the namespace git"},
		{"every namespace but git", `dana@example.com namespaces="!git,*" %s`, "", signature.ErrUntrusted, "not for the namespace git"},
		{"a time that begins later", `dana@example.com valid-after="20260310120001Z" %s`, "", signature.ErrNotValidThen,
			"from 2026-03-10T12:00:01Z, and the commit is of 2026-03-10T12:00:00Z"},
		{"a time that has ended", `dana@example.com valid-after="20250101Z",valid-before="20260310115959Z" %s`, "", signature.ErrNotValidThen,
			"from 2025-01-01T00:00:00Z until 2026-03-10T11:59:59Z"},
	} {
		t.Run("a key that is listed with "+c.story, func(t *testing.T) {
			line := fmt.Sprintf(c.line, key.Public)
			got, err := signers(t, line).Verify(raw)
			words, refused := repo.VerifyCommit(hash, key, line+"\n")
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
				require.ErrorContains(t, err, c.says)
				require.ErrorContains(t, err, key.Name)
				require.Error(t, refused, "git says: %s", words)
				return
			}
			require.NoError(t, err)
			require.Equal(t, signature.Signer{Principal: c.principal, Key: key.Name}, got)
			require.NoError(t, refused, "git says: %s", words)
			require.Contains(t, words, "Good \"git\" signature")
		})
	}

	t.Run("a key is trusted by whichever of its lines is right", func(t *testing.T) {
		got, err := signers(t,
			`old@example.com valid-before="20250101" `+key.Public, "x@example.com "+other.Public, "dana@example.com "+key.Public).Verify(raw)
		require.NoError(t, err)
		require.Equal(t, "dana@example.com", got.Principal)
	})
	t.Run("a committer whom a line excludes is not trusted by it", func(t *testing.T) {
		_, err := signers(t, "!dana@example.com,*@example.com "+key.Public).Verify(raw)
		require.ErrorIs(t, err, signature.ErrUntrusted)
		require.ErrorContains(t, err, `not for "dana@example.com"`)
	})
	t.Run("a key that is not listed is named by its fingerprint", func(t *testing.T) {
		_, err := signers(t, "dana@example.com "+other.Public).Verify(raw)
		require.ErrorIs(t, err, signature.ErrUntrusted)
		require.ErrorContains(t, err, key.Name)
	})
	t.Run("no signature is no signature", func(t *testing.T) {
		_, err := signers(t, "dana@example.com "+key.Public).Verify(signed(server.NewRepo("unsigned"), nil))
		require.ErrorIs(t, err, signature.ErrUnsigned)
	})
}

func TestCommitsThatGitHasSignedWithOpenPGP(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	key := server.NewOpenPGPKey("Dana DBA <dana@example.com>", "", time.Now().AddDate(0, -6, 0), "1y")
	other := server.NewOpenPGPKey("Mallory <mallory@example.com>", "", time.Now().AddDate(0, -6, 0), "never")
	sshKey := server.NewSSHKey("ed25519", "")
	repo := server.NewRepo("ops")
	raw := signed(repo, key)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dana.asc"), []byte(key.Public), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "agents"), []byte("gitrota "+sshKey.Public), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "..2026_03_10"), 0o700), "as Kubernetes mounts a ConfigMap")
	listed, err := signature.LoadSigners(dir)
	require.NoError(t, err)

	t.Run("a listed key is trusted, and named", func(t *testing.T) {
		got, err := listed.Verify(raw)
		require.NoError(t, err)
		require.Equal(t, signature.Signer{Principal: "Dana DBA <dana@example.com>", Key: key.Name}, got)
	})
	t.Run("a folder holds keys of both kinds", func(t *testing.T) {
		got, err := listed.Verify(signed(server.NewRepo("agent"), sshKey))
		require.NoError(t, err)
		require.Equal(t, signature.Signer{Principal: "gitrota", Key: sshKey.Name}, got)
	})
	t.Run("a key that is not listed is not trusted", func(t *testing.T) {
		_, err := listed.Verify(signed(server.NewRepo("stranger"), other))
		require.ErrorIs(t, err, signature.ErrUntrusted)
	})
	t.Run("what was changed is bad", func(t *testing.T) {
		_, err := listed.Verify(bytes.Replace(raw, []byte("it is time"), []byte("I say so"), 1))
		require.ErrorIs(t, err, signature.ErrBadSignature)
	})
	t.Run("two signatures, and something beside one, are bad", func(t *testing.T) {
		text := string(raw)
		begin := strings.Index(text, "gpgsig ") + len("gpgsig ")
		end := strings.Index(text, " -----END PGP SIGNATURE-----\n") + len(" -----END PGP SIGNATURE-----\n")
		armor := text[begin:end]
		for _, odd := range []string{armor + " " + armor, armor + " more\n", "-----BEGIN PGP SIGNATURE-----\n \n " + armor} {
			_, err := listed.Verify([]byte(text[:begin] + odd + text[end:]))
			require.ErrorIs(t, err, signature.ErrBadSignature)
		}
	})
	t.Run("a key that began later, or had expired, was not valid then", func(t *testing.T) {
		late := server.NewRepo("late")
		for _, at := range []time.Time{time.Now().AddDate(-1, 0, 0), time.Now().AddDate(2, 0, 0)} {
			_, err := listed.Verify(signed(late.At(at), key))
			require.ErrorIs(t, err, signature.ErrNotValidThen)
			require.ErrorContains(t, err, key.Name)
		}
	})
	t.Run("a list with a private key is refused", func(t *testing.T) {
		private, err := os.ReadFile(filepath.Join(key.Dir, "git.asc"))
		require.NoError(t, err)
		_, err = signature.LoadSigners(write(t, "dana.asc", string(private)))
		require.ErrorContains(t, err, "holds the private key of "+key.Name)
	})
}

// What an attacker can do to a commit that somebody has signed.
func TestTampering(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	key, mallory := server.NewSSHKey("ed25519", ""), server.NewSSHKey("ed25519", "")
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"rotations/b.yaml": "b"}, "first")
	raw := string(signed(repo, key))
	line := "dana@example.com " + key.Public + "\n"
	listed := signers(t, line)
	_, err := listed.Verify([]byte(raw))
	require.NoError(t, err)

	gpgsig := raw[strings.Index(raw, "gpgsig "):strings.Index(raw, "\n\n")]
	parent := raw[strings.Index(raw, "parent "):strings.Index(raw, "author ")]
	tree := raw[:strings.Index(raw, "parent ")]
	otherTree := "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
	bySomebodyElse := string(signed(server.NewRepo("mallory"), mallory))
	another := string(signed(server.NewRepo("another"), key))
	file := write(t, "note", "a note")
	asFile := sign(t, key, "file", file)

	swap := func(old, new string) string {
		require.Contains(t, raw, old)
		return strings.Replace(raw, old, new, 1)
	}
	signatureOf := func(raw string) string { return raw[strings.Index(raw, "gpgsig "):strings.Index(raw, "\n\n")] }
	for story, c := range map[string]struct {
		object string
		err    error
	}{
		"another message":               {swap("it is time", "I say so"), signature.ErrBadSignature},
		"another tree":                  {swap(tree, otherTree), signature.ErrBadSignature},
		"another parent":                {swap(parent, "parent "+strings.Repeat("1", 40)+"\n"), signature.ErrBadSignature},
		"no parent":                     {swap(parent, ""), signature.ErrBadSignature},
		"another author":                {swap("author Dana DBA", "author Mallory"), signature.ErrBadSignature},
		"another committer":             {swap("committer Dana DBA", "committer Mallory"), signature.ErrBadSignature},
		"the signature taken off":       {swap(gpgsig+"\n", ""), signature.ErrUnsigned},
		"the signature of another one":  {swap(gpgsig, signatureOf(another)), signature.ErrBadSignature},
		"the signature of a stranger":   {swap(gpgsig, signatureOf(bySomebodyElse)), signature.ErrBadSignature},
		"a stranger's commit":           {bySomebodyElse, signature.ErrUntrusted},
		"a signature of a file":         {string(signature.Insert([]byte(swap(gpgsig+"\n", "")), asFile)), signature.ErrBadSignature},
		"two signatures":                {swap(gpgsig, gpgsig+"\n"+gpgsig), signature.ErrBadSignature},
		"two signatures in one header":  {swap(gpgsig, gpgsig+"\n "+strings.TrimPrefix(gpgsig, "gpgsig ")), signature.ErrBadSignature},
		"words beside the signature":    {swap(gpgsig, gpgsig+"\n and more"), signature.ErrBadSignature},
		"a signature in the message":    {swap(gpgsig+"\n", "") + gpgsig + "\n", signature.ErrUnsigned},
		"half a signature":              {swap(gpgsig, gpgsig[:len(gpgsig)-40]), signature.ErrBadSignature},
		"an empty signature":            {swap(gpgsig, "gpgsig "), signature.ErrUnsigned},
		"a signature that is none":      {swap(gpgsig, "gpgsig yes"), signature.ErrUnsupported},
		"an x509 signature":             {swap(gpgsig, "gpgsig -----BEGIN SIGNED MESSAGE-----\n AAAA\n -----END SIGNED MESSAGE-----"), signature.ErrUnsupported},
		"a signature for SHA-256 names": {swap(gpgsig, gpgsig+"\ngpgsig-sha256 x"), signature.ErrUnsupported},

		// Two readers could take these for two different commits.
		"a second tree":                   {swap(tree, tree+otherTree), signature.ErrBadSignature},
		"a second tree after the headers": {swap(gpgsig, gpgsig+"\n"+strings.TrimSpace(otherTree)), signature.ErrBadSignature},
		"a parent after the committer":    {swap(gpgsig, gpgsig+"\nparent "+strings.Repeat("1", 40)), signature.ErrBadSignature},
		"a second committer":              {swap(gpgsig, gpgsig+"\ncommitter Dana DBA <dana@example.com> 1 +0000"), signature.ErrBadSignature},
		"a second author":                 {swap(gpgsig, gpgsig+"\nauthor Mallory <m@example.com> 1 +0000"), signature.ErrBadSignature},
		"the headers in another order":    {parent + strings.Replace(raw, parent, "", 1), signature.ErrBadSignature},
		"a NUL in the message":            {raw + "\x00more", signature.ErrBadSignature},
		"a NUL in a header":               {swap("author Dana", "author Da\x00na"), signature.ErrBadSignature},
		"a header without a name":         {swap(gpgsig, gpgsig+"\n\tx y"), signature.ErrBadSignature},
		"a blank before the tree":         {" " + raw, signature.ErrBadSignature},
		"a committer without a time":      {swap("committer Dana DBA <dana@example.com> ", "committer Dana DBA <dana@example.com> x"), signature.ErrBadSignature},
		"no end of the headers":           {raw[:strings.Index(raw, "\n\n")+1], signature.ErrBadSignature},
		"nothing":                         {"", signature.ErrBadSignature},
	} {
		t.Run(story+" is refused", func(t *testing.T) {
			_, err := listed.Verify([]byte(c.object))
			require.ErrorIs(t, err, c.err)
			if words, err := repo.VerifyCommit(repo.Store([]byte(c.object)), key, line); err == nil {
				// git forgives what is beside the first signature.
				require.Contains(t, []string{
					"two signatures", "two signatures in one header", "words beside the signature", "a signature for SHA-256 names",
				}, story, words)
			}
		})
	}
}

// sign signs a file with ssh-keygen, in a namespace.
func sign(t *testing.T, key *gittest.SigningKey, namespace, file string) string {
	t.Helper()
	gittest.SignFile(t, key, namespace, file)
	text, err := os.ReadFile(file + ".sig")
	require.NoError(t, err)
	return string(text)
}
