package gitsource_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
)

// privateKey returns an SSH key in PEM, with a passphrase if there is one.
func privateKey(t *testing.T, passphrase string) credential.Password {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	require.NoError(t, err)
	return credential.NewPassword(string(pem.EncodeToMemory(block)))
}

func TestOpen(t *testing.T) {
	secret := credential.NewPassword(canary)
	hosts := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(hosts, nil, 0o600))
	basic := gitsource.Auth{Username: "git", Password: secret}
	identity := gitsource.Auth{Identity: privateKey(t, ""), KnownHostsFile: hosts}

	withApp := func(app gitsource.GitHubApp) gitsource.Options {
		return gitsource.Options{URL: "https://github.com/team/ops", Auth: gitsource.Auth{GitHubApp: app}}
	}
	withProxy := func(at string) gitsource.Options {
		return gitsource.Options{URL: "https://git.example.com/ops", Auth: gitsource.Auth{Proxy: credential.NewPassword(at)}}
	}

	for _, test := range []struct {
		url   string
		auth  gitsource.Auth
		shown string
	}{
		{"https://git.example.com/team/ops.git", basic, "https://git.example.com/team/ops.git (main)"},
		{"https://org@git.example.com:8443/team/ops", basic, "https://git.example.com:8443/team/ops (main)"},
		{"http://git.example.com/ops.git", gitsource.Auth{}, "http://git.example.com/ops.git (main)"},
		{"http://127.0.0.1:8080/ops.git", basic, "http://127.0.0.1:8080/ops.git (main)"},
		{"http://[::1]:8080/ops.git", basic, "http://[::1]:8080/ops.git (main)"},
		{"http://localhost/ops.git", gitsource.Auth{BearerToken: secret}, "http://localhost/ops.git (main)"},
		{"ssh://deploy@git.example.com:2222/ops.git", identity, "ssh://deploy@git.example.com:2222/ops.git (main)"},
		{"git@git.example.com:team/ops.git", identity, "ssh://git@git.example.com/team/ops.git (main)"},
		{"git.example.com:team/ops.git", identity, "ssh://git@git.example.com/team/ops.git (main)"},
		{"ssh://git@git.example.com/ops.git", gitsource.Auth{
			Identity: privateKey(t, canary), Password: secret, KnownHostsFile: hosts}, "ssh://git@git.example.com/ops.git (main)"},
	} {
		t.Run(test.url+" is opened", func(t *testing.T) {
			r, err := gitsource.Open(gitsource.Options{URL: test.url, Branch: "main", Auth: test.auth})
			require.NoError(t, err)
			require.Equal(t, test.shown, r.String())
		})
	}

	for story, test := range map[string]struct {
		options gitsource.Options
		says    string
	}{
		"a password in the URL":                     {gitsource.Options{URL: "https://git:" + canary + "@git.example.com/ops"}, "put it into the Secret"},
		"a URL that cannot be parsed":               {gitsource.Options{URL: "https://git:" + canary + "@git .example.com/%zz"}, "cannot be parsed"},
		"a path on disk":                            {gitsource.Options{URL: "/srv/git/ops.git"}, "a path on disk cannot be served"},
		"a file URL, which would run git":           {gitsource.Options{URL: "file:///srv/git/ops.git"}, `scheme "file"`},
		"the git protocol, which is open":           {gitsource.Options{URL: "git://git.example.com/ops.git"}, `scheme "git"`},
		"a helper, which would run a program":       {gitsource.Options{URL: "ext::sh -c touch% /tmp/x"}, "is not an https:// or ssh:// URL"},
		"no URL":                                    {gitsource.Options{}, "is not an https:// or ssh:// URL"},
		"no host":                                   {gitsource.Options{URL: "https:///ops.git"}, "names no host"},
		"a query":                                   {gitsource.Options{URL: "https://git.example.com/ops?token=" + canary}, "a query or a fragment"},
		"an SSH host that is an option":             {gitsource.Options{URL: "-oProxyCommand=x:ops", Auth: identity}, "begins with a dash"},
		"no branch":                                 {gitsource.Options{URL: "https://git.example.com/ops", Branch: "-"}, ""},
		"a branch that is a pattern":                {gitsource.Options{URL: "https://git.example.com/ops", Branch: "re*lease"}, "is not a branch's name"},
		"credentials over plain HTTP":               {gitsource.Options{URL: "http://git.example.com/ops", Auth: basic}, "use https://"},
		"basic and bearer":                          {gitsource.Options{URL: "https://git.example.com/ops", Auth: gitsource.Auth{Username: "a", Password: secret, BearerToken: secret}}, "keep one of the two"},
		"a username alone":                          {gitsource.Options{URL: "https://git.example.com/ops", Auth: gitsource.Auth{Username: "a"}}, "both username and password"},
		"a password alone":                          {gitsource.Options{URL: "https://git.example.com/ops", Auth: gitsource.Auth{Password: secret}}, "both username and password"},
		"an SSH key for HTTPS":                      {gitsource.Options{URL: "https://git.example.com/ops", Auth: identity}, "or an ssh:// URL"},
		"a CA that is none":                         {gitsource.Options{URL: "https://git.example.com/ops", Auth: gitsource.Auth{CA: []byte("x")}}, "no PEM certificate"},
		"a GitHub App without an installation":      {withApp(gitsource.GitHubApp{ID: "1", PrivateKey: secret}), "neither githubAppInstallationID nor githubAppInstallationOwner"},
		"a GitHub App with two":                     {withApp(gitsource.GitHubApp{ID: "1", InstallationID: "2", InstallationOwner: "o", PrivateKey: secret}), "both githubAppInstallationID and githubAppInstallationOwner"},
		"a GitHub App without an ID":                {withApp(gitsource.GitHubApp{InstallationID: "2", PrivateKey: secret}), "githubAppID"},
		"a GitHub App with an owner that is a path": {withApp(gitsource.GitHubApp{ID: "1", InstallationOwner: "../x", PrivateKey: secret}), "is not the name of an organisation or user"},
		"a GitHub App with a number that is none":   {withApp(gitsource.GitHubApp{ID: "1", InstallationID: "2/..", PrivateKey: secret}), "githubAppInstallationID of the Git credentials is not a number"},
		"a GitHub App with a key that is none":      {withApp(gitsource.GitHubApp{ID: "1", InstallationID: "2", PrivateKey: secret}), "githubAppPrivateKey of the Git credentials is not an RSA private key"},
		"a GitHub App with an API in the clear":     {withApp(gitsource.GitHubApp{ID: "1", InstallationID: "2", PrivateKey: secret, BaseURL: "http://github.example.com"}), "must begin with https://"},
		"a GitHub App with an API that is none":     {withApp(gitsource.GitHubApp{ID: "1", InstallationID: "2", PrivateKey: secret, BaseURL: "github"}), "is not an https:// URL"},
		"a GitHub App elsewhere, without its API":   {gitsource.Options{URL: "https://git.example.com/ops", Auth: withApp(gitsource.GitHubApp{ID: "1", InstallationID: "2", PrivateKey: secret}).Auth}, "githubAppBaseURL is missing"},
		"a GitHub App and a password":               {gitsource.Options{URL: "https://github.com/ops", Auth: gitsource.Auth{Username: "a", Password: secret, GitHubApp: gitsource.GitHubApp{ID: "1"}}}, "both a GitHub App and a username"},
		"a GitHub App in the clear":                 {gitsource.Options{URL: "http://git.example.com/ops", Auth: gitsource.Auth{GitHubApp: gitsource.GitHubApp{ID: "1"}}}, "without encryption"},
		"a client certificate without its key":      {gitsource.Options{URL: "https://git.example.com/ops", Auth: gitsource.Auth{ClientCert: []byte("x")}}, "both tls.crt and tls.key"},
		"a client certificate that is none":         {gitsource.Options{URL: "https://git.example.com/ops", Auth: gitsource.Auth{ClientCert: []byte("x"), ClientKey: secret}}, "are not a certificate and its private key"},
		"a proxy that is not a URL":                 {withProxy("gateway:" + canary + "@proxy.example.com:3128"), "is not the URL of a proxy"},
		"a proxy with a path":                       {withProxy("http://gateway:" + canary + "@proxy.example.com:3128/x"), "is not the URL of a proxy"},
		"a proxy of another kind":                   {withProxy("socks4://gateway:" + canary + "@proxy.example.com"), "other than http, https and socks5"},
		"fixed credentials and a folder":            {gitsource.Options{URL: "https://git.example.com/ops", Auth: basic, AuthDir: t.TempDir()}, "give one of the two"},
		"SSH without a key":                         {gitsource.Options{URL: "git@git.example.com:ops", Auth: basic}, "needs the key identity"},
		"SSH without known_hosts":                   {gitsource.Options{URL: "ssh://git@git.example.com:2222/ops", Auth: gitsource.Auth{Identity: secret}}, "ssh-keyscan -p 2222 git.example.com"},
		"an SSH key that is none":                   {gitsource.Options{URL: "git@git.example.com:ops", Auth: gitsource.Auth{Identity: secret, KnownHostsFile: hosts}}, "is not an SSH private key"},
		"an SSH key without its passphrase":         {gitsource.Options{URL: "git@git.example.com:ops", Auth: gitsource.Auth{Identity: privateKey(t, canary), KnownHostsFile: hosts}}, "put it under the key password"},
		"an SSH key with a wrong passphrase": {gitsource.Options{URL: "git@git.example.com:ops", Auth: gitsource.Auth{
			Identity: privateKey(t, "x"), Password: secret, KnownHostsFile: hosts}}, "is not the passphrase"},
		"known_hosts that is not there": {gitsource.Options{URL: "git@git.example.com:ops", Auth: gitsource.Auth{
			Identity: privateKey(t, ""), KnownHostsFile: hosts + "x"}}, "reading known_hosts"},
		"an author who would break a commit": {gitsource.Options{URL: "https://git.example.com/ops", Author: gitsource.Person{Name: "a\nb"}}, "must not contain"},
	} {
		t.Run(story+" is refused", func(t *testing.T) {
			if test.options.Branch == "" {
				test.options.Branch = "main"
			}
			_, err := gitsource.Open(test.options)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), canary)
			require.NotContains(t, err.Error(), "PRIVATE KEY")
		})
	}

	t.Run("plain HTTP is taken when that is wanted", func(t *testing.T) {
		_, err := gitsource.Open(gitsource.Options{URL: "http://git.example.com/ops", Branch: "main", Auth: basic, AllowPlainHTTP: true})
		require.NoError(t, err)
	})
	t.Run("who has no author cannot write", func(t *testing.T) {
		r, err := gitsource.Open(gitsource.Options{URL: "https://git.example.com/ops", Branch: "main"})
		require.NoError(t, err)
		_, err = r.Write(t.Context(), []string{statusDir}, write(nil))
		require.ErrorContains(t, err, "Author is not set")
	})
}

func TestLoadAuth(t *testing.T) {
	t.Run("no folder is no credentials", func(t *testing.T) {
		auth, err := gitsource.LoadAuth("")
		require.NoError(t, err)
		require.Equal(t, gitsource.Auth{}, auth)
	})
	t.Run("a mounted Secret is read, without the line breaks of editors, and does not print", func(t *testing.T) {
		dir := t.TempDir()
		for name, text := range map[string]string{"username": "git\n", "password": canary + "\r\n", "..data": "", "other": "x"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		auth, err := gitsource.LoadAuth(dir)
		require.NoError(t, err)
		require.Equal(t, "git", auth.Username)
		require.Equal(t, canary, auth.Password.Reveal())
		require.NotContains(t, fmt.Sprintf("%+v %#v", auth, auth), canary)
	})
	t.Run("a folder that is not there is an error", func(t *testing.T) {
		_, err := gitsource.LoadAuth(filepath.Join(t.TempDir(), "none"))
		require.ErrorIs(t, err, os.ErrNotExist)
	})
	t.Run("a folder without any known key is an error", func(t *testing.T) {
		_, err := gitsource.LoadAuth(t.TempDir())
		require.ErrorContains(t, err, "none of the keys username, password, bearerToken")
	})
	t.Run("a key that cannot be read is an error", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "password"), 0o700))
		_, err := gitsource.LoadAuth(dir)
		require.ErrorContains(t, err, "password")
	})
}

// A demo has no test to fail.
func TestAServerWithoutATest(t *testing.T) {
	server, err := gittest.Start(t.TempDir(), gittest.Options{})
	require.NoError(t, err)
	defer server.Close()
	repo := server.NewRepo("ops")
	head := repo.Commit(map[string]string{"a": "a"}, "first")
	got, err := open(t, options(t, server, repo, false)).Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, head, got)
	require.Panics(t, func() { repo.Show("nothing") })
}
