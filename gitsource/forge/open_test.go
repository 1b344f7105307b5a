package forge_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/policies/credential"
)

func TestTheForgeIsFoundFromTheRepositorysURL(t *testing.T) {
	for url, expected := range map[string]string{
		"https://github.com/acme/db.git":                              "github github.com/acme/db",
		"git@github.com:acme/db.git":                                  "github github.com/acme/db",
		"ssh://git@ssh.github.com:443/acme/db.git":                    "github github.com/acme/db",
		"https://gitlab.com/acme/infra/db":                            "gitlab gitlab.com/acme/infra/db",
		"git@gitlab.com:acme/infra/db.git":                            "gitlab gitlab.com/acme/infra/db",
		"https://bitbucket.org/acme/db.git":                           "bitbucket bitbucket.org/acme/db",
		"https://acme@dev.azure.com/acme/Secret%20Ops/_git/db":        "azure dev.azure.com/acme/Secret%20Ops/db",
		"https://dev.azure.com/acme/_git/db":                          "azure dev.azure.com/acme/db/db",
		"git@ssh.dev.azure.com:v3/acme/ops/db":                        "azure dev.azure.com/acme/ops/db",
		"https://acme.visualstudio.com/DefaultCollection/ops/_git/db": "azure dev.azure.com/acme/ops/db",
	} {
		c, err := forge.Open(forge.Options{URL: url})
		require.NoError(t, err, url)
		require.Equal(t, expected, c.String(), url)
	}
}

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	token := gitsource.Auth{BearerToken: credential.NewPassword(canary)}
	for expected, o := range map[string]forge.Options{
		"git.example.com: which forge it is cannot be told from its name: give its kind, one of github, gitlab, gitea, bitbucket and azure": {URL: "https://git.example.com/acme/db"},
		"git.example.com is not bitbucket.org, and of Bitbucket only the cloud is known":                                                    {URL: "https://git.example.com/acme/db", Kind: forge.Bitbucket},
		`"acme" is not the path of a repository on github`:                                                                                  {URL: "https://github.com/acme"},
		`"acme/../db" is not the path of a repository on gitlab`:                                                                            {URL: "https://gitlab.com/acme/../db"},
		"the Git URL holds a password, which would show in process lists and manifests: put it into the Secret with the Git credentials":    {URL: "https://me:" + canary + "@github.com/acme/db"},
		"the API of gitea git.example.com/acme/db: refusing to send credentials to http://git.example.com/api/v1 without encryption: " +
			"use https://, or allow it with --allow-plain-http": {URL: "http://git.example.com/acme/db", Kind: forge.Gitea, Auth: token},
		"the API of github github.com/acme/db: the URL of the API: the Git URL has the scheme \"ftp\": only https, http and ssh are read": {URL: "https://github.com/acme/db", API: "ftp://github.com"},
	} {
		_, err := forge.Open(o)
		require.EqualError(t, err, expected)
	}
}

func TestAForgeBelowAPathOfItsHost(t *testing.T) {
	f := newFake(t, map[string]string{
		"GET /forge/api/v1/user": `{"login": "gitrota-bot"}`,
		"GET /lab/api/v4/user":   `{"username": "gitrota-bot"}`,
	})
	for kind, path := range map[forge.Kind]string{forge.Gitea: "/forge", forge.GitLab: "/lab"} {
		c := open(t, forge.Options{Kind: kind, URL: f.server.URL + path + "/acme/db.git", API: f.server.URL + path})
		require.Equal(t, string(kind)+" "+f.server.URL[len("http://"):]+"/acme/db", c.String())
		me, err := c.Me(t.Context())
		require.NoError(t, err)
		require.Equal(t, "gitrota-bot", me)
	}
}

func TestATokenGoesAsTheForgeWantsIt(t *testing.T) {
	basic := func(user string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+canary))
	}
	for name, c := range map[string]struct {
		kind     forge.Kind
		path     string
		username string
		expected string
	}{
		"GitHub takes a password for a token":               {forge.GitHub, "acme/db", "git", "Bearer " + canary},
		"and so does GitLab":                                {forge.GitLab, "acme/db", "oauth2", "Bearer " + canary},
		"Gitea takes a user's password as well":             {forge.Gitea, "acme/db", "bot", basic("bot")},
		"Bitbucket takes an address with an API token":      {forge.Bitbucket, "acme/db", "bot@example.com", basic("bot@example.com")},
		"but an access token alone":                         {forge.Bitbucket, "acme/db", "x-token-auth", "Bearer " + canary},
		"Azure DevOps takes a personal token as a password": {forge.Azure, "acme/_git/db", "bot", basic("bot")},
		"and a token of Entra as a bearer token":            {forge.Azure, "acme/_git/db", "", "Bearer " + canary},
	} {
		f := newFake(t, nil)
		auth := gitsource.Auth{Username: c.username, Password: credential.NewPassword(canary)}
		if c.username == "" {
			auth = gitsource.Auth{BearerToken: credential.NewPassword(canary)}
		}
		client := open(t, forge.Options{Kind: c.kind, URL: f.server.URL + "/" + c.path, API: f.server.URL, Auth: auth})
		_, err := client.Me(t.Context())
		require.ErrorIs(t, err, forge.ErrNotFound, name)
		require.Equal(t, c.expected, f.auth, name)
	}
}
