package forge

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// giteaForge is Gitea, whose API is GitHub's but for lists, reviews and the heads of pull requests.
type giteaForge struct{ githubForge }

func (g giteaForge) merged(ctx context.Context, base string, since time.Time) ([]PullRequest, error) {
	list, err := g.list(ctx, since, "state", "closed", "sort", "recentupdate", "base_branch", base)
	if err != nil {
		return nil, err
	}
	var all []PullRequest
	for _, p := range list {
		if p.MergedAt.IsZero() || p.Base.Ref != base || p.Updated.Before(since) {
			continue
		}
		merged, err := g.pullRequest(ctx, p)
		if err != nil {
			return nil, err
		}
		all = append(all, merged)
	}
	return all, nil
}

// byBranch asks first whether there is any: Gitea cannot list by branch, and there may be too many of others.
func (g giteaForge) byBranch(ctx context.Context, branch, base string) ([]PullRequest, error) {
	_, err := g.get(ctx, "repos/"+g.repo+"/pulls/"+url.PathEscape(base)+"/"+escapePath(branch), nil)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := g.list(ctx, time.Time{}, "state", "all", "base_branch", base)
	if err != nil && !errors.Is(err, ErrTooMany) {
		return nil, err
	}
	var all []PullRequest
	for _, p := range list {
		if p.Head.Label != branch || !strings.EqualFold(p.Head.Repo.FullName, g.repo) {
			continue
		}
		found, err := g.pullRequest(ctx, p)
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
	return all, nil
}

func (g giteaForge) list(ctx context.Context, since time.Time, criteria ...string) (all []githubPull, err error) {
	const most = 50 // that Gitea gives at once unless it is told otherwise
	err = pages(func(page int) (bool, error) {
		var list []githubPull
		answer, err := g.get(ctx, "repos/"+g.repo+"/pulls"+query(append(criteria, "limit", strconv.Itoa(most), "page", strconv.Itoa(page))...), &list)
		if err != nil {
			return false, err
		}
		all = append(all, list...)
		return answer.Page.Next != 0 && !list[len(list)-1].Updated.Before(since), nil
	})
	return all, err
}

func (g giteaForge) find(ctx context.Context, number int) (PullRequest, error) {
	var p githubPull
	if _, err := g.get(ctx, fmt.Sprintf("repos/%s/pulls/%d", g.repo, number), &p); err != nil {
		return PullRequest{}, err
	}
	return g.pullRequest(ctx, p)
}

// pullRequest asks for the head of what was merged. Gitea describes a pull request with the commit that its branch is at
// now, which anybody who can push there chooses after the merge; the reference of the pull request stays.
func (g giteaForge) pullRequest(ctx context.Context, p githubPull) (PullRequest, error) {
	found := p.pullRequest()
	found.HeadBranch = p.Head.Label // the ref is another one when the branch is gone
	if !found.Merged {
		return found, nil
	}
	ref := fmt.Sprintf("pull/%d/head", p.Number)
	var refs []giteaRef // all that begin with these names
	if _, err := g.get(ctx, "repos/"+g.repo+"/git/refs/"+ref, &refs); err != nil {
		return PullRequest{}, err
	}
	found.Head = ""
	for _, r := range refs {
		if r.Ref == "refs/"+ref {
			found.Head = r.Object.SHA
		}
	}
	return found, nil
}

type giteaRef struct {
	Ref    string `json:"ref"`
	Object struct {
		SHA string `json:"sha"`
	} `json:"object"`
}

func (g giteaForge) reviews(ctx context.Context, number int) (all []Review, err error) {
	states := map[string]State{"APPROVED": Approved, "REQUEST_CHANGES": ChangesRequested, "COMMENT": Commented}
	err = pages(func(page int) (bool, error) {
		var list []struct {
			User      githubUser `json:"user"`
			State     string     `json:"state"`
			Dismissed bool       `json:"dismissed"`
			Commit    string     `json:"commit_id"`
			Link      string     `json:"html_url"`
			At        time.Time  `json:"submitted_at"`
		}
		_, err := g.get(ctx, fmt.Sprintf("repos/%s/pulls/%d/reviews", g.repo, number)+query("limit", "50", "page", strconv.Itoa(page)), &list)
		if err != nil {
			return false, err
		}
		for _, r := range list {
			state, submitted := states[r.State]
			if !submitted { // a draft, or the request for a review
				continue
			}
			if r.Dismissed {
				state = Dismissed
			}
			all = append(all, Review{Author: r.User.Login, State: state, Commit: r.Commit, Link: r.Link, At: r.At})
		}
		return len(list) > 0, nil
	})
	return all, err
}
