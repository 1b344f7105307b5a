package forge

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/jenkins-x/go-scm/scm"
	"github.com/jenkins-x/go-scm/scm/driver/azure"
	"github.com/jenkins-x/go-scm/scm/driver/github"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/policies/credential"
)

// address is where a repository is on its forge.
type address struct {
	kind Kind
	host string
	path string // names joined with slashes, each escaped; of Azure DevOps organisation/project/repository
	api  string
}

// String returns the forge and the repository.
func (a address) String() string { return fmt.Sprintf("%s %s/%s", a.kind, a.host, a.path) }

// known are the forges that everybody uses, by the hosts of their repositories, and where their APIs are.
var known = map[string]struct {
	kind      Kind
	host, api string
}{
	"github.com":              {GitHub, "github.com", "https://api.github.com"},
	"ssh.github.com":          {GitHub, "github.com", "https://api.github.com"},
	"gitlab.com":              {GitLab, "gitlab.com", "https://gitlab.com"},
	"altssh.gitlab.com":       {GitLab, "gitlab.com", "https://gitlab.com"},
	"bitbucket.org":           {Bitbucket, "bitbucket.org", "https://api.bitbucket.org"},
	"altssh.bitbucket.org":    {Bitbucket, "bitbucket.org", "https://api.bitbucket.org"},
	"dev.azure.com":           {Azure, "dev.azure.com", "https://dev.azure.com"},
	"ssh.dev.azure.com":       {Azure, "dev.azure.com", "https://dev.azure.com"},
	"vs-ssh.visualstudio.com": {Azure, "dev.azure.com", "https://dev.azure.com"},
}

// locate finds the forge of a repository, and its API.
func locate(opts Options) (address, error) {
	scheme, host, path, err := gitsource.Locate(opts.URL)
	if err != nil {
		return address{}, err
	}
	at := address{kind: opts.Kind, host: host}
	forge, isKnown := known[host]
	if isKnown {
		at.host, at.api = forge.host, forge.api
		if at.kind == "" {
			at.kind = forge.kind
		}
	}
	if organisation, old := strings.CutSuffix(host, ".visualstudio.com"); old && !isKnown {
		at.kind, at.host, at.api = Azure, "dev.azure.com", "https://dev.azure.com"
		path = organisation + "/" + strings.TrimPrefix(path, "DefaultCollection/")
	}
	if !slices.Contains([]Kind{GitHub, GitLab, Gitea, Bitbucket, Azure}, at.kind) {
		return at, fmt.Errorf("%s: which forge it is cannot be told from its name: give its kind, one of %s, %s, %s, %s and %s",
			host, GitHub, GitLab, Gitea, Bitbucket, Azure)
	}
	if opts.API == "" && at.api == "" {
		if at.kind == Bitbucket {
			return at, fmt.Errorf("%s is not bitbucket.org, and of Bitbucket only the cloud is known", host)
		}
		if scheme == "ssh" {
			scheme = "https"
		}
		at.api = scheme + "://" + host
		if at.kind == GitHub {
			at.api += "/api/v3"
		}
	}
	if opts.API != "" {
		at.api = strings.TrimRight(opts.API, "/")
	}
	// Somebody may give the version with the API's address, as its documentation does.
	base := strings.TrimSuffix(at.api, map[Kind]string{GitLab: "/api/v4", Gitea: "/api/v1", Bitbucket: "/2.0"}[at.kind])
	at.api = base
	if at.kind == Gitea {
		at.api = base + "/api/v1"
	}
	if at.kind == GitLab || at.kind == Gitea {
		if u, err := url.Parse(base); err == nil && u.Host == host && len(u.Path) > 1 {
			path = strings.TrimPrefix(path, u.Path[1:]+"/")
		}
	}
	at.path, err = names(at.kind, strings.TrimSuffix(path, ".git"))
	return at, err
}

// names checks the path of a repository and escapes its names.
func names(kind Kind, path string) (string, error) {
	list := strings.Split(path, "/")
	fits := len(list) == 2
	switch kind {
	case GitLab:
		fits = len(list) >= 2
	case Azure:
		switch {
		case len(list) == 4 && list[2] == "_git": // organisation/project/_git/repository
			list = []string{list[0], list[1], list[3]}
		case len(list) == 3 && list[1] == "_git": // organisation/_git/repository, of the project of that name
			list = []string{list[0], list[2], list[2]}
		case len(list) == 4 && list[0] == "v3": // over SSH
			list = list[1:]
		}
		fits = len(list) == 3
	}
	if !fits || slices.ContainsFunc(list, func(name string) bool { return name == "" || name == "." || name == ".." }) {
		return "", fmt.Errorf("%q is not the path of a repository on %s", path, kind)
	}
	for i := range list {
		list[i] = url.PathEscape(list[i])
	}
	return strings.Join(list, "/"), nil
}

// present puts credentials on a request as the forge wants them.
func (a address) present(req *http.Request, username string, secret credential.Password) {
	basic := username != ""
	switch a.kind {
	case GitHub, GitLab:
		basic = false // the token is the password, whatever the user name
	case Bitbucket:
		basic = basic && username != "x-token-auth" // the user name that goes with an access token
	}
	if basic {
		req.SetBasicAuth(username, secret.Reveal())
		return
	}
	req.Header.Set("Authorization", "Bearer "+secret.Reveal())
}

// client returns go-scm's, with a driver where that is of use.
func (a address) client(transport http.RoundTripper) (client *scm.Client, err error) {
	switch a.kind {
	case GitHub, Gitea:
		client, err = github.New(a.api)
	case Azure:
		client, err = azure.New(a.api)
	default:
		client = &scm.Client{}
		client.BaseURL, err = url.Parse(a.api + "/")
	}
	if err != nil {
		return nil, err
	}
	client.Client = &http.Client{Transport: transport}
	return client, nil
}

func (a address) dialect(client *scm.Client) dialect {
	r := rest{client: client, repo: a.path}
	d := driven{r}
	switch a.kind {
	case GitLab:
		return gitlabForge{r}
	case Gitea:
		return giteaForge{githubForge{d}}
	case Bitbucket:
		return bitbucketForge{r}
	case Azure:
		return azureForge{d}
	}
	return githubForge{d}
}
