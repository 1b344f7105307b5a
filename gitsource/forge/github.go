package forge

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// githubForge is GitHub, of which go-scm leaves out who merged a pull request and when, and in lists that it was merged.
type githubForge struct{ driven }

// githubPull is a pull request as GitHub and Gitea describe it.
type githubPull struct {
	Number   int        `json:"number"`
	Link     string     `json:"html_url"`
	Title    string     `json:"title"`
	Body     string     `json:"body"`
	User     githubUser `json:"user"`
	State    string     `json:"state"`
	MergedAt time.Time  `json:"merged_at"`
	MergedAs string     `json:"merge_commit_sha"` // of one that is open, GitHub's attempt to merge it
	MergedBy githubUser `json:"merged_by"`
	Updated  time.Time  `json:"updated_at"`
	Head     struct {
		Label string `json:"label"`
		Ref   string `json:"ref"`
		SHA   string `json:"sha"`
		Repo  struct {
			FullName string `json:"full_name"`
		} `json:"repo"` // empty when the fork is gone
	} `json:"head"`
	Base struct {
		Ref string `json:"ref"`
	} `json:"base"`
}

type githubUser struct {
	Login string `json:"login"`
}

func (g githubPull) pullRequest() PullRequest {
	p := PullRequest{
		Number: g.Number, Link: g.Link, Title: g.Title, Body: g.Body, Author: g.User.Login,
		Head: g.Head.SHA, HeadBranch: g.Head.Ref, Base: g.Base.Ref,
		Closed: g.State != "open", Merged: !g.MergedAt.IsZero(), Updated: g.Updated,
	}
	if p.Merged {
		p.MergedAs, p.MergedBy, p.MergedAt = g.MergedAs, g.MergedBy.Login, g.MergedAt
	}
	return p
}

func (g githubForge) merged(ctx context.Context, base string, since time.Time) ([]PullRequest, error) {
	return g.list(ctx, false, since, "state", "closed", "base", base, "sort", "updated", "direction", "desc")
}

func (g githubForge) byBranch(ctx context.Context, branch, base string) ([]PullRequest, error) {
	owner, _, _ := strings.Cut(g.repo, "/")
	return g.list(ctx, true, time.Time{}, "state", "all", "head", owner+":"+branch, "base", base)
}

// list reads pull requests, of the repository's own branches alone or of forks as well, until one was updated before
// since. A fork of the same owner is a fork too.
func (g githubForge) list(ctx context.Context, own bool, since time.Time, criteria ...string) (all []PullRequest, err error) {
	err = pages(func(page int) (bool, error) {
		var list []githubPull
		answer, err := g.get(ctx, "repos/"+g.repo+"/pulls"+query(append(criteria, "per_page", strconv.Itoa(pageSize), "page", strconv.Itoa(page))...), &list)
		if err != nil {
			return false, err
		}
		for _, p := range list {
			if !own || strings.EqualFold(p.Head.Repo.FullName, g.repo) {
				all = append(all, p.pullRequest())
			}
		}
		return answer.Page.Next != 0 && !list[len(list)-1].Updated.Before(since), nil
	})
	return all, err
}

func (g githubForge) find(ctx context.Context, number int) (PullRequest, error) {
	var p githubPull
	_, err := g.get(ctx, fmt.Sprintf("repos/%s/pulls/%d", g.repo, number), &p)
	return p.pullRequest(), err
}

func (g githubForge) blob(ctx context.Context, commit, path string) (string, error) {
	var found json.RawMessage
	if _, err := g.get(ctx, "repos/"+g.repo+"/contents/"+escapePath(path)+query("ref", commit), &found); err != nil {
		return "", err
	}
	var file struct {
		Type string `json:"type"`
		SHA  string `json:"sha"`
	}
	if json.Unmarshal(found, &file) != nil || file.Type != "file" { // the list of a folder, a link, a submodule
		return "", nil
	}
	return file.SHA, nil
}
