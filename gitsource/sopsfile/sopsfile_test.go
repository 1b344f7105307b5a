package sopsfile_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/sopsfile"
)

const plaintext = `apiVersion: v1
kind: Secret
stringData:
    username: sa
    password: Canary-5ecret
`

// canaries are the passwords in the files of these tests. They must be in no error.
var canaries = []string{"canary", "Canary", "Mssqlserver2", "AGE-SECRET-KEY", "5ecret"}

func requireSilent(t *testing.T, err error) {
	t.Helper()
	for _, canary := range canaries {
		require.NotContains(t, err.Error(), canary)
	}
}

func read(t testing.TB, name string) []byte {
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return data
}

func testKeys(t testing.TB) sopsfile.Keys {
	keys, err := sopsfile.LoadKeys("testdata")
	require.NoError(t, err)
	return keys
}

// newKey returns an age identity and its recipient.
func newKey(t *testing.T) (sopsfile.Keys, string) {
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	keys, err := sopsfile.ParseKeys([]byte("# made for a test\n\n" + identity.String() + "\n"))
	require.NoError(t, err)
	return keys, identity.Recipient().String()
}

func TestFilesMadeBySops(t *testing.T) {
	for name, wants := range map[string][]string{
		"secret.yaml":     {"password: Mssqlserver2-canary", "# who rotates this"},
		"multi.yaml":      {"password: First-canary-1", "password: U2Vjb25kLWNhbmFyeS0y"},
		"everything.yaml": {"kind: Secret", "password: Mssqlserver2-canary"},
		"secret.json":     {`"password": "Json-canary-3"`},
	} {
		t.Run(name+" decrypts", func(t *testing.T) {
			plain, err := sopsfile.Decrypt(read(t, name), testKeys(t))
			require.NoError(t, err)
			for _, want := range wants {
				require.Contains(t, string(plain), want)
			}
			require.NotContains(t, string(plain), "sops:")
		})
	}
}

func TestDecrypt(t *testing.T) {
	keys, recipient := newKey(t)
	file, err := sopsfile.Encrypt([]byte(plaintext), []string{recipient}, "^(data|stringData)$")
	require.NoError(t, err)
	require.NotContains(t, string(file), "Canary")

	t.Run("what was encrypted comes back", func(t *testing.T) {
		plain, err := sopsfile.Decrypt(file, keys)
		require.NoError(t, err)
		require.Equal(t, plaintext, string(plain))
	})

	t.Run("somebody else's key does not fit, and the error names who can decrypt", func(t *testing.T) {
		other, _ := newKey(t)
		_, err := sopsfile.Decrypt(file, other)
		require.ErrorIs(t, err, sopsfile.ErrNoKeyFits)
		require.ErrorContains(t, err, recipient)
		requireSilent(t, err)
	})

	t.Run("without keys nothing is tried, whatever the environment offers", func(t *testing.T) {
		ran := filepath.Join(t.TempDir(), "ran")
		t.Setenv("SOPS_AGE_KEY_FILE", filepath.Join("testdata", "test.agekey"))
		t.Setenv("SOPS_AGE_KEY_CMD", "touch "+ran)
		_, err := sopsfile.Decrypt(read(t, "secret.yaml"), sopsfile.Keys{})
		require.ErrorIs(t, err, sopsfile.ErrNoKeys)
		_, err = sopsfile.Decrypt(read(t, "secret.yaml"), keys)
		require.ErrorIs(t, err, sopsfile.ErrNoKeyFits)
		require.NoFileExists(t, ran)
	})

	for story, test := range map[string]struct {
		file string
		want error
	}{
		"a file that is not encrypted is told so": {plaintext, sopsfile.ErrNotSOPS},
		"text that is no YAML is not SOPS either": {"\t: {", sopsfile.ErrNotSOPS},
		"an empty file is not SOPS either":        {"", sopsfile.ErrNotSOPS},
		"a list is not SOPS either":               {"- a\n- sops\n", sopsfile.ErrNotSOPS},
		"a plain value that was changed breaks the MAC": {
			strings.Replace(string(file), "kind: Secret", "kind: Terces", 1), sopsfile.ErrMAC},
		"a plain value that was added breaks the MAC": {"note: hello\n" + string(file), sopsfile.ErrMAC},
		"a value that was removed breaks the MAC":     {without(string(file), "    username:"), sopsfile.ErrMAC},
		"a MAC that was removed is a MAC that does not match": {
			strings.Replace(string(file), "    mac: ", "    was: ", 1), sopsfile.ErrMAC},
		"a value that was moved to another key is damaged": {
			strings.Replace(string(file), "username:", "password2:", 1), sopsfile.ErrDamaged},
		"a plaintext in place of an encrypted value is damaged, and not repeated": {
			swapValue(string(file), "    password:", " Canary-5ecret"), sopsfile.ErrDamaged},
		"a file of a megabyte is not a Secret": {strings.Repeat("# nothing\n", 1<<17), sopsfile.ErrTooLarge},
	} {
		t.Run(story, func(t *testing.T) {
			plain, err := sopsfile.Decrypt([]byte(test.file), keys)
			require.ErrorIs(t, err, test.want)
			require.Nil(t, plain)
			requireSilent(t, err)
		})
	}
}

// A repository must not be able to choose where gitrota sends requests.
func TestAFileThatNamesAVaultIsNotObeyed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	called := make(chan struct{}, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			called <- struct{}{}
			conn.Close()
		}
	}()
	t.Setenv("VAULT_TOKEN", "s.canary")
	vault := fmt.Sprintf(`sops:
    hc_vault:
        - vault_address: http://%s
          engine_path: transit
          key_name: k
          created_at: "2026-01-01T00:00:00Z"
          enc: vault:v1:AAAA`, listener.Addr())
	hostile := strings.Replace(string(read(t, "secret.yaml")), "sops:", vault, 1)

	plain, err := sopsfile.Decrypt([]byte(hostile), testKeys(t))
	require.NoError(t, err, "its age key is good")
	require.Contains(t, string(plain), "Mssqlserver2-canary")
	require.Empty(t, called)

	stranger, _ := newKey(t)
	_, err = sopsfile.Decrypt([]byte(hostile), stranger)
	require.ErrorIs(t, err, sopsfile.ErrNoKeyFits)
	require.ErrorContains(t, err, "1 of another kind")
	require.Empty(t, called)
}

func TestEncryptRefusesWhatIsNoAgeRecipient(t *testing.T) {
	for _, recipients := range [][]string{nil, {"age1nonsense"}, {"ssh-ed25519 AAAA"}, {"age1yubikey1q2w3e"}} {
		_, err := sopsfile.Encrypt([]byte(plaintext), recipients, "")
		require.Error(t, err)
		requireSilent(t, err)
	}
}

func TestKeys(t *testing.T) {
	one, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	two, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	folder := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		return dir
	}

	t.Run("every identity of every file decrypts", func(t *testing.T) {
		keys, err := sopsfile.LoadKeys(folder(map[string]string{
			"a.agekey":  "# nobody's\n" + one.String() + "\n",
			"b.agekey":  "# created: today\n# public key: " + two.Recipient().String() + "\n" + two.String(),
			"README.md": "not a key",
		}))
		require.NoError(t, err)
		for _, recipient := range []string{one.Recipient().String(), two.Recipient().String()} {
			file, err := sopsfile.Encrypt([]byte(plaintext), []string{recipient}, "^stringData$")
			require.NoError(t, err)
			_, err = sopsfile.Decrypt(file, keys)
			require.NoError(t, err)
		}
	})

	t.Run("keys do not print", func(t *testing.T) {
		keys, err := sopsfile.ParseKeys([]byte(one.String()))
		require.NoError(t, err)
		encoded, err := json.Marshal(map[string]any{"keys": keys})
		require.NoError(t, err)
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("loaded", "keys", keys)
		for _, shown := range []string{fmt.Sprint(keys), fmt.Sprintf("%+v %#v %s %q", keys, keys, keys, keys), string(encoded), log.String()} {
			require.NotContains(t, shown, "AGE-SECRET")
		}
	})

	t.Run("no folder is no keys", func(t *testing.T) {
		keys, err := sopsfile.LoadKeys("")
		require.NoError(t, err)
		require.True(t, keys.IsZero())
	})

	for story, test := range map[string]struct{ dir, want string }{
		"a folder that is not there is an error":       {filepath.Join(t.TempDir(), "none"), "no such file"},
		"a folder without keys is an error":            {folder(map[string]string{"key.txt": one.String()}), "ends in .agekey"},
		"a file without a key is an error":             {folder(map[string]string{"a.agekey": "# soon\n"}), "no age identity"},
		"a damaged key is named by line and not shown": {folder(map[string]string{"a.agekey": "# x\n" + one.String() + "Q"}), "a.agekey: line 2"},
		"a plugin, which would run a program, is refused": {
			folder(map[string]string{"a.agekey": "AGE-PLUGIN-YUBIKEY-1Q2W3E4R"}), "line 1 is not an age identity"},
	} {
		t.Run(story, func(t *testing.T) {
			_, err := sopsfile.LoadKeys(test.dir)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "AGE-SECRET-KEY-1")
		})
	}
}

func FuzzDecrypt(f *testing.F) {
	keys := testKeys(f)
	for _, name := range []string{"secret.yaml", "multi.yaml", "typed.yaml", "everything.yaml", "secret.json"} {
		f.Add(read(f, name))
	}
	f.Add([]byte("sops: {age: [{enc: x, recipient: y}], mac: z, lastmodified: \"2026-01-01T00:00:00Z\", shamir_threshold: 3}\na: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := sopsfile.Decrypt(data, keys); err != nil {
			requireSilent(t, err)
		}
	})
}

// without drops the line that begins with start.
func without(file, start string) string {
	at := strings.Index(file, start)
	return file[:at] + file[at+strings.Index(file[at:], "\n")+1:]
}

// swapValue replaces what follows start on its line.
func swapValue(file, start, value string) string {
	at := strings.Index(file, start) + len(start)
	return file[:at] + value + file[at+strings.Index(file[at:], "\n"):]
}
