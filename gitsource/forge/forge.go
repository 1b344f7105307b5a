// Package forge asks the forge that a repository is on about pull requests and their reviews, and proposes changes there.
// It knows GitHub, GitLab (whose merge requests are pull requests here), Gitea, Bitbucket Cloud and Azure DevOps.
//
// It stands on go-scm: one client, request and answer for all forges, and the drivers of GitHub and Azure DevOps for what
// they do as it has to be done. What the drivers leave out, which is most of what approval needs (who merged what as
// which commit, and which head a review was of), is asked for with go-scm's client and the forge's documented REST
// calls. Gitea is spoken to through the driver of GitHub, whose API it shares: the driver named after it makes
// connections of its own, with no CA, no proxy and no deadline.
//
// What a forge can tell of which head a review was:
//
//   - GitHub and Gitea record it with the review.
//   - GitLab records when an approval was given (approved_at; older releases do not, and their approvals have no commit),
//     and when which head was pushed. A request for changes has no commit.
//   - Bitbucket tells both times in the activity of the pull request.
//   - Azure DevOps tells when a vote was given in a thread of its own making, and which head was there in the iterations.
//
// Where a time is all there is, the head is the one that was there at that time; a review that is as old as a push is of
// the head before it. Where the forge cannot tell, [Review].Commit is empty, and such an approval cannot be counted.
//
// The names of people are the forge's own and nobody can choose another's: the login of GitHub and Gitea, the username
// of GitLab, the account ID of Bitbucket (its nicknames can be changed to somebody else's), and the sign-in address of
// Azure DevOps.
//
// Connections, credentials and the rules on redirects are those of package gitsource.
package forge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/gitrota/gitrota/gitsource"
)

// Kind is which forge it is.
type Kind string

const (
	GitHub    Kind = "github"
	GitLab    Kind = "gitlab"
	Gitea     Kind = "gitea"
	Bitbucket Kind = "bitbucket" // Bitbucket Cloud
	Azure     Kind = "azure"     // Azure DevOps
)

// Options says which repository, on which forge, and in whose name.
type Options struct {
	Kind Kind   // "" for a repository on github.com, gitlab.com, bitbucket.org or dev.azure.com
	URL  string // of the repository, as in gitsource.Options; for ssh:// and git@host:path the API is at https://host

	// API is the base of the API, such as https://github.example.com/api/v3 or https://gitlab.example.com; "" derives it
	// from the host of URL. A GitLab or Gitea below a path of its host needs it: https://example.com/gitlab.
	API string

	// Auth holds the credentials for the API, and AuthDir, in place of it, a folder of them that is read again when it
	// changes. A bearerToken is the forge's token. So is the password that goes with a username, which Gitea, Bitbucket and
	// Azure DevOps take together. Of a Secret for Git over SSH, the API uses bearerToken, or username and password.
	Auth    gitsource.Auth
	AuthDir string

	AllowPlainHTTP bool             // lets credentials travel unencrypted to a host that is not this machine
	Timeout        time.Duration    // of each request; 0 means 30s
	Now            func() time.Time // nil means time.Now
	Log            *slog.Logger     // nil means none
}

// PullRequest is one, as it is now. Times are the forge's, in UTC; a zero time, "" and false stand for what is not there.
type PullRequest struct {
	Number     int
	Link       string // to its page
	Title      string
	Body       string
	Author     string
	Head       string // full hash of the last commit: of an open one the newest, of a merged one that which was merged
	HeadBranch string
	Base       string // the branch that it is, or was, to be merged into
	Closed     bool   // merged or given up
	Merged     bool
	MergedAs   string // full hash of the commit on Base that the forge names: the merge, the squash or the last one rebased
	MergedBy   string // GitHub and Gitea tell it in Find only
	MergedAt   time.Time
	Updated    time.Time
}

// State is what a review says.
type State string

const (
	Approved         State = "Approved"
	ChangesRequested State = "ChangesRequested"
	Commented        State = "Commented"
	Dismissed        State = "Dismissed" // somebody has voided it
)

// Review is somebody's word on a pull request. GitHub and Gitea list every review; the other forges have one standing
// word for each person, and list no comments.
type Review struct {
	Author string
	State  State
	Commit string // full hash of the head that it was of; "" if the forge cannot tell
	Link   string
	At     time.Time // zero if the forge cannot tell
}

// Proposal is a pull request to be opened, from a branch of the repository itself.
type Proposal struct{ Branch, Base, Title, Body string }

// Client is the forge's, for one repository. It is safe for concurrent use. Its methods ask the forge every time, and
// fail with an [*Error].
type Client struct {
	at    address
	api   *gitsource.API
	forge dialect
}

// dialect is what each forge answers in its own way.
type dialect interface {
	merged(ctx context.Context, base string, since time.Time) ([]PullRequest, error)
	byBranch(ctx context.Context, branch, base string) ([]PullRequest, error)
	find(ctx context.Context, number int) (PullRequest, error)
	reviews(ctx context.Context, number int) ([]Review, error)
	changes(ctx context.Context, number int) ([]string, error)
	blob(ctx context.Context, commit, path string) (string, error)
	propose(ctx context.Context, p Proposal) (PullRequest, error)
	edit(ctx context.Context, number int, title, body string) error
	close(ctx context.Context, number int) error
	me(ctx context.Context) (string, error)
}

// Open checks the options and prepares requests. It does not touch the network, and there is nothing to be closed.
func Open(opts Options) (*Client, error) {
	at, err := locate(opts)
	if err != nil {
		return nil, err
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 30 * time.Second
	}
	api, err := gitsource.OpenAPI(at.api, gitsource.Options{
		Auth: opts.Auth, AuthDir: opts.AuthDir, AllowPlainHTTP: opts.AllowPlainHTTP, Now: opts.Now, Log: opts.Log,
	}, at.present)
	if err != nil {
		return nil, fmt.Errorf("the API of %s: %w", at, err)
	}
	client, err := at.client(&exchange{api: api, kind: at.kind, timeout: opts.Timeout})
	if err != nil {
		return nil, fmt.Errorf("the API of %s: %w", at, err)
	}
	return &Client{at: at, api: api, forge: at.dialect(client)}, nil
}

// String returns the forge and the repository.
func (c *Client) String() string { return c.at.String() }

// Merged lists the pull requests that were merged into base and updated since then, newest first; the zero time is all.
// Azure DevOps does not keep when a pull request was updated; there it is when it was merged. More than twenty pages,
// which is a thousand or two thousand, are an error.
func (c *Client) Merged(ctx context.Context, base string, since time.Time) ([]PullRequest, error) {
	list, err := c.forge.merged(ctx, base, since)
	list = slices.DeleteFunc(list, func(p PullRequest) bool { return !p.Merged || p.Base != base || p.Updated.Before(since) })
	slices.SortStableFunc(list, func(a, b PullRequest) int { return b.Updated.Compare(a.Updated) })
	return inUTC(list), c.failed("listing the pull requests that were merged into "+base, err)
}

// ByBranch lists the pull requests from a branch of the repository itself, and of no fork, into base, in any state, the
// newest first. On Gitea it finds one among the newest thousand into base.
func (c *Client) ByBranch(ctx context.Context, branch, base string) ([]PullRequest, error) {
	list, err := c.forge.byBranch(ctx, branch, base)
	list = slices.DeleteFunc(list, func(p PullRequest) bool { return p.HeadBranch != branch || p.Base != base })
	slices.SortStableFunc(list, func(a, b PullRequest) int { return b.Number - a.Number })
	return inUTC(list), c.failed("listing the pull requests from "+branch, err)
}

// Find returns one pull request.
func (c *Client) Find(ctx context.Context, number int) (PullRequest, error) {
	found, err := c.forge.find(ctx, number)
	return found.inUTC(), c.failed(fmt.Sprintf("reading pull request %d", number), err)
}

// Reviews lists what people say of a pull request, oldest first. A review that was not submitted yet is not among them.
func (c *Client) Reviews(ctx context.Context, number int) ([]Review, error) {
	list, err := c.forge.reviews(ctx, number)
	slices.SortStableFunc(list, func(a, b Review) int { return a.At.Compare(b.At) })
	for i := range list {
		list[i].At = list[i].At.UTC()
	}
	return list, c.failed(fmt.Sprintf("listing the reviews of pull request %d", number), err)
}

// Changes lists the paths that a pull request changes, sorted; of a file that it renames, both.
func (c *Client) Changes(ctx context.Context, number int) ([]string, error) {
	paths, err := c.forge.changes(ctx, number)
	paths = slices.DeleteFunc(paths, func(path string) bool { return path == "" })
	slices.Sort(paths)
	return slices.Compact(paths), c.failed(fmt.Sprintf("listing the files of pull request %d", number), err)
}

// Blob returns the hash of the Git blob that a commit has at a path; "" if it has no file there, or if the forge does not
// have the commit.
func (c *Client) Blob(ctx context.Context, commit, path string) (string, error) {
	hash, err := c.forge.blob(ctx, commit, path)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return hash, c.failed("looking for "+path+" at "+commit, err)
}

// Propose opens a pull request. It is an error if there is an open one from the same branch into the same base.
func (c *Client) Propose(ctx context.Context, p Proposal) (PullRequest, error) {
	opened, err := c.forge.propose(ctx, p)
	return opened.inUTC(), c.failed("opening a pull request from "+p.Branch+" into "+p.Base, err)
}

// Edit replaces the title and the body of a pull request. An empty one stays what it was.
func (c *Client) Edit(ctx context.Context, number int, title, body string) error {
	return c.failed(fmt.Sprintf("editing pull request %d", number), c.forge.edit(ctx, number, title, body))
}

// Close gives a pull request up.
func (c *Client) Close(ctx context.Context, number int) error {
	return c.failed(fmt.Sprintf("closing pull request %d", number), c.forge.close(ctx, number))
}

// Me returns the name of the account that the credentials belong to, as reviews have it. The token of a GitHub App and
// Bitbucket's access tokens belong to none, and are refused.
func (c *Client) Me(ctx context.Context) (string, error) {
	name, err := c.forge.me(ctx)
	return name, c.failed("asking whose the credentials are", err)
}

func (p PullRequest) inUTC() PullRequest {
	p.MergedAt, p.Updated = p.MergedAt.UTC(), p.Updated.UTC()
	return p
}

func inUTC(list []PullRequest) []PullRequest {
	for i := range list {
		list[i] = list[i].inUTC()
	}
	return list
}
