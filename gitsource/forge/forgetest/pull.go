package forgetest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Verdict is what a review says, in Gitea's words.
type Verdict string

const (
	Approve        Verdict = "APPROVED"
	RequestChanges Verdict = "REQUEST_CHANGES"
	Comment        Verdict = "COMMENT"
)

// Style is how a pull request is merged, in Gitea's words.
type Style string

const (
	Merge  Style = "merge"
	Squash Style = "squash"
	Rebase Style = "rebase"
)

// patience is how long Gitea may take to make up its mind on what it does in the background, which takes moments.
const patience = time.Minute

// Propose opens a pull request from a branch into main, and returns its number.
func (r *Repo) Propose(t TB, as *User, branch, title string) int {
	t.Helper()
	var opened struct {
		Number int `json:"number"`
	}
	as.must(t, http.MethodPost, r.api("/pulls"), map[string]any{"head": branch, "base": "main", "title": title}, &opened)
	return opened.Number
}

// Review says what a user thinks of the head of a pull request, and returns the number of the review.
func (r *Repo) Review(t TB, as *User, pull int, verdict Verdict) int {
	t.Helper()
	review, err := r.TryReview(as, pull, verdict)
	if err != nil {
		t.Fatalf("%s reviews %d: %v", as.Name, pull, err)
	}
	return review
}

// TryReview is [Repo.Review], and returns what Gitea says to a review that it refuses.
func (r *Repo) TryReview(as *User, pull int, verdict Verdict) (int, error) {
	var review struct {
		ID int `json:"id"`
	}
	err := as.Ask(http.MethodPost, r.api(fmt.Sprintf("/pulls/%d/reviews", pull)), map[string]any{"event": verdict, "body": "as I see it"}, &review)
	return review.ID, err
}

// Dismiss voids a review.
func (r *Repo) Dismiss(t TB, as *User, pull, review int) {
	t.Helper()
	as.must(t, http.MethodPost, r.api(fmt.Sprintf("/pulls/%d/reviews/%d/dismissals", pull, review)), map[string]any{"message": "not so"}, nil)
}

// Merge merges a pull request, and returns the hash of main afterwards.
func (r *Repo) Merge(t TB, as *User, pull int, style Style) string {
	t.Helper()
	hash, err := r.TryMerge(t, as, pull, style)
	if err != nil {
		t.Fatalf("%s merges %d: %v", as.Name, pull, err)
	}
	return hash
}

// TryMerge is [Repo.Merge], and returns what Gitea says to a merge that it refuses.
func (r *Repo) TryMerge(t TB, as *User, pull int, style Style) (string, error) {
	t.Helper()
	// After each push, Gitea has to find out whether a pull request can be merged, and says so.
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := as.Ask(http.MethodPost, r.api(fmt.Sprintf("/pulls/%d/merge", pull)), map[string]any{"Do": style}, nil)
		if err == nil {
			return r.Head(t, "main"), nil
		}
		if !strings.HasSuffix(err.Error(), "Please try again later") || time.Now().After(deadline) {
			return "", err
		}
	}
}

// Webhook makes Gitea tell a URL of this machine about pushes, pull requests and reviews, signed with a secret.
func (r *Repo) Webhook(t TB, to, secret string) {
	t.Helper()
	r.Owner.must(t, http.MethodPost, r.api("/hooks"), map[string]any{
		"type": "gitea", "active": true, "events": []string{"push", "pull_request", "pull_request_review"},
		"config": map[string]string{"url": to, "content_type": "json", "secret": secret},
	}, nil)
}
