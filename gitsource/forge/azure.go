package forge

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// azureForge is Azure DevOps, of whose driver opening, editing and closing a pull request can be used: it lists none but
// the open ones, and has no reviews and no merges.
type azureForge struct{ driven }

type azurePull struct {
	Number      int           `json:"pullRequestId"`
	Status      string        `json:"status"` // active, completed, abandoned
	Title       string        `json:"title"`
	Description string        `json:"description"`
	CreatedBy   azureIdentity `json:"createdBy"`
	ClosedBy    azureIdentity `json:"closedBy"`
	Created     time.Time     `json:"creationDate"`
	Closed      time.Time     `json:"closedDate"`
	Source      string        `json:"sourceRefName"`
	Target      string        `json:"targetRefName"`
	Head        azureCommit   `json:"lastMergeSourceCommit"`
	Merge       azureCommit   `json:"lastMergeCommit"` // of one that is open, an attempt to merge it
	Fork        *struct{}     `json:"forkSource"`      // nil: it is from a branch of the repository itself
	Repository  struct {
		WebURL string `json:"webUrl"`
	} `json:"repository"`
}

type azureIdentity struct {
	ID         string `json:"id"`
	UniqueName string `json:"uniqueName"` // the address that somebody signs in with
	Group      bool   `json:"isContainer"`
}

type azureCommit struct {
	ID string `json:"commitId"`
}

func (a azurePull) pullRequest() PullRequest {
	p := PullRequest{
		Number: a.Number, Title: a.Title, Body: a.Description, Author: a.CreatedBy.UniqueName,
		Link: a.Repository.WebURL + "/pullrequest/" + strconv.Itoa(a.Number),
		Head: a.Head.ID, HeadBranch: strings.TrimPrefix(a.Source, "refs/heads/"), Base: strings.TrimPrefix(a.Target, "refs/heads/"),
		Closed: a.Status != "active", Merged: a.Status == "completed", Updated: a.Created,
	}
	if p.Closed {
		p.Updated = a.Closed
	}
	if p.Merged {
		p.MergedAs, p.MergedBy, p.MergedAt = a.Merge.ID, a.ClosedBy.UniqueName, a.Closed
	}
	return p
}

// project is the path of the repository in the API.
func (a azureForge) project() string {
	names := strings.Split(a.repo, "/")
	return names[0] + "/" + names[1] + "/_apis/git/repositories/" + names[2]
}

func (a azureForge) pull(number int) string {
	return fmt.Sprintf("%s/pullRequests/%d", a.project(), number)
}

// azureList is how Azure DevOps answers with a list.
type azureList[T any] struct {
	Value []T `json:"value"`
}

// ask reads an answer of the API's version that this package is written for.
func (a azureForge) ask(ctx context.Context, path string, out any, criteria ...string) error {
	_, err := a.get(ctx, path+query(append(criteria, "api-version", "7.1")...), out)
	return err
}

func (a azureForge) merged(ctx context.Context, base string, since time.Time) ([]PullRequest, error) {
	criteria := []string{"searchCriteria.status", "completed", "searchCriteria.targetRefName", "refs/heads/" + base}
	if !since.IsZero() {
		criteria = append(criteria, "searchCriteria.queryTimeRangeType", "closed", "searchCriteria.minTime", since.UTC().Format(time.RFC3339))
	}
	return a.list(ctx, false, criteria...)
}

func (a azureForge) byBranch(ctx context.Context, branch, base string) ([]PullRequest, error) {
	return a.list(ctx, true, "searchCriteria.status", "all", "searchCriteria.sourceRefName", "refs/heads/"+branch, "searchCriteria.targetRefName", "refs/heads/"+base)
}

// list reads pull requests, of the repository's own branches alone or of forks as well.
func (a azureForge) list(ctx context.Context, own bool, criteria ...string) (all []PullRequest, err error) {
	err = pages(func(page int) (bool, error) {
		var list azureList[azurePull]
		err := a.ask(ctx, a.project()+"/pullrequests", &list, append(criteria, "$top", strconv.Itoa(pageSize), "$skip", strconv.Itoa(pageSize*(page-1)))...)
		for _, p := range list.Value {
			if !own || p.Fork == nil {
				all = append(all, p.pullRequest())
			}
		}
		return len(list.Value) == pageSize, err
	})
	return all, err
}

func (a azureForge) find(ctx context.Context, number int) (PullRequest, error) {
	var p azurePull
	err := a.ask(ctx, a.pull(number), &p)
	return p.pullRequest(), err
}

// azureThread is a conversation on a pull request. The server writes one for each vote.
type azureThread struct {
	Published time.Time `json:"publishedDate"`
	Comments  []struct {
		Author azureIdentity `json:"author"`
		Type   string        `json:"commentType"`
	} `json:"comments"`
	Properties map[string]struct {
		Value json.RawMessage `json:"$value"`
	} `json:"properties"`
	Identities map[string]azureIdentity `json:"identities"`
}

func (t azureThread) property(name string) string {
	var text string
	_ = json.Unmarshal(t.Properties[name].Value, &text) // a number is none of those that are asked for
	return text
}

// vote returns whose vote a thread tells of, and what it was; "" for any other thread. People can write threads with
// properties of their own choosing, but not in the name of the server or of somebody else.
func (t azureThread) vote() (voter, result string) {
	if t.property("CodeReviewThreadType") != "VoteUpdate" || len(t.Comments) == 0 || t.Comments[0].Type != "system" {
		return "", ""
	}
	voter = t.Identities[t.property("CodeReviewVotedByIdentity")].ID
	if voter == "" {
		voter = t.property("CodeReviewVotedByTfId") // of older servers
	}
	// The service that writes such threads, under an ID that is the same everywhere.
	const service = "00000002-0000-8888-8000-000000000000"
	by := t.Comments[0].Author
	if by.ID != voter && !by.Group && by.ID != service {
		return "", ""
	}
	return voter, t.property("CodeReviewVoteResult")
}

// reviews are the votes that stand, with what the threads say of when they were given, and the iterations of which head.
func (a azureForge) reviews(ctx context.Context, number int) ([]Review, error) {
	var reviewers azureList[struct {
		azureIdentity
		Vote int `json:"vote"`
	}]
	if err := a.ask(ctx, a.pull(number)+"/reviewers", &reviewers); err != nil {
		return nil, err
	}
	var threads azureList[azureThread]
	if err := a.ask(ctx, a.pull(number)+"/threads", &threads); err != nil {
		return nil, err
	}
	pushes, err := a.pushes(ctx, number)
	if err != nil {
		return nil, err
	}
	given := map[string]time.Time{} // by who and how
	for _, t := range threads.Value {
		if voter, result := t.vote(); t.Published.After(given[voter+" "+result]) {
			given[voter+" "+result] = t.Published
		}
	}
	var all []Review
	for _, r := range reviewers.Value {
		state := Approved // 10, or 5 with suggestions
		if r.Vote < 0 {
			state = ChangesRequested // -5, or -10 rejected
		}
		if r.Vote == 0 || r.Group { // the vote of a group is that of one of its members
			continue
		}
		at := given[r.ID+" "+strconv.Itoa(r.Vote)]
		all = append(all, Review{Author: r.UniqueName, State: state, Commit: headAt(pushes, at), At: at})
	}
	return all, nil
}

// pushes are the iterations to a pull request, of which the last has all that it changes.
func (a azureForge) pushes(ctx context.Context, number int) ([]push, error) {
	var list azureList[struct {
		Created time.Time   `json:"createdDate"`
		Head    azureCommit `json:"sourceRefCommit"`
	}]
	err := a.ask(ctx, a.pull(number)+"/iterations", &list)
	var pushes []push
	for _, iteration := range list.Value {
		pushes = append(pushes, push{iteration.Created, iteration.Head.ID})
	}
	return pushes, err
}

func (a azureForge) changes(ctx context.Context, number int) (all []string, err error) {
	pushes, err := a.pushes(ctx, number)
	if err != nil {
		return nil, err
	}
	err = pages(func(page int) (bool, error) {
		var list struct {
			Entries []struct {
				Item struct {
					Path string `json:"path"`
				} `json:"item"`
				Original string `json:"originalPath"`
			} `json:"changeEntries"`
			Next int `json:"nextSkip"`
		}
		// Iterations are numbered from 1. Compared with 0, the last is all that the pull request changes.
		err := a.ask(ctx, fmt.Sprintf("%s/iterations/%d/changes", a.pull(number), len(pushes)), &list,
			"$compareTo", "0", "$top", strconv.Itoa(pageSize), "$skip", strconv.Itoa(pageSize*(page-1)))
		for _, entry := range list.Entries {
			all = append(all, strings.TrimPrefix(entry.Item.Path, "/"), strings.TrimPrefix(entry.Original, "/"))
		}
		return list.Next != 0, err
	})
	return all, err
}

func (a azureForge) blob(ctx context.Context, commit, path string) (string, error) {
	var item struct {
		Object string `json:"objectId"`
		Type   string `json:"gitObjectType"`
	}
	err := a.ask(ctx, a.project()+"/items", &item, "path", "/"+path, "$format", "json",
		"versionDescriptor.version", commit, "versionDescriptor.versionType", "commit")
	if item.Type != "blob" {
		return "", err
	}
	return item.Object, err
}

func (a azureForge) me(ctx context.Context) (string, error) {
	var connection struct {
		User struct {
			Properties struct {
				Account struct {
					Value string `json:"$value"`
				}
			} `json:"properties"`
		} `json:"authenticatedUser"`
	}
	organisation, _, _ := strings.Cut(a.repo, "/")
	_, err := a.get(ctx, organisation+"/_apis/connectionData", &connection)
	return connection.User.Properties.Account.Value, err
}
