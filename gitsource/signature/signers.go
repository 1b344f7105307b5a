package signature

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/gitrota/gitrota/gitsource/mounted"
)

// Signers are the keys whose signatures count. They follow the files that they were loaded from, and are safe for
// concurrent use.
type Signers struct{ from *mounted.Secret[*list] }

// list is what the files hold at one time.
type list struct {
	ssh     []allowed
	openPGP openpgp.EntityList
}

// LoadSigners reads a file, or the files of a folder. *.asc are OpenPGP public keys in their armour; all others hold
// lines as ssh-keygen(1) describes them under ALLOWED SIGNERS, of which cert-authority is not supported. The files are
// read again when they change.
func LoadSigners(path string) (*Signers, error) {
	from, err := mounted.Follow(path, loadList, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the allowed signers: %w", err)
	}
	return &Signers{from}, nil
}

func loadList(path string) (*list, error) {
	files, err := filesIn(path)
	if err != nil {
		return nil, err
	}
	all := &list{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, ".asc") {
			keys, err := readOpenPGP(name, text)
			if err != nil {
				return nil, err
			}
			all.openPGP = append(all.openPGP, keys...)
			continue
		}
		// Times without a zone are those of this machine, as for ssh-keygen.
		lines, err := readAllowed(name, text, time.Local)
		if err != nil {
			return nil, err
		}
		all.ssh = append(all.ssh, lines...)
	}
	if len(all.ssh) == 0 && len(all.openPGP) == 0 {
		return nil, fmt.Errorf("%s lists no key: nobody could sign", path)
	}
	return all, nil
}

// filesIn returns the path itself where it is a file, and the files in it where it is a folder. Names that begin with a
// dot are Kubernetes' own.
func filesIn(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		name := filepath.Join(path, entry.Name())
		if info, err := os.Stat(name); err != nil {
			return nil, err
		} else if info.IsDir() {
			return nil, fmt.Errorf("%s is a folder in a folder, which is not looked into", name)
		}
		files = append(files, name)
	}
	return files, nil
}

// Verify returns who signed a commit, given the object's content as the server sent it. A key counts if it is listed and
// was valid at the time that the commit gives as its committer's. That time is the signer's own word: a key that was
// stolen can sign for any time at which it was valid, and has to be taken off the list.
func (s *Signers) Verify(raw []byte) (Signer, error) {
	c, err := split(raw)
	if err != nil {
		return Signer{}, err
	}
	all, err := s.from.Newest()
	if err != nil {
		return Signer{}, fmt.Errorf("reading the allowed signers again: %w", err)
	}
	kind, _, _ := strings.Cut(c.signature, "\n")
	switch kind {
	case "":
		return Signer{}, ErrUnsigned
	case "-----BEGIN SSH SIGNATURE-----":
		return all.verifySSH(c)
	case "-----BEGIN PGP SIGNATURE-----":
		return all.verifyOpenPGP(c)
	case "-----BEGIN SIGNED MESSAGE-----":
		return Signer{}, fmt.Errorf("%w: it is an x509 signature; sign with an SSH or OpenPGP key", ErrUnsupported)
	}
	return Signer{}, fmt.Errorf("%w: it begins with %.80q", ErrUnsupported, kind)
}

func (l *list) verifySSH(c commit) (Signer, error) {
	block, rest := pem.Decode([]byte(c.signature))
	if block == nil || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return Signer{}, bad(errors.New("it is not one SSH signature in its armour"))
	}
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return Signer{}, bad(err)
	}
	if _, is := sig.PublicKey.(*ssh.Certificate); is {
		return Signer{}, fmt.Errorf("%w: it is made with an SSH certificate; sign with a key", ErrUnsupported)
	}
	if sig.Namespace != namespace {
		return Signer{}, bad(fmt.Errorf("it is made for the namespace %.40q and not for git", sig.Namespace))
	}
	// The key that comes with the signature proves no more than that the commit was not changed since.
	if err := sshsig.Verify(bytes.NewReader(c.payload), sig, sig.PublicKey, sig.HashAlgorithm, namespace); err != nil {
		return Signer{}, bad(err)
	}
	return l.findSSH(c, sig.PublicKey)
}

// findSSH looks for a line that lists the key and accepts the commit.
func (l *list) findSSH(c commit, key ssh.PublicKey) (Signer, error) {
	name := sshName(key)
	refused := fmt.Errorf("%w: %s", ErrUntrusted, name)
	for _, line := range l.ssh {
		if !bytes.Equal(line.key.Marshal(), key.Marshal()) {
			continue
		}
		principal := line.principal(c.email)
		switch {
		case !line.namespaces.accept(namespace):
			refused = fmt.Errorf("%w: %s is listed in %s, but not for the namespace git", ErrUntrusted, name, line.at)
		case principal == "":
			refused = fmt.Errorf("%w: %s is listed in %s, but not for %.200q", ErrUntrusted, name, line.at, c.email)
		case !line.validAt(c.at):
			refused = fmt.Errorf("%w: %s is listed in %s %s, and the commit is of %s",
				ErrNotValidThen, name, line.at, line.validity(), c.at.Format(time.RFC3339))
		default:
			return Signer{Principal: principal, Key: name}, nil
		}
	}
	return Signer{}, refused
}

func bad(err error) error { return fmt.Errorf("%w: %w", ErrBadSignature, err) }
