package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// gitlabForge is GitLab. Its driver is not used: it has no approvals and no merges, closes with a word that GitLab does
// not know, and asks for the project three times for each merge request.
type gitlabForge struct{ rest }

type gitlabMergeRequest struct {
	Number       int        `json:"iid"`
	Link         string     `json:"web_url"`
	Title        string     `json:"title"`
	Body         string     `json:"description"`
	Author       gitlabUser `json:"author"`
	State        string     `json:"state"` // opened, closed, locked, merged
	Head         string     `json:"sha"`
	SourceBranch string     `json:"source_branch"`
	TargetBranch string     `json:"target_branch"`
	Source       int        `json:"source_project_id"`
	Target       int        `json:"target_project_id"`
	MergeCommit  string     `json:"merge_commit_sha"`
	SquashCommit string     `json:"squash_commit_sha"`
	MergedBy     gitlabUser `json:"merge_user"`
	MergedAt     time.Time  `json:"merged_at"`
	Updated      time.Time  `json:"updated_at"`
}

type gitlabUser struct {
	Username string `json:"username"`
}

func (m gitlabMergeRequest) pullRequest() PullRequest {
	p := PullRequest{
		Number: m.Number, Link: m.Link, Title: m.Title, Body: m.Body, Author: m.Author.Username,
		Head: m.Head, HeadBranch: m.SourceBranch, Base: m.TargetBranch,
		Closed: m.State == "closed" || m.State == "merged", Merged: m.State == "merged", Updated: m.Updated,
	}
	if p.Merged {
		p.MergedBy, p.MergedAt = m.MergedBy.Username, m.MergedAt
		// A squash that is then merged is behind the merge; a fast-forward makes no commit, and the head is on the base.
		switch {
		case m.MergeCommit != "":
			p.MergedAs = m.MergeCommit
		case m.SquashCommit != "":
			p.MergedAs = m.SquashCommit
		default:
			p.MergedAs = m.Head
		}
	}
	return p
}

func (g gitlabForge) project() string { return "api/v4/projects/" + url.PathEscape(unescaped(g.repo)) }

func (g gitlabForge) mergeRequest(number int) string {
	return fmt.Sprintf("%s/merge_requests/%d", g.project(), number)
}

func (g gitlabForge) merged(ctx context.Context, base string, since time.Time) ([]PullRequest, error) {
	criteria := []string{"state", "merged", "target_branch", base, "order_by", "updated_at", "sort", "desc"}
	if !since.IsZero() {
		criteria = append(criteria, "updated_after", since.UTC().Format(time.RFC3339))
	}
	return g.list(ctx, false, criteria...)
}

func (g gitlabForge) byBranch(ctx context.Context, branch, base string) ([]PullRequest, error) {
	return g.list(ctx, true, "state", "all", "source_branch", branch, "target_branch", base)
}

// list reads merge requests, of the project's own branches alone or of forks as well.
func (g gitlabForge) list(ctx context.Context, own bool, criteria ...string) (all []PullRequest, err error) {
	err = gitlabPages(ctx, g.rest, g.project()+"/merge_requests", criteria, func(m gitlabMergeRequest) {
		if !own || m.Source == m.Target {
			all = append(all, m.pullRequest())
		}
	})
	return all, err
}

// gitlabPages reads a list.
func gitlabPages[T any](ctx context.Context, r rest, path string, criteria []string, each func(T)) error {
	return pages(func(page int) (bool, error) {
		var list []T
		answer, err := r.get(ctx, path+query(append(criteria, "per_page", strconv.Itoa(pageSize), "page", strconv.Itoa(page))...), &list)
		if err != nil {
			return false, err
		}
		for _, item := range list {
			each(item)
		}
		return answer.Page.Next != 0, nil
	})
}

func (g gitlabForge) find(ctx context.Context, number int) (PullRequest, error) {
	var m gitlabMergeRequest
	_, err := g.get(ctx, g.mergeRequest(number), &m)
	return m.pullRequest(), err
}

// reviews are the approvals that stand, and those who ask for changes.
func (g gitlabForge) reviews(ctx context.Context, number int) ([]Review, error) {
	var approvals struct {
		By []struct {
			User gitlabUser `json:"user"`
			At   time.Time  `json:"approved_at"`
		} `json:"approved_by"`
	}
	if _, err := g.get(ctx, g.mergeRequest(number)+"/approvals", &approvals); err != nil {
		return nil, err
	}
	var pushes []push
	err := gitlabPages(ctx, g.rest, g.mergeRequest(number)+"/versions", nil, func(version struct {
		Head string    `json:"head_commit_sha"`
		At   time.Time `json:"created_at"`
	}) {
		pushes = append(pushes, push{version.At, version.Head})
	})
	if err != nil {
		return nil, err
	}
	var all []Review
	against := map[string]bool{}
	err = gitlabPages(ctx, g.rest, g.mergeRequest(number)+"/reviewers", nil, func(reviewer struct {
		User  gitlabUser `json:"user"`
		State string     `json:"state"`
	}) {
		if reviewer.State == "requested_changes" {
			all = append(all, Review{Author: reviewer.User.Username, State: ChangesRequested})
			against[reviewer.User.Username] = true
		}
	})
	for _, a := range approvals.By {
		if !against[a.User.Username] {
			all = append(all, Review{Author: a.User.Username, State: Approved, Commit: headAt(pushes, a.At), At: a.At})
		}
	}
	return all, err
}

func (g gitlabForge) changes(ctx context.Context, number int) (all []string, err error) {
	err = gitlabPages(ctx, g.rest, g.mergeRequest(number)+"/diffs", nil, func(diff struct {
		Old string `json:"old_path"`
		New string `json:"new_path"`
	}) {
		all = append(all, diff.Old, diff.New)
	})
	return all, err
}

func (g gitlabForge) blob(ctx context.Context, commit, path string) (string, error) {
	var file struct {
		Blob string `json:"blob_id"`
	}
	_, err := g.get(ctx, g.project()+"/repository/files/"+url.PathEscape(path)+query("ref", commit), &file)
	return file.Blob, err
}

func (g gitlabForge) propose(ctx context.Context, p Proposal) (PullRequest, error) {
	var m gitlabMergeRequest
	_, err := g.send(ctx, http.MethodPost, g.project()+"/merge_requests", map[string]string{
		"source_branch": p.Branch, "target_branch": p.Base, "title": p.Title, "description": p.Body,
	}, &m)
	return m.pullRequest(), err
}

func (g gitlabForge) edit(ctx context.Context, number int, title, body string) error {
	return g.put(ctx, number, withoutEmpty(map[string]string{"title": title, "description": body}))
}

func (g gitlabForge) close(ctx context.Context, number int) error {
	return g.put(ctx, number, map[string]string{"state_event": "close"})
}

func (g gitlabForge) put(ctx context.Context, number int, in map[string]string) error {
	_, err := g.send(ctx, http.MethodPut, g.mergeRequest(number), in, nil)
	return err
}

func (g gitlabForge) me(ctx context.Context) (string, error) {
	var user gitlabUser
	_, err := g.get(ctx, "api/v4/user", &user)
	return user.Username, err
}
