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
	Identity    credential.Password // for SSH: a private key in PEM

	KnownHostsFile string // for SSH: path of a known_hosts file with the server's keys, the only ones trusted
	CA             []byte // for HTTPS: PEM certificates that are trusted besides the system's
}

// The keys of a Secret for a Git server. They are those of Flux, which users already have.
const (
	usernameKey    = "username"
	passwordKey    = "password"
	bearerTokenKey = "bearerToken"
	identityKey    = "identity"
	knownHostsKey  = "known_hosts"
	caKey          = "ca.crt"
)

// LoadAuth reads a mounted Secret: a folder with one file for each of its keys username, password, bearerToken,
// identity, known_hosts and ca.crt, all optional. An empty dir means no Secret. The folder is read once; to follow a
// Secret that changes, load it again and open the repository anew.
func LoadAuth(dir string) (Auth, error) {
	if dir == "" {
		return Auth{}, nil
	}
	if _, err := os.Stat(dir); err != nil {
		return Auth{}, fmt.Errorf("reading the Git credentials: %w", err)
	}
	values := map[string]string{}
	for _, key := range []string{usernameKey, passwordKey, bearerTokenKey, identityKey, knownHostsKey, caKey} {
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
		return Auth{}, fmt.Errorf("the Git credentials in %s hold none of the keys username, password, bearerToken, "+
			"identity, known_hosts and ca.crt", dir)
	}
	// A line break at the end is an editor's or echo's, and no part of a password.
	line := func(key string) string { return strings.TrimRight(values[key], "\r\n") }
	auth := Auth{
		Username:    line(usernameKey),
		Password:    credential.NewPassword(line(passwordKey)),
		BearerToken: credential.NewPassword(line(bearerTokenKey)),
		Identity:    credential.NewPassword(values[identityKey]),
		CA:          []byte(values[caKey]),
	}
	if values[knownHostsKey] != "" {
		auth.KnownHostsFile = filepath.Join(dir, knownHostsKey)
	}
	return auth, nil
}

// check refuses combinations that cannot work or would give a credential away.
func (a Auth) check(to remote, allowPlainHTTP bool) error {
	if to.scheme == "ssh" {
		return a.checkSSH(to)
	}
	basic := a.Username != "" || (!a.Password.IsZero() && a.Identity.IsZero())
	bearer := !a.BearerToken.IsZero()
	switch {
	case !a.Identity.IsZero() && a.Username == "" && !bearer:
		return fmt.Errorf("the Git credentials hold an SSH identity, but %s is read over %s: "+
			"give username and password or bearerToken, or an ssh:// URL", to, to.scheme)
	case basic && bearer:
		return errors.New("the Git credentials hold both a username or password and a bearerToken: keep one of the two")
	case basic && (a.Username == "" || a.Password.IsZero()):
		return errors.New("the Git credentials need both username and password; " +
			"for a token, the username is whatever the server asks for, such as git or x-access-token")
	case (basic || bearer) && to.scheme == "http" && !to.loopback() && !allowPlainHTTP:
		return fmt.Errorf("refusing to send credentials to %s without encryption: use https://", to)
	case len(a.CA) > 0 && !x509.NewCertPool().AppendCertsFromPEM(a.CA):
		return errors.New("ca.crt of the Git credentials holds no PEM certificate")
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
		if text := p.Reveal(); text != "" {
			basic := base64.StdEncoding.EncodeToString([]byte(a.Username + ":" + text))
			all = append(all, text, url.QueryEscape(text), url.PathEscape(text), basic)
		}
	}
	return all
}
