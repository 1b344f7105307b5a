package mssql

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// TLS says how a server's certificate is checked.
type TLS struct {
	// ServerName is the name that it must hold; empty is the host of the address. It is not looked at where Pinned or Any
	// is set.
	ServerName string
	RootCAs    *x509.CertPool // the authorities that may have signed it; nil: those of the system
	// Pinned is the only certificate that is taken, in DER, whoever signed it and even if Any is set; nil: any that an
	// authority has signed.
	Pinned []byte
	// Any takes every certificate: the connection is safe from listening, not from somebody who can answer in the server's
	// place. KubeDB leaves no other choice where spec.tls.clientTLS is false, since SQL Server then signs its own
	// certificate at each start.
	Any bool
}

// config is how crypto/tls checks what t asks for, of a server at host.
func (t TLS) config(host string) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: cmp.Or(t.ServerName, host),
		RootCAs:    t.RootCAs,
		// The TDS framing of the handshake cannot carry what TLS 1.3 sends after it.
		MaxVersion:                  tls.VersionTLS12,
		DynamicRecordSizingDisabled: true,
		InsecureSkipVerify:          t.Any || t.Pinned != nil,
	}
	if t.Pinned != nil {
		config.VerifyConnection = func(state tls.ConnectionState) error { return t.isPinned(state.PeerCertificates) }
	}
	return config
}

func (t TLS) isPinned(shown []*x509.Certificate) error {
	if len(shown) > 0 && bytes.Equal(shown[0].Raw, t.Pinned) {
		return nil
	}
	return errors.New("failed to verify certificate: the server shows another one than the one that is pinned")
}

// untrusted tells what is wrong with a certificate, and what to do, from the text of the error that ended a login. It is
// false where the login failed of something else. Text is all there is: the driver makes it of the TLS error.
func untrusted(text string) (why, hint string, is bool) {
	if !strings.Contains(text, "TLS Handshake failed") || !strings.Contains(text, "certificate") {
		return "", "", false
	}
	for _, known := range certificateProblems {
		if strings.Contains(text, known.sign) {
			return known.why, known.hint, true
		}
	}
	return "was not accepted", "see the server's certificate: openssl s_client cannot speak TDS, but mssql.conf says where it is", true
}

// certificateProblems are looked through in their order: the same text can hold several signs.
var certificateProblems = []struct{ sign, why, hint string }{
	{"the one that is pinned", "is not the one that is pinned", "pin the one that the server shows now, if it is the right server"},
	{"x509: negative serial number", "has a negative serial number, as those that SQL Server makes for itself, and this process was told to refuse it",
		"remove x509negativeserial from the environment variable GODEBUG, or give the server a certificate of its own"},
	{"failed to parse certificate from server", "cannot be read", "give the server a certificate that keeps to RFC 5280"},
	{"expired or is not yet valid", "is not valid now", "renew it, or set the clocks right"},
	{"signed by unknown authority", "is not signed by an authority that is trusted for it", "check the CA that signs the server's certificates"},
	{"keys are insecure", "has a key that is too short", "give the server a certificate with an RSA key of 2048 bits or more, or an ECDSA one"},
	{"RSA key larger than", "has a key that is too long", "give the server a certificate with an RSA key of up to 8192 bits, or an ECDSA one"},
	{"x509: certificate is valid for", "is for another name", "let it hold the name, or say in tls.serverName which one it holds"},
	{"x509: certificate is not valid for any names", "is for no name", "let it hold the name of the server"},
	{"x509: cannot validate certificate for", "is for no address", "let it hold the address, or say in tls.serverName which name it holds"},
	{"legacy Common Name", "has its name in the wrong place", "let it hold the name as a subject alternative name"},
}
