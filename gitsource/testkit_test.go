package gitsource_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

// canary is the token and password of these tests. It must be in no error.
const canary = "ghp_Canary5ecret"

const statusDir = "rotation-status"

var agent = gitsource.Person{Name: "gitrota", Email: "gitrota@example.com"}

// now is what the clock of these tests says.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// options are those for a repository over HTTP or SSH, with credentials that work.
func options(t *testing.T, server *gittest.Server, repo *gittest.Repo, overSSH bool) gitsource.Options {
	t.Helper()
	o := gitsource.Options{URL: repo.URL(), Branch: repo.Branch, Author: agent, Now: func() time.Time { return now }}
	if overSSH {
		o.URL = repo.SSHURL()
	}
	auth, err := gitsource.LoadAuth(server.AuthDir(overSSH))
	require.NoError(t, err)
	o.Auth = auth
	return o
}

func open(t *testing.T, o gitsource.Options) *gitsource.Repository {
	t.Helper()
	r, err := gitsource.Open(o)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// onBoth runs a story over HTTP and over SSH, each with a server and a repository of its own.
func onBoth(t *testing.T, story string, test func(t *testing.T, repo *gittest.Repo, o gitsource.Options)) {
	for _, wire := range []string{"HTTPS", "SSH"} {
		t.Run(story+", over "+wire, func(t *testing.T) {
			overSSH := wire == "SSH"
			server := gittest.NewServer(t, gittest.Options{Username: "gitrota", Password: canary, TLS: !overSSH, SSH: overSSH})
			repo := server.NewRepo("ops")
			test(t, repo, options(t, server, repo, overSSH))
		})
	}
}

// write returns a builder that always makes the same change.
func write(files map[string]string) func(*gitsource.Snapshot) (*gitsource.Change, error) {
	return func(*gitsource.Snapshot) (*gitsource.Change, error) {
		change := &gitsource.Change{
			Files: map[string][]byte{}, Subject: "rotate demo/db: Successful", Body: "The password of demo/db was rotated.",
			Trailers: []gitsource.Trailer{{Key: "Rotation-Id", Value: "1234"}, {Key: "Approved-By", Value: ""}},
		}
		for name, content := range files {
			change.Files[name] = []byte(content)
		}
		return change, nil
	}
}

// requireError returns the error as what it is, and makes sure that it gives nothing away.
func requireError(t *testing.T, err, kind error) *gitsource.Error {
	t.Helper()
	require.ErrorIs(t, err, kind)
	require.NotContains(t, err.Error(), canary)
	var full *gitsource.Error
	require.True(t, errors.As(err, &full))
	return full
}
