package mssqltest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"time"
	"unicode/utf16"
)

// selfMade is a certificate as SQL Server makes it at each start where it was given none: SSL_Self_Signed_Fallback is its
// subject and its issuer, it is good for thirty years, and it has no extensions, so it is for no name that a client could
// ask for. Its serial number is 16 random bytes, which one time in two are a negative number. RFC 5280 forbids those, and
// crypto/x509 does not make them; so the certificate is written here.
func selfMade() (*tls.Certificate, error) {
	random := make([]byte, 16)
	rand.Read(random)
	serial := new(big.Int).SetBytes(random)
	if random[0] >= 0x80 { // what DER takes for a sign
		serial.Sub(serial, new(big.Int).Lsh(big.NewInt(1), 8*uint(len(random))))
	}
	return SelfMade(serial)
}

// SelfMade is a certificate as SQL Server makes it for itself, with a serial number that the caller knows.
func SelfMade(serial *big.Int) (*tls.Certificate, error) {
	key, err := selfMadeKey()
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	commonName := asn1.ObjectIdentifier{2, 5, 4, 3}
	name := pkix.RDNSequence{pkix.RelativeDistinguishedNameSET{{Type: commonName, Value: bmpString("SSL_Self_Signed_Fallback")}}}
	now := time.Now().UTC() // the clock of the machine, not of Options: clients check it against theirs
	content, err := asn1.Marshal(toBeSigned{
		Version: 2, Serial: serial, Algorithm: sha256WithRSA,
		Issuer: name, Validity: validity{NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(30, 0, 0)},
		Subject: name, Key: asn1.RawValue{FullBytes: public},
	})
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(content)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(signed{
		Content: asn1.RawValue{FullBytes: content}, Algorithm: sha256WithRSA,
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// selfMadeKey is the key of all certificates that the servers of this process make for themselves. A real server has a new
// one each time, of 2,048 or 3,072 bits; here it would be most of what a start costs.
var selfMadeKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// The parts of a certificate without extensions (RFC 5280, 4.1).
type (
	signed struct {
		Content   asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	toBeSigned struct {
		Version   int `asn1:"explicit,tag:0"`
		Serial    *big.Int
		Algorithm pkix.AlgorithmIdentifier
		Issuer    pkix.RDNSequence
		Validity  validity
		Subject   pkix.RDNSequence
		Key       asn1.RawValue
	}
	validity struct{ NotBefore, NotAfter time.Time }
)

var sha256WithRSA = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue}

// bmpString is text in UTF-16, as Windows writes the names in its certificates.
func bmpString(text string) asn1.RawValue {
	value := asn1.RawValue{Tag: asn1.TagBMPString}
	for _, unit := range utf16.Encode([]rune(text)) {
		value.Bytes = append(value.Bytes, byte(unit>>8), byte(unit))
	}
	return value
}

// Issued is a certificate that somebody gave to a server: for these names and addresses, and its own authority, so that a
// client that trusts it takes it for them.
func Issued(names ...string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: names[0]},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// chainPEM is the chain of c, as a client takes it for its authorities.
func chainPEM(c *tls.Certificate) []byte {
	var out []byte
	for _, der := range c.Certificate {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}
