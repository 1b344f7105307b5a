package signature

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// strongHashes are those that a signature may be made over: not MD5, not SHA-1.
var strongHashes = []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

// readOpenPGP reads a file of public keys.
func readOpenPGP(file string, text []byte) (openpgp.EntityList, error) {
	keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(text))
	if err != nil || len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no OpenPGP public key in its armour: gpg --export --armor KEY writes one", file)
	}
	for _, key := range keys {
		if key.PrivateKey != nil {
			return nil, fmt.Errorf("%s holds the private key of %s: list the public key, and treat the private one as leaked",
				file, openPGPName(key.PrimaryKey.Fingerprint))
		}
	}
	return keys, nil
}

func (l *list) verifyOpenPGP(c commit) (Signer, error) {
	text, err := dearmor(c.signature)
	if err != nil {
		return Signer{}, bad(err)
	}
	made, err := onlySignature(text)
	if err != nil {
		return Signer{}, bad(err)
	}
	if len(l.openPGP.KeysByIdUsage(*made.IssuerKeyId, packet.KeyFlagSign)) == 0 {
		return Signer{}, fmt.Errorf("%w: %s", ErrUntrusted, issuer(made))
	}
	// git asks for the time of the commit first and for the signature then, which may be a second later. The key has to
	// be valid at both.
	at := c.at
	if made.CreationTime.After(at) {
		at = made.CreationTime
	}
	_, entity, err := openpgp.VerifyDetachedSignatureAndHash(l.openPGP, bytes.NewReader(c.payload), bytes.NewReader(text),
		strongHashes, &packet.Config{Time: func() time.Time { return at }})
	if entity == nil {
		return Signer{}, bad(err)
	}
	name := openPGPName(entity.PrimaryKey.Fingerprint)
	switch {
	case errors.Is(err, pgperrors.ErrSignatureExpired) && !l.outlived(made, at):
		// A self-signature that is younger than the commit, as of a key whose expiry was moved, takes nothing back.
	case errors.Is(err, pgperrors.ErrSignatureExpired), errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrKeyRevoked):
		return Signer{}, fmt.Errorf("%w: %s: %w, and the commit is of %s", ErrNotValidThen, name, err, at.Format(time.RFC3339))
	case err != nil:
		return Signer{}, bad(err)
	}
	if c.at.Before(entity.PrimaryKey.CreationTime) {
		return Signer{}, fmt.Errorf("%w: %s was made on %s, and the commit is of %s", ErrNotValidThen, name,
			entity.PrimaryKey.CreationTime.UTC().Format(time.RFC3339), c.at.Format(time.RFC3339))
	}
	return Signer{Principal: userID(entity), Key: name}, nil
}

// dearmor returns what one armour holds, and refuses anything before, after or beside it.
func dearmor(signature string) ([]byte, error) {
	if strings.Count(signature, "-----BEGIN ") != 1 || !strings.HasSuffix(signature, "\n-----END PGP SIGNATURE-----") {
		return nil, errors.New("it is not one OpenPGP signature in its armour")
	}
	block, err := armor.Decode(strings.NewReader(signature))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(block.Body)
}

// onlySignature reads the one packet that a signature is.
func onlySignature(text []byte) (*packet.Signature, error) {
	packets := packet.NewReader(bytes.NewReader(text))
	first, err := packets.Next()
	if err != nil {
		return nil, fmt.Errorf("it is not an OpenPGP signature: %w", err)
	}
	made, ok := first.(*packet.Signature)
	if !ok || made.IssuerKeyId == nil {
		return nil, errors.New("it is not an OpenPGP signature that names its key")
	}
	if made.SigType != packet.SigTypeBinary {
		// One over a text holds for several: with line breaks of either kind.
		return nil, errors.New("it is not an OpenPGP signature of bytes")
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it is more than one OpenPGP signature")
	}
	return made, nil
}

// issuer names the key of a signature that may not be in the list.
func issuer(made *packet.Signature) string {
	if made.IssuerFingerprint != nil {
		return openPGPName(made.IssuerFingerprint)
	}
	return fmt.Sprintf("openpgp %X", *made.IssuerKeyId)
}

// outlived reports whether the signature, or one by which its key hangs together, has an end and is past it.
func (l *list) outlived(made *packet.Signature, at time.Time) bool {
	all := []*packet.Signature{made}
	for _, key := range l.openPGP.KeysByIdUsage(*made.IssuerKeyId, packet.KeyFlagSign) {
		primary, _ := key.Entity.PrimarySelfSignature()
		all = append(all, primary, key.SelfSignature, key.SelfSignature.EmbeddedSignature)
	}
	for _, sig := range all {
		if sig != nil && sig.SigLifetimeSecs != nil && *sig.SigLifetimeSecs != 0 &&
			at.After(sig.CreationTime.Add(time.Duration(*sig.SigLifetimeSecs)*time.Second)) {
			return true
		}
	}
	return false
}

func userID(entity *openpgp.Entity) string {
	if _, id := entity.PrimarySelfSignature(); id != nil {
		return id.Name
	}
	return openPGPName(entity.PrimaryKey.Fingerprint)
}
