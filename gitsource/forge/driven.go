package forge

import (
	"context"

	"github.com/jenkins-x/go-scm/scm"
)

// driven is what go-scm's drivers of GitHub and Azure DevOps do as it has to be done. Where one does not, the forge has
// a method of its own in place of one of these.
type driven struct{ rest }

const pageSize = 100

func (d driven) reviews(ctx context.Context, number int) ([]Review, error) {
	var all []Review
	err := pages(func(page int) (bool, error) {
		list, answer, err := d.client.Reviews.List(ctx, d.repo, number, &scm.ListOptions{Page: page, Size: pageSize})
		if err != nil {
			return false, err
		}
		for _, r := range list {
			if state, submitted := states[r.State]; submitted {
				all = append(all, Review{Author: r.Author.Login, State: state, Commit: r.Sha, Link: r.Link, At: r.Created})
			}
		}
		return answer.Page.Next != 0, nil
	})
	return all, err
}

var states = map[string]State{
	scm.ReviewStateApproved:         Approved,
	scm.ReviewStateChangesRequested: ChangesRequested,
	scm.ReviewStateCommented:        Commented,
	scm.ReviewStateDismissed:        Dismissed,
}

func (d driven) changes(ctx context.Context, number int) ([]string, error) {
	var all []string
	err := pages(func(page int) (bool, error) {
		list, answer, err := d.client.PullRequests.ListChanges(ctx, d.repo, number, &scm.ListOptions{Page: page, Size: pageSize})
		if err != nil {
			return false, err
		}
		for _, change := range list {
			all = append(all, change.Path, change.PreviousPath)
		}
		return answer.Page.Next != 0, nil
	})
	return all, err
}

func (d driven) propose(ctx context.Context, p Proposal) (PullRequest, error) {
	opened, _, err := d.client.PullRequests.Create(ctx, d.repo, &scm.PullRequestInput{Title: p.Title, Body: p.Body, Head: p.Branch, Base: p.Base})
	if err != nil {
		return PullRequest{}, err
	}
	return PullRequest{
		Number: opened.Number, Link: opened.Link, Title: opened.Title, Body: opened.Body, Author: opened.Author.Login,
		Head: opened.Head.Sha, HeadBranch: p.Branch, Base: p.Base, Updated: opened.Updated,
	}, nil
}

func (d driven) edit(ctx context.Context, number int, title, body string) error {
	_, _, err := d.client.PullRequests.Update(ctx, d.repo, number, &scm.PullRequestInput{Title: title, Body: body})
	return err
}

func (d driven) close(ctx context.Context, number int) error {
	_, err := d.client.PullRequests.Close(ctx, d.repo, number)
	return err
}

func (d driven) me(ctx context.Context) (string, error) {
	user, _, err := d.client.Users.Find(ctx)
	if err != nil {
		return "", err
	}
	return user.Login, nil
}
