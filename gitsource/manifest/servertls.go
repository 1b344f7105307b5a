package manifest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	tlsFields      = []string{"caSecret", "certificate", "trustServerCertificate", "serverName"}
	caSecretFields = []string{"name", "key"}
)

const defaultCAKey = "ca.crt"

// readTLS reads how the servers' certificates are checked: in at most one of three ways of its own.
func (s *Server) readTLS(in *reader, spec *yaml.Node) {
	node := in.mapping(spec, "tls", "spec.tls", tlsFields)
	if node == nil {
		return
	}
	t := &s.Spec.TLS
	t.TrustServerCertificate, _ = in.boolean(node, "trustServerCertificate", "spec.tls.trustServerCertificate")
	ways := []string{"caSecret", "certificate"}
	if t.TrustServerCertificate {
		ways = append(ways, "trustServerCertificate")
	}
	if found := given(node, ways...); len(found) > 1 {
		for _, second := range found[1:] {
			in.problem(second, ReasonInvalidField,
				fmt.Sprintf("spec.tls.%s and spec.tls.%s are both there, and a certificate is checked in one way", found[0].Value, second.Value), "keep one of them")
		}
	}
	if ca := in.mapping(node, "caSecret", "spec.tls.caSecret", caSecretFields); ca != nil {
		t.CASecret = &CASecret{
			Name: in.name(ca, "name", "spec.tls.caSecret.name", isSubdomain, "name the Secret with the certificate of the authority"),
			Key:  s.readKey(in, ca, "key", "spec.tls.caSecret", defaultCAKey),
		}
	}
	if text, ok := in.str(node, "certificate", "spec.tls.certificate"); ok && text != "" {
		_, value := get(node, "certificate")
		t.Certificate = readCertificate(in, value)
	}
	if name, ok := in.str(node, "serverName", "spec.tls.serverName"); ok && name != "" {
		t.ServerName = name
		if !isHost(name) {
			_, value := get(node, "serverName")
			in.problem(value, ReasonInvalidField, fmt.Sprintf("spec.tls.serverName %q is neither a DNS name nor an IP address", cut(name)),
				"give the name that is in the server's certificate, without a port")
		}
	}
}

// readCertificate returns the one certificate in a text, as PEM without anything around it.
func readCertificate(in *reader, value *yaml.Node) string {
	const onlyOne = "give the server's own certificate, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
	block, rest := pem.Decode([]byte(value.Value))
	switch {
	case strings.Contains(value.Value, "PRIVATE KEY"):
		in.problem(value, ReasonPlaintextSecret, "spec.tls.certificate holds a private key, readable in Git, and in its history: "+
			"treat it as leaked and never use it again", "give the server a new key, and "+onlyOne)
		return ""
	case block == nil || block.Type != "CERTIFICATE":
		in.problem(value, ReasonInvalidField, "spec.tls.certificate is not a certificate in PEM", onlyOne)
		return ""
	case strings.TrimSpace(string(rest)) != "":
		in.problem(value, ReasonInvalidField, "spec.tls.certificate holds something after the first certificate, and one server shows one certificate", onlyOne)
		return ""
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		in.problem(value, ReasonInvalidField, "spec.tls.certificate cannot be read: "+err.Error(), onlyOne)
		return ""
	}
	block.Headers = nil
	return string(pem.EncodeToMemory(block))
}
