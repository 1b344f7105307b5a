package signature

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/gitrota/gitrota/gitsource/mounted"
	"github.com/gitrota/gitrota/policies/credential"
)

// Key signs. It follows the folder that it was loaded from, does not print, and is safe for concurrent use.
type Key struct{ from *mounted.Secret[signer] }

// signer is one key of either kind.
type signer interface {
	sign(message []byte) (armored string, err error)
	String() string
}

// The keys of a Secret with a signing key. Those for SSH are the ones of Flux for access to a Git server.
const (
	identityKey   = "identity"
	passwordKey   = "password"
	openPGPKey    = "git.asc"
	passphraseKey = "passphrase"
)

// LoadKey reads a mounted Secret: a folder with the file identity, an SSH private key, and password if it has a
// passphrase; or with the file git.asc, an OpenPGP private key in its armour, and passphrase if it has one. The folder
// is read again when it changes.
func LoadKey(dir string) (*Key, error) {
	from, err := mounted.Follow(dir, loadSigner, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	return &Key{from}, nil
}

// Sign returns the signature of a message, in its armour. The error is one of a key that was replaced by one that
// cannot be read.
func (k *Key) Sign(message []byte) (string, error) {
	now, err := k.from.Newest()
	if err != nil {
		return "", fmt.Errorf("reading the signing key again: %w", err)
	}
	return now.sign(message)
}

// String returns the key's type and fingerprint: "ssh-ed25519 SHA256:...", or "openpgp " and the primary key's
// fingerprint in capitals.
func (k *Key) String() string {
	now, err := k.from.Newest()
	if err != nil {
		return "no key: " + err.Error()
	}
	return now.String()
}

// GoString is String: %#v gives nothing away either.
func (k *Key) GoString() string { return k.String() }

func loadSigner(dir string) (signer, error) {
	values := map[string]credential.Password{}
	for _, key := range []string{identityKey, passwordKey, openPGPKey, passphraseKey} {
		text, err := os.ReadFile(filepath.Join(dir, key))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		values[key] = credential.NewPassword(string(text))
	}
	ssh, pgp := values[identityKey], values[openPGPKey]
	switch {
	case ssh.IsZero() && pgp.IsZero():
		return nil, fmt.Errorf("%s holds neither identity, an SSH private key, nor git.asc, an OpenPGP private key in its armour", dir)
	case !ssh.IsZero() && !pgp.IsZero():
		return nil, fmt.Errorf("%s holds both identity and git.asc: keep one of the two", dir)
	case !ssh.IsZero():
		return parseSSH(ssh.Reveal(), line(values[passwordKey]))
	}
	return parseOpenPGP(pgp.Reveal(), line(values[passphraseKey]))
}

// line returns a passphrase: a line break at the end is an editor's.
func line(p credential.Password) []byte { return []byte(strings.TrimRight(p.Reveal(), "\r\n")) }

// sshSigner signs with an SSH key.
type sshSigner struct{ key ssh.Signer }

// parseSSH reads a private key. Its errors never quote it.
func parseSSH(pem string, passphrase []byte) (signer, error) {
	key, err := ssh.ParsePrivateKey([]byte(pem))
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return sshSigner{key}, nil
	case !errors.As(err, &locked):
		return nil, errors.New("the key identity is not an SSH private key in PEM")
	case len(passphrase) == 0:
		return nil, errors.New("the SSH key identity has a passphrase: put it under the key password")
	}
	if key, err = ssh.ParsePrivateKeyWithPassphrase([]byte(pem), passphrase); err != nil {
		return nil, errors.New("the key password is not the passphrase of the SSH key identity")
	}
	return sshSigner{key}, nil
}

func (s sshSigner) sign(message []byte) (string, error) {
	made, err := sshsig.Sign(bytes.NewReader(message), s.key, sshsig.HashSHA512, namespace)
	if err != nil {
		return "", fmt.Errorf("signing with %s: %w", s, err)
	}
	return string(sshsig.Armor(made)), nil
}

func (s sshSigner) String() string { return sshName(s.key.PublicKey()) }

func sshName(key ssh.PublicKey) string { return key.Type() + " " + ssh.FingerprintSHA256(key) }

// openPGPSigner signs with an OpenPGP key, or with a subkey of it that is made for signing.
type openPGPSigner struct{ entity *openpgp.Entity }

// parseOpenPGP reads a private key. Its errors never quote it.
func parseOpenPGP(armored string, passphrase []byte) (signer, error) {
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
	if err != nil {
		return nil, errors.New("the key git.asc is not an OpenPGP key in its armour: gpg --export-secret-keys --armor KEY writes one")
	}
	if len(ring) != 1 {
		return nil, fmt.Errorf("the key git.asc holds %d OpenPGP keys: keep the one to sign with", len(ring))
	}
	s := openPGPSigner{ring[0]}
	if s.locked() {
		if len(passphrase) == 0 {
			return nil, errors.New("the OpenPGP key git.asc has a passphrase: put it under the key passphrase")
		}
		if s.entity.DecryptPrivateKeys(passphrase) != nil {
			return nil, errors.New("the key passphrase is not that of the OpenPGP key git.asc")
		}
	}
	if _, err := s.sign(nil); err != nil {
		return nil, fmt.Errorf("%w; it has to hold the private key, be allowed to sign, and be neither expired nor revoked", err)
	}
	return s, nil
}

func (s openPGPSigner) locked() bool {
	if p := s.entity.PrivateKey; p != nil && p.Encrypted && !p.Dummy() {
		return true
	}
	for _, sub := range s.entity.Subkeys {
		if p := sub.PrivateKey; p != nil && p.Encrypted && !p.Dummy() {
			return true
		}
	}
	return false
}

func (s openPGPSigner) sign(message []byte) (string, error) {
	var armored strings.Builder
	if err := openpgp.ArmoredDetachSign(&armored, s.entity, bytes.NewReader(message), nil); err != nil {
		return "", fmt.Errorf("signing with %s: %w", s, err)
	}
	return armored.String(), nil
}

func (s openPGPSigner) String() string { return openPGPName(s.entity.PrimaryKey.Fingerprint) }

func openPGPName(fingerprint []byte) string { return fmt.Sprintf("openpgp %X", fingerprint) }
