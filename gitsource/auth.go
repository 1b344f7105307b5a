package gitsource

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitrota/gitrota/policies/credential"
)

// Auth is what proves to the Git server who asks, and to us which server answers. The zero value is nothing: a public
// repository, and the system's certificate authorities. Its secrets do not print.
type Auth struct {
	Username    string              // for HTTP, with Password
	Password    credential.Password // for HTTP; with an Identity, that key's passphrase
	BearerToken credential.Password // for HTTP, instead of Username and Password
	GitHubApp   GitHubApp           // for HTTP, instead of the others
	Identity    credential.Password // for SSH: a private key in PEM

	KnownHostsFile string              // for SSH: path of a known_hosts file with the server's keys, the only ones trusted
	CA             []byte              // for HTTPS: PEM certificates that are trusted besides the system's
	ClientCert     []byte              // for HTTPS: the PEM certificate that we show, with ClientKey; nil: none
	ClientKey      credential.Password // its private key in PEM
	Proxy          credential.Password // the URL of a proxy, which may hold a password; see parseProxy; zero: the environment's
}

// The keys of a Secret for a Git server. All but proxy are those of Flux, which users already have.
const (
	usernameKey    = "username"
	passwordKey    = "password"
	bearerTokenKey = "bearerToken"
	identityKey    = "identity"
	knownHostsKey  = "known_hosts"
	caKey          = "ca.crt"
	caOldKey       = "caFile"
	clientCertKey  = "tls.crt"
	clientKeyKey   = "tls.key"
	proxyKey       = "proxy"

	appIDKey           = "githubAppID"
	appInstallationKey = "githubAppInstallationID"
	appOwnerKey        = "githubAppInstallationOwner"
	appPrivateKeyKey   = "githubAppPrivateKey"
	appBaseURLKey      = "githubAppBaseURL"
)

var authKeys = []string{
	usernameKey, passwordKey, bearerTokenKey, identityKey, knownHostsKey, caKey, caOldKey, clientCertKey, clientKeyKey, proxyKey,
	appIDKey, appInstallationKey, appOwnerKey, appPrivateKeyKey, appBaseURLKey,
}

// LoadAuth reads a mounted Secret: a folder with one file for each of its keys username, password, bearerToken,
// identity, known_hosts, ca.crt (or caFile), tls.crt, tls.key, proxy, githubAppID, githubAppInstallationID,
// githubAppInstallationOwner, githubAppPrivateKey and githubAppBaseURL, all optional. An empty dir means no Secret. The
// folder is read once; [Options].AuthDir follows one that changes.
func LoadAuth(dir string) (Auth, error) {
	if dir == "" {
		return Auth{}, nil
	}
	if _, err := os.Stat(dir); err != nil {
		return Auth{}, fmt.Errorf("reading the Git credentials: %w", err)
	}
	values := map[string]string{}
	for _, key := range authKeys {
		text, err := os.ReadFile(filepath.Join(dir, key))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Auth{}, fmt.Errorf("reading the Git credentials: %w", err)
		}
		values[key] = string(text)
	}
	if len(values) == 0 {
		return Auth{}, fmt.Errorf("the Git credentials in %s hold none of the keys %s", dir, strings.Join(authKeys, ", "))
	}
	// A line break at the end is an editor's or echo's, and no part of a password.
	line := func(key string) string { return strings.TrimRight(values[key], "\r\n") }
	secret := func(text string) credential.Password { return credential.NewPassword(text) }
	auth := Auth{
		Username:    line(usernameKey),
		Password:    secret(line(passwordKey)),
		BearerToken: secret(line(bearerTokenKey)),
		GitHubApp: GitHubApp{
			ID: line(appIDKey), InstallationID: line(appInstallationKey), InstallationOwner: line(appOwnerKey),
			PrivateKey: secret(values[appPrivateKeyKey]), BaseURL: line(appBaseURLKey),
		},
		Identity:   secret(values[identityKey]),
		CA:         []byte(values[caKey]),
		ClientCert: []byte(values[clientCertKey]),
		ClientKey:  secret(values[clientKeyKey]),
		Proxy:      secret(line(proxyKey)),
	}
	if len(auth.CA) == 0 {
		auth.CA = []byte(values[caOldKey])
	}
	if values[knownHostsKey] != "" {
		auth.KnownHostsFile = filepath.Join(dir, knownHostsKey)
	}
	return auth, nil
}

// isSet reports whether there is anything in it.
func (a Auth) isSet() bool {
	return a.Username != "" || !a.Password.IsZero() || !a.BearerToken.IsZero() || !a.GitHubApp.isZero() || !a.Identity.IsZero() ||
		a.KnownHostsFile != "" || len(a.CA) > 0 || len(a.ClientCert) > 0 || !a.ClientKey.IsZero() || !a.Proxy.IsZero()
}

// check refuses combinations that cannot work or would give a credential away.
func (a Auth) check(to remote, allowPlainHTTP bool) error {
	if _, err := parseProxy(a.Proxy); err != nil {
		return err
	}
	if to.scheme == "ssh" {
		return a.checkSSH(to)
	}
	basic := a.Username != "" || (!a.Password.IsZero() && a.Identity.IsZero())
	bearer := !a.BearerToken.IsZero()
	app := !a.GitHubApp.isZero()
	switch {
	case !a.Identity.IsZero() && a.Username == "" && !bearer && !app:
		return fmt.Errorf("the Git credentials hold an SSH identity, but %s is read over %s: "+
			"give username and password or bearerToken, or an ssh:// URL", to, to.scheme)
	case basic && bearer:
		return errors.New("the Git credentials hold both a username or password and a bearerToken: keep one of the two")
	case app && (basic || bearer):
		return errors.New("the Git credentials hold both a GitHub App and a username, password or bearerToken: keep one of the two")
	case basic && (a.Username == "" || a.Password.IsZero()):
		return errors.New("the Git credentials need both username and password; " +
			"for a token, the username is whatever the server asks for, such as git or x-access-token")
	case (basic || bearer || app) && to.scheme == "http" && !to.loopback() && !allowPlainHTTP:
		return fmt.Errorf("refusing to send credentials to %s without encryption: use https://, or allow it with --allow-plain-http", to)
	case len(a.CA) > 0 && !x509.NewCertPool().AppendCertsFromPEM(a.CA):
		return errors.New("ca.crt of the Git credentials holds no PEM certificate")
	case (len(a.ClientCert) > 0) != !a.ClientKey.IsZero():
		return errors.New("the Git credentials need both tls.crt and tls.key for a client certificate, or neither")
	case app:
		return a.GitHubApp.check(to, allowPlainHTTP)
	}
	return nil
}

func (a Auth) checkSSH(to remote) error {
	switch {
	case a.Identity.IsZero():
		return fmt.Errorf("%s needs the key identity in the Git credentials: an SSH private key in PEM", to)
	case a.KnownHostsFile == "":
		return fmt.Errorf("%s needs the key known_hosts in the Git credentials, to know the server by; "+
			"ssh-keyscan -p %s %s prints it, and the server's documentation says whether it is right",
			to, to.portOr("22"), to.host)
	}
	return nil
}

// secrets returns every form in which a secret may come back in somebody else's text.
func (a Auth) secrets() []string {
	var all []string
	for _, p := range []credential.Password{a.Password, a.BearerToken} {
		all = append(all, formsOf(a.Username, p.Reveal())...)
	}
	if proxy, err := parseProxy(a.Proxy); err == nil && proxy != nil {
		all = append(all, formsOfProxy(proxy)...)
	}
	return all
}

// formsOf lists the forms in which a user's password or token travels.
func formsOf(username, secret string) []string {
	if secret == "" {
		return nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte(username + ":" + secret))
	return []string{secret, url.QueryEscape(secret), url.PathEscape(secret), basic}
}
