package signature_test

import (
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

// unsigned is a commit as it is before it is signed.
func unsigned(repo *gittest.Repo) []byte {
	return []byte(repo.Raw(repo.Commit(map[string]string{"a": "a"}, "rotate a\n\nbecause")))
}

func TestCommitsThatAKeyHasSigned(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	begins := time.Now().AddDate(0, 0, -1)
	keys := map[string]*gittest.SigningKey{
		"an ed25519 key":                   server.NewSSHKey("ed25519", ""),
		"an RSA key":                       server.NewSSHKey("rsa", ""),
		"an ECDSA key":                     server.NewSSHKey("ecdsa", ""),
		"an SSH key with a passphrase":     server.NewSSHKey("ed25519", "correct horse"),
		"an OpenPGP key":                   server.NewOpenPGPKey("gitrota <gitrota@example.com>", "", begins, "1y"),
		"an OpenPGP key with a passphrase": server.NewOpenPGPKey("gitrota <gitrota@example.com>", "correct horse", begins, "1y"),
	}
	for story, made := range keys {
		t.Run(story+" signs what git calls good", func(t *testing.T) {
			key, err := signature.LoadKey(made.Dir)
			require.NoError(t, err)
			require.Equal(t, made.Name, key.String())

			repo := server.NewRepo(strings.ReplaceAll(story, " ", "-"))
			object := unsigned(repo)
			armored, err := key.Sign(object)
			require.NoError(t, err)
			hash := repo.Store(signature.Insert(object, armored))
			words, err := repo.VerifyCommit(hash, made, "gitrota@example.com "+made.Public)
			require.NoError(t, err, words)
			require.Contains(t, strings.ToLower(words), "good")
			repo.Check()

			list := write(t, "signers.asc", made.Public)
			if strings.HasPrefix(made.Name, "ssh") || strings.HasPrefix(made.Name, "ecdsa") {
				list = write(t, "signers", "gitrota "+made.Public)
			}
			listed, err := signature.LoadSigners(list)
			require.NoError(t, err)
			got, err := listed.Verify([]byte(repo.Raw(hash)))
			require.NoError(t, err)
			require.Equal(t, made.Name, got.Key)
		})
	}
}

func TestASigningKeyThatCannotBeRead(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	locked := server.NewSSHKey("ed25519", "correct horse")
	private, err := os.ReadFile(filepath.Join(locked.Dir, "identity"))
	require.NoError(t, err)
	for story, c := range map[string]struct {
		files map[string]string
		says  string
	}{
		"nothing at all":            {nil, "holds neither identity"},
		"two keys":                  {map[string]string{"identity": "x", "git.asc": "x"}, "holds both identity and git.asc"},
		"no SSH key":                {map[string]string{"identity": "c4nary"}, "not an SSH private key in PEM"},
		"an SSH key that is locked": {map[string]string{"identity": string(private)}, "has a passphrase: put it under the key password"},
		"a wrong passphrase":        {map[string]string{"identity": string(private), "password": "c4nary"}, "is not the passphrase of the SSH key"},
		"no OpenPGP key":            {map[string]string{"git.asc": "c4nary"}, "not an OpenPGP key in its armour"},
	} {
		t.Run(story+" is said, without the key", func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range c.files {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
			}
			_, err := signature.LoadKey(dir)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "c4nary")
			require.NotContains(t, err.Error(), "PRIVATE KEY")
		})
	}
	t.Run("a folder that is not there is said", func(t *testing.T) {
		_, err := signature.LoadKey(filepath.Join(t.TempDir(), "none"))
		require.ErrorIs(t, err, os.ErrNotExist)
	})
	t.Run("a public OpenPGP key cannot sign", func(t *testing.T) {
		key := server.NewOpenPGPKey("x <x@example.com>", "", time.Now().AddDate(0, 0, -1), "1y")
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "git.asc"), []byte(key.Public), 0o600))
		_, err := signature.LoadKey(dir)
		require.ErrorContains(t, err, "it has to hold the private key")
	})
	t.Run("an OpenPGP key that is locked, or whose passphrase is another one, is said", func(t *testing.T) {
		key := server.NewOpenPGPKey("x <x@example.com>", "correct horse", time.Now().AddDate(0, 0, -1), "1y")
		require.NoError(t, os.Remove(filepath.Join(key.Dir, "passphrase")))
		_, err := signature.LoadKey(key.Dir)
		require.ErrorContains(t, err, "put it under the key passphrase")
		require.NoError(t, os.WriteFile(filepath.Join(key.Dir, "passphrase"), []byte("c4nary"), 0o600))
		_, err = signature.LoadKey(key.Dir)
		require.ErrorContains(t, err, "is not that of the OpenPGP key")
	})
	t.Run("an OpenPGP key that has expired cannot sign", func(t *testing.T) {
		key := server.NewOpenPGPKey("x <x@example.com>", "", time.Now().AddDate(-2, 0, 0), "1y")
		_, err := signature.LoadKey(key.Dir)
		require.ErrorContains(t, err, "neither expired nor revoked")
	})
}

func TestAKeyAndAListFollowTheirFiles(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	first, second := server.NewSSHKey("ed25519", ""), server.NewSSHKey("rsa", "")
	dir := t.TempDir()
	mount := func(key *gittest.SigningKey) {
		text, err := os.ReadFile(filepath.Join(key.Dir, "identity"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "identity"), text, 0o600))
	}
	mount(first)
	key, err := signature.LoadKey(dir)
	require.NoError(t, err)
	list := write(t, "signers", "gitrota "+first.Public)
	listed, err := signature.LoadSigners(list)
	require.NoError(t, err)

	repo := server.NewRepo("ops")
	object := unsigned(repo)
	verify := func() (signature.Signer, error) {
		armored, err := key.Sign(object)
		require.NoError(t, err)
		return listed.Verify(signature.Insert(object, armored))
	}
	_, err = verify()
	require.NoError(t, err)

	mount(second)
	_, err = verify()
	require.ErrorIs(t, err, signature.ErrUntrusted)
	require.NoError(t, os.WriteFile(list, []byte("gitrota "+second.Public+"\n"), 0o600))
	got, err := verify()
	require.NoError(t, err)
	require.Equal(t, second.Name, got.Key)

	// Neither a key nor a list that was taken away goes on to count.
	require.NoError(t, os.WriteFile(list, []byte("what is this\n"), 0o600))
	armored, err := key.Sign(object)
	require.NoError(t, err)
	_, err = listed.Verify(signature.Insert(object, armored))
	require.ErrorContains(t, err, list+":1: ")
	require.NoError(t, os.Remove(filepath.Join(dir, "identity")))
	_, err = key.Sign(object)
	require.ErrorContains(t, err, "reading the signing key again")
}

func TestAKeyDoesNotPrint(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	made := server.NewSSHKey("ed25519", "")
	key, err := signature.LoadKey(made.Dir)
	require.NoError(t, err)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, made.Name, fmt.Sprintf(format, key))
	}
}
