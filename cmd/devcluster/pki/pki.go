// Package pki makes the keys and certificates of a devcluster: one authority for the API server and its clients, another
// for the database servers. All of it is kept in files, so that a devcluster that is started again on its folder still
// accepts the kubeconfigs and the service account tokens that it gave out before.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity is longer than any devcluster lives.
const validity = 10 * 365 * 24 * time.Hour

// Pair is a certificate and its private key, both in PEM.
type Pair struct{ Cert, Key []byte }

// Subject says for whom a certificate is. The zero value of a field leaves it out of the certificate.
type Subject struct {
	CommonName   string
	Organization []string // for a client of the API server: its groups
	DNSNames     []string // for a server; a client has none
	IPs          []net.IP // for a server
}

// Authority signs certificates.
type Authority struct {
	Pair
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// LoadAuthority returns the authority in dir/<name>.crt and dir/<name>.key and makes both files where they are not there.
func LoadAuthority(dir, name string) (*Authority, error) {
	pair, err := stored(dir, name, func() (Pair, error) { return newAuthority(name) })
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(decode(pair.Cert))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of authority %s in %s: %w", name, dir, err)
	}
	key, err := x509.ParseECPrivateKey(decode(pair.Key))
	if err != nil {
		return nil, fmt.Errorf("reading the key of authority %s in %s: %w", name, dir, err)
	}
	return &Authority{Pair: pair, cert: cert, key: key}, nil
}

// Load returns the certificate in dir/<name>.crt and dir/<name>.key and has the authority sign it where it is not there.
func (a *Authority) Load(dir, name string, subject Subject) (Pair, error) {
	return stored(dir, name, func() (Pair, error) { return a.Issue(subject) })
}

// Issue signs a certificate with a new key. It is good for servers and for clients.
func (a *Authority) Issue(subject Subject) (Pair, error) {
	template, err := template(subject)
	if err != nil {
		return Pair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return sign(template, a.cert, a.key)
}

// LoadSigningKey returns the RSA key in dir/<name>.key, with which the API server signs service account tokens, and
// makes it where it is not there.
func LoadSigningKey(dir, name string) ([]byte, error) {
	pair, err := stored(dir, name, func() (Pair, error) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return Pair{}, err
		}
		return Pair{Key: encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))}, nil
	})
	return pair.Key, err
}

func newAuthority(name string) (Pair, error) {
	template, err := template(Subject{CommonName: name})
	if err != nil {
		return Pair{}, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	return sign(template, template, nil)
}

func template(subject Subject) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: subject.CommonName, Organization: subject.Organization},
		DNSNames:     subject.DNSNames,
		IPAddresses:  subject.IPs,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(validity),
	}, nil
}

// sign makes a new key and has the parent's key sign for it; a nil parent key is a certificate that signs itself.
func sign(cert, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	if parentKey == nil {
		parentKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), parentKey)
	if err != nil {
		return Pair{}, fmt.Errorf("signing the certificate of %s: %w", cert.Subject.CommonName, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Cert: encode("CERTIFICATE", der), Key: encode("EC PRIVATE KEY", keyDER)}, nil
}

// stored reads a pair from dir, or makes it and writes it there. The key is written last: where it is, all of it is.
func stored(dir, name string, create func() (Pair, error)) (Pair, error) {
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	key, err := os.ReadFile(keyFile)
	if err == nil {
		cert, err := os.ReadFile(certFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Pair{}, err
		}
		return Pair{Cert: cert, Key: key}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Pair{}, err
	}
	pair, err := create()
	if err != nil {
		return Pair{}, fmt.Errorf("making %s: %w", keyFile, err)
	}
	if pair.Cert != nil {
		if err := os.WriteFile(certFile, pair.Cert, 0o600); err != nil {
			return Pair{}, err
		}
	}
	return pair, os.WriteFile(keyFile, pair.Key, 0o600)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// decode returns what is in the first PEM block of text, and nil where there is none.
func decode(text []byte) []byte {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	return block.Bytes
}
