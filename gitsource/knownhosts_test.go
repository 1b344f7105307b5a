package gitsource_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

func TestKnownHosts(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{SSH: true})
	server.NewHostKey(ssh.KeyAlgoED25519, ssh.KeyAlgoRSA, ssh.KeyAlgoECDSA256)
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"a": "a"}, "first")
	o := options(t, server, repo, true)

	at := server.SSHAddress()
	keys := server.HostKeys()
	ed, rsa, ecdsa := keys[0], keys[1], keys[2]
	stranger := gittest.NewServer(t, gittest.Options{SSH: true})
	stranger.NewHostKey(ssh.KeyAlgoED25519, ssh.KeyAlgoRSA)
	otherEd, otherRSA := stranger.HostKeys()[0], stranger.HostKeys()[1]

	line := func(host string, key ssh.PublicKey) string { return knownhosts.Line([]string{host}, key) }
	hashed := func(host string, key ssh.PublicKey) string {
		return knownhosts.HashHostname(knownhosts.Normalize(host)) + " " + strings.SplitN(line(host, key), " ", 2)[1]
	}
	finger := ssh.FingerprintSHA256

	for story, test := range map[string]struct {
		lines []string
		says  []string // nil: it is trusted
	}{
		"all of its keys":                           {[]string{line(at, ed), line(at, rsa), line(at, ecdsa)}, nil},
		"its RSA key alone, though it has others":   {[]string{line(at, rsa)}, nil},
		"its ECDSA key alone, though it has others": {[]string{line(at, ecdsa)}, nil},
		"an old and a new key of one type":          {[]string{line(at, otherEd), line(at, ed)}, nil},
		"a new and an old key of one type":          {[]string{line(at, ed), line(at, otherEd)}, nil},
		"its hashed name":                           {[]string{hashed(at, ed)}, nil},
		"its name among others, and comments":       {[]string{"# ours", "", strings.Replace(line(at, ed), " ", ",git.example.com ", 1)}, nil},
		"a pattern that fits, for every port":       {[]string{line("127.0.0.*", ed)}, nil},
		"a right key beside one that is revoked":    {[]string{"@revoked * " + strings.SplitN(line(at, otherEd), " ", 2)[1], line(at, ed)}, nil},

		"two keys of somebody else": {[]string{line(at, otherEd), line(at, otherRSA)},
			[]string{"offers the ssh-ed25519 key " + finger(ed), "known_hosts has ssh-ed25519 " + finger(otherEd) + ", ssh-rsa " + finger(otherRSA)}},
		"its key, but for the port 22":      {[]string{line("127.0.0.1", ed)}, []string{" key SHA256:", "known_hosts has none for this host"}},
		"its key, but for another host":     {[]string{hashed("[127.0.0.2]:22", ed)}, []string{"known_hosts has none for this host"}},
		"its key, and that it is revoked":   {[]string{line(at, ed), "@revoked * " + strings.SplitN(line(at, ed), " ", 2)[1]}, []string{finger(ed), "which known_hosts revokes"}},
		"somebody else's key of a new type": {[]string{line(at, otherRSA)}, []string{"offers the ssh-rsa key " + finger(rsa), "ssh-rsa " + finger(otherRSA)}},
		"nothing":                           {nil, []string{"known_hosts has none for this host", "ssh-keyscan -p "}},
	} {
		t.Run("known_hosts with "+story, func(t *testing.T) {
			o := o
			o.Auth.KnownHostsFile = filepath.Join(t.TempDir(), "known_hosts")
			gittest.WriteFile(t, o.Auth.KnownHostsFile, strings.Join(test.lines, "\n")+"\n")
			_, err := open(t, o).Head(t.Context())
			if test.says == nil {
				require.NoError(t, err)
				return
			}
			full := requireError(t, err, gitsource.ErrHostKey)
			for _, says := range test.says {
				require.Contains(t, full.Detail, says)
			}
		})
	}
}
