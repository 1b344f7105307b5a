package mssql

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
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
