package main

import (
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// indented is a text as a block in the spec of a document.
func indented(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ")
}

// issued gives a server a certificate that clients can check.
func issued(t *testing.T, names ...string) func(*mssqltest.Options) {
	t.Helper()
	certificate, err := mssqltest.Issued(names...)
	require.NoError(t, err)
	return func(o *mssqltest.Options) { o.Certificate = certificate }
}

func TestTheCertificateOfAServerIsCheckedAsItsDocumentSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.outside("another", issued(t, "127.0.0.1"))
	stories := []struct {
		name    string
		tls     func(s *outside) string
		reason  string // of the failure; "" for success
		message string // a part of it
	}{
		{"authority", func(s *outside) string {
			w.keep(s.name+"-ca", credential.Credential{Username: "-", Password: credential.NewPassword(string(s.CA))}, "nobody", "ca.crt")
			return "tls: {caSecret: {name: " + s.name + "-ca}}"
		}, "", ""},
		{"pinned", func(s *outside) string { return "tls:\n    certificate: |\n      " + indented(string(s.CA)) }, "", ""},
		{"unchecked", func(*outside) string { return trusted }, "", ""},
		{"named", func(s *outside) string {
			w.keep(s.name+"-ca", credential.Credential{Username: "-", Password: credential.NewPassword(string(s.CA))}, "nobody", "issuer.pem")
			return "tls: {caSecret: {name: " + s.name + "-ca, key: issuer.pem}, serverName: sql1.example.com}"
		}, "", ""},
		{"misnamed", func(s *outside) string {
			w.keep(s.name+"-ca", credential.Credential{Username: "-", Password: credential.NewPassword(string(s.CA))}, "nobody", "ca.crt")
			return "tls: {caSecret: {name: " + s.name + "-ca}, serverName: sql2.example.com}"
		}, "CertificateUntrusted", "sql2.example.com"},
		{"other-pinned", func(*outside) string { return "tls:\n    certificate: |\n      " + indented(string(other.CA)) },
			"CertificateUntrusted", "the server shows another one than the one that is pinned"},
		{"unknown-authority", func(s *outside) string { return "tls: {serverName: localhost}" }, "CertificateUntrusted", "unknown authority"},
		{"no-authority", func(s *outside) string { return "tls: {caSecret: {name: nowhere}}" }, "CertificatesUnusable",
			"the CA of the servers' certificates cannot be read: the Secret " + w.namespace + "/nowhere does not exist; see spec.tls.caSecret of the SQLServer " + w.namespace + "/no-authority"},
	}
	block, _ := pem.Decode(other.CA)
	require.Equal(t, block.Bytes, other.StandIn().CertificateDER())
	files, servers, before := map[string]string{}, map[string]*outside{}, map[string]credential.Credential{}
	for _, story := range stories {
		s := w.outside(story.name, issued(t, "sql1.example.com", "localhost", "127.0.0.1"))
		before[story.name] = s.login("app")
		w.keep(story.name+"-auth", before[story.name])
		servers[story.name] = s
		files["rotations/"+story.name+".yaml"] = w.document(story.name, s.at(), authSecret(story.name), story.tls(s)) + "---\n" + w.request(story.name, story.name, "timeout: 20s")
	}
	w.repo.Commit(files, "Rotate all")
	agent := w.agent("--allow-hosts", "127.0.0.1")
	for _, story := range stories {
		s := w.ended(story.name)
		succeeded, failed := servers[story.name].StandIn().Logins("app")
		require.Zero(t, failed, story.name)
		if story.reason == "" {
			require.Equal(t, "Successful", s.phase(), s.why())
			require.True(t, servers[story.name].lets(w.kept(story.name+"-auth")), story.name)
			continue
		}
		require.Equal(t, story.reason, s.condition(s.phase()).Reason, s.why())
		require.Contains(t, s.condition(s.phase()).Message, story.message)
		require.Zero(t, succeeded, "%s: no login is sent to a server that is not the right one", story.name)
		require.False(t, w.keeps(story.name), story.name)
		require.Equal(t, before[story.name], w.kept(story.name+"-auth"))
	}
	require.Equal(t, 0, agent.terminate())
}
