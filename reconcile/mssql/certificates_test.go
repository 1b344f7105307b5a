package mssql_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

func TestACertificateThatSQLServerMadeIsReadWhateverItsSerialNumber(t *testing.T) {
	for _, serial := range []string{"42", "-42", "-170141183460469231731687303715884105728"} {
		number, ok := new(big.Int).SetString(serial, 10)
		require.True(t, ok)
		certificate, err := mssqltest.SelfMade(number)
		require.NoError(t, err)
		parsed, err := x509.ParseCertificate(certificate.Certificate[0])
		require.NoError(t, err)
		require.Equal(t, number, parsed.SerialNumber)
		require.Equal(t, "CN=SSL_Self_Signed_Fallback", parsed.Subject.String())
		require.NoError(t, parsed.CheckSignature(parsed.SignatureAlgorithm, parsed.RawTBSCertificate, parsed.Signature))

		server := mssqltest.StandIn(t, func(o *mssqltest.Options) { o.Certificate = certificate })
		for _, checked := range []mssql.TLS{{Any: true}, {Pinned: certificate.Certificate[0]}} {
			e := endpoint(server)
			e.TLS = checked
			open(t, e, server.Admin)
		}
	}
}

func TestAServerMakesItsCertificateAnewAtEachStart(t *testing.T) {
	signs := map[int]int{}
	for range 30 { // all of one sign once in five hundred million times
		server := mssqltest.StandIn(t)
		open(t, endpoint(server), server.Admin)
		parsed, err := x509.ParseCertificate(server.StandIn().CertificateDER())
		require.NoError(t, err)
		signs[parsed.SerialNumber.Sign()]++
	}
	require.Len(t, signs, 2, "%v", signs)
}

func TestEveryCertificateThatIsNotTakenIsNamed(t *testing.T) {
	now := time.Now()
	valid := func() *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sql"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
	}
	changed := func(change func(*x509.Certificate)) *x509.Certificate {
		template := valid()
		change(template)
		return template
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	selfSigned := func(template *x509.Certificate) *tls.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
		require.NoError(t, err)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}
	}
	extension := func(id asn1.ObjectIdentifier, value []byte) *tls.Certificate {
		return selfSigned(changed(func(c *x509.Certificate) {
			c.IPAddresses, c.ExtraExtensions = nil, []pkix.Extension{{Id: id, Value: value}}
		}))
	}
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17}
	good := selfSigned(valid())
	cut := &tls.Certificate{Certificate: [][]byte{good.Certificate[0][:len(good.Certificate[0])-1]}, PrivateKey: signer}
	weak := newWeakKey(t)
	weakDER, err := x509.CreateCertificate(rand.Reader, valid(), valid(), weak.Public(), signer)
	require.NoError(t, err)

	for _, story := range []struct {
		name        string
		certificate *tls.Certificate
		tls         mssql.TLS // RootCAs is the certificate's own where the story can have it
		message     string
		hint        string
	}{
		{"expired", selfSigned(changed(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })),
			mssql.TLS{}, "is not valid now: ", "renew it"},
		{"not yet valid", selfSigned(changed(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) })),
			mssql.TLS{}, "is not valid now: ", "renew it"},
		{"for another address", selfSigned(changed(func(c *x509.Certificate) { c.IPAddresses[0] = net.IPv4(127, 9, 9, 9) })),
			mssql.TLS{}, "is for another name: ", "tls.serverName"},
		{"for another name", good, mssql.TLS{ServerName: "db-0.db-pods.demo.svc"}, "is for no name: ", "let it hold the name"},
		{"for names only", selfSigned(changed(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"sql"} })),
			mssql.TLS{}, "is for no address: ", "tls.serverName"},
		{"with a common name only", selfSigned(changed(func(c *x509.Certificate) { c.IPAddresses = nil })),
			mssql.TLS{ServerName: "sql"}, "has its name in the wrong place: ", "subject alternative name"},
		{"of a stranger", good, mssql.TLS{RootCAs: x509.NewCertPool()}, "is not signed by an authority that is trusted", "check the CA"},
		{"another than the pinned one", good, mssql.TLS{Pinned: weakDER}, "is not the one that is pinned: ", "pin the one"},
		{"cut off", cut, mssql.TLS{Any: true}, "cannot be read: ", "RFC 5280"},
		{"with an empty list of names", extension(subjectAltName, []byte{0x05, 0x00}), mssql.TLS{Any: true}, "cannot be read: ", "RFC 5280"},
		{"with an address of three bytes", extension(subjectAltName, []byte{0x30, 0x05, 0x87, 0x03, 127, 0, 0}),
			mssql.TLS{Any: true}, "cannot be read: ", "RFC 5280"},
		{"with a curve that is written out", explicitCurve(t, good, signer), mssql.TLS{Any: true}, "cannot be read: ", "RFC 5280"},
		{"with a key of 512 bits", &tls.Certificate{Certificate: [][]byte{weakDER}, PrivateKey: weak},
			mssql.TLS{Any: true}, "has a key that is too short: ", "2048 bits"},
	} {
		t.Run(story.name, func(t *testing.T) {
			server := mssqltest.StandIn(t, func(o *mssqltest.Options) { o.Certificate = story.certificate })
			e := endpoint(server)
			cas := e.TLS.RootCAs
			if e.TLS = story.tls; e.TLS.RootCAs == nil {
				e.TLS.RootCAs = cas
			}
			_, err := mssql.Open(t.Context(), e, server.Admin)
			require.Error(t, err)
			require.Equal(t, verdict{0, fault.Refuse, mssql.ReasonUntrusted}, verdict{0, fault.As(err).Class, fault.As(err).Reason}, err)
			require.ErrorContains(t, err, "db-0 ("+e.Address+"): the server's certificate "+story.message)
			require.Contains(t, fault.As(err).Hint, story.hint)
			succeeded, failed := server.StandIn().Logins(server.Admin.Username)
			require.Zero(t, succeeded+failed, "no password was sent")
		})
	}
	t.Run("a negative serial number, where the environment forbids it", func(t *testing.T) {
		t.Setenv("GODEBUG", "x509negativeserial=0")
		certificate, err := mssqltest.SelfMade(big.NewInt(-1))
		require.NoError(t, err)
		server := mssqltest.StandIn(t, func(o *mssqltest.Options) { o.Certificate = certificate })
		_, err = mssql.Open(t.Context(), endpoint(server), server.Admin)
		require.Equal(t, mssql.ReasonUntrusted, fault.As(err).Reason)
		require.Contains(t, fault.As(err).Hint, "GODEBUG")
	})
}

// explicitCurve is a certificate whose key says what its curve is in place of which one, as some old tools write them.
func explicitCurve(t *testing.T, like *tls.Certificate, key *ecdsa.PrivateKey) *tls.Certificate {
	t.Helper()
	var outer struct {
		Content struct {
			Version   int `asn1:"explicit,tag:0"`
			Serial    *big.Int
			Algorithm pkix.AlgorithmIdentifier
			Issuer    asn1.RawValue
			Validity  asn1.RawValue
			Subject   asn1.RawValue
			Key       struct {
				Algorithm pkix.AlgorithmIdentifier
				Bits      asn1.BitString
			}
			Extensions asn1.RawValue `asn1:"optional,explicit,tag:3"`
		}
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	_, err := asn1.Unmarshal(like.Certificate[0], &outer)
	require.NoError(t, err)
	parameters, err := asn1.Marshal([]*big.Int{big.NewInt(1), key.Params().P, key.Params().N})
	require.NoError(t, err)
	outer.Content.Key.Algorithm.Parameters = asn1.RawValue{FullBytes: parameters}
	outer.Content.Extensions = asn1.RawValue{}
	der, err := asn1.Marshal(outer) // nobody comes so far as to look at the signature
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// weakKey is an RSA key of 512 bits, with which crypto/rsa does not sign.
type weakKey struct {
	public rsa.PublicKey
	d      *big.Int
}

func newWeakKey(t *testing.T) *weakKey {
	t.Helper()
	one, e := big.NewInt(1), big.NewInt(65537)
	for {
		p, err := rand.Prime(rand.Reader, 256)
		require.NoError(t, err)
		q, err := rand.Prime(rand.Reader, 256)
		require.NoError(t, err)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		if d := new(big.Int).ModInverse(e, phi); d != nil && p.Cmp(q) != 0 {
			return &weakKey{rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, d}
		}
	}
}

func (k *weakKey) Public() crypto.PublicKey { return &k.public }

// Sign signs a SHA-256 digest as PKCS #1 v1.5 says.
func (k *weakKey) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	prefix := []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
	info := append(prefix, digest...)
	padded := make([]byte, k.public.Size())
	padded[1] = 1
	for i := 2; i < len(padded)-len(info)-1; i++ {
		padded[i] = 0xff
	}
	copy(padded[len(padded)-len(info):], info)
	return new(big.Int).Exp(new(big.Int).SetBytes(padded), k.d, k.public.N).FillBytes(make([]byte, len(padded))), nil
}
