package mssql

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// config is how crypto/tls checks what t asks for.
func (t TLS) config() *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: t.ServerName,
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
