package forge

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// bitbucketForge is Bitbucket Cloud. Its driver is not used: it has no reviews and no merges, opens pull requests without
// a base and a body, and does not see that one removes a file.
type bitbucketForge struct{ rest }

type bitbucketPull struct {
	ID          int             `json:"id"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	State       string          `json:"state"` // OPEN, MERGED, DECLINED, SUPERSEDED
	Author      bitbucketUser   `json:"author"`
	ClosedBy    bitbucketUser   `json:"closed_by"`
	MergeCommit bitbucketCommit `json:"merge_commit"`
	Updated     time.Time       `json:"updated_on"`
	Source      bitbucketEnd    `json:"source"`
	Destination bitbucketEnd    `json:"destination"`
	Links       struct {
		HTML struct {
			Href string `json:"href"`
		} `json:"html"`
	} `json:"links"`
	Participants []struct {
		User  bitbucketUser `json:"user"`
		State string        `json:"state"` // approved, changes_requested or null
	} `json:"participants"` // of a single pull request, not in lists
}

type bitbucketUser struct {
	AccountID string `json:"account_id"`
	UUID      string `json:"uuid"`
}

// name is what nobody can change to another's. An app or an access token has no account ID.
func (u bitbucketUser) name() string {
	if u.AccountID != "" {
		return u.AccountID
	}
	return u.UUID
}

// bitbucketCommit has a hash of twelve digits where it is part of a pull request.
type bitbucketCommit struct {
	Hash string `json:"hash"`
}

type bitbucketEnd struct {
	Commit bitbucketCommit `json:"commit"`
	Branch struct {
		Name string `json:"name"`
	} `json:"branch"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"` // empty when the fork is gone
}

// bitbucketEvent is an entry of a pull request's activity, of which one of the three is there.
type bitbucketEvent struct {
	Update struct {
		Date   time.Time    `json:"date"`
		State  string       `json:"state"`
		Source bitbucketEnd `json:"source"`
	} `json:"update"`
	Approval         bitbucketVerdict `json:"approval"`
	ChangesRequested bitbucketVerdict `json:"changes_requested"`
}

type bitbucketVerdict struct {
	Date time.Time     `json:"date"`
	User bitbucketUser `json:"user"`
}

// noteIn keeps when somebody gave a verdict last.
func (v bitbucketVerdict) noteIn(last map[string]time.Time) {
	if name := v.User.name(); v.Date.After(last[name]) {
		last[name] = v.Date
	}
}

func (b bitbucketForge) base() string { return "2.0/repositories/" + b.repo }

func (b bitbucketForge) pull(number int) string {
	return fmt.Sprintf("%s/pullrequests/%d", b.base(), number)
}

// bitbucketPages follows a list from page to page, which is at an address that the list gives.
func bitbucketPages[T any](ctx context.Context, r rest, path string, each func(T)) error {
	return pages(func(int) (bool, error) {
		var list struct {
			Values []T    `json:"values"`
			Next   string `json:"next"`
		}
		if _, err := r.get(ctx, path, &list); err != nil {
			return false, err
		}
		for _, item := range list.Values {
			each(item)
		}
		path = list.Next
		return path != "", nil
	})
}

func (b bitbucketForge) merged(ctx context.Context, base string, since time.Time) ([]PullRequest, error) {
	filter := fmt.Sprintf(`state = "MERGED" AND destination.branch.name = %q`, base)
	if !since.IsZero() {
		filter += " AND updated_on >= " + since.UTC().Format("2006-01-02T15:04:05-07:00")
	}
	return b.list(ctx, filter)
}

func (b bitbucketForge) byBranch(ctx context.Context, branch, base string) ([]PullRequest, error) {
	return b.list(ctx, fmt.Sprintf(`(state = "OPEN" OR state = "MERGED" OR state = "DECLINED" OR state = "SUPERSEDED")`+
		` AND source.branch.name = %q AND destination.branch.name = %q AND source.repository.full_name = %q`, branch, base, unescaped(b.repo)))
}

func (b bitbucketForge) list(ctx context.Context, filter string) ([]PullRequest, error) {
	var list []bitbucketPull
	err := bitbucketPages(ctx, b.rest, b.base()+"/pullrequests"+query("q", filter, "sort", "-updated_on", "pagelen", "50"), func(p bitbucketPull) {
		list = append(list, p)
	})
	var all []PullRequest
	for i := 0; i < len(list) && err == nil; i++ {
		var p PullRequest
		p, err = b.pullRequest(ctx, list[i])
		all = append(all, p)
	}
	return all, err
}

func (b bitbucketForge) find(ctx context.Context, number int) (PullRequest, error) {
	var p bitbucketPull
	if _, err := b.get(ctx, b.pull(number), &p); err != nil {
		return PullRequest{}, err
	}
	return b.pullRequest(ctx, p)
}

// pullRequest asks for the full hashes, and for when it was merged.
func (b bitbucketForge) pullRequest(ctx context.Context, from bitbucketPull) (p PullRequest, err error) {
	p = PullRequest{
		Number: from.ID, Link: from.Links.HTML.Href, Title: from.Title, Body: from.Description, Author: from.Author.name(),
		HeadBranch: from.Source.Branch.Name, Base: from.Destination.Branch.Name,
		Closed: from.State != "OPEN", Merged: from.State == "MERGED", Updated: from.Updated,
	}
	if p.Head, err = b.full(ctx, from.Source); err != nil || !p.Merged {
		return p, err
	}
	p.MergedBy = from.ClosedBy.name()
	if p.MergedAs, err = b.full(ctx, bitbucketEnd{Commit: from.MergeCommit}); err != nil {
		return p, err
	}
	err = bitbucketPages(ctx, b.rest, b.pull(p.Number)+"/activity"+query("pagelen", "50"), func(e bitbucketEvent) {
		if e.Update.State == "MERGED" && (p.MergedAt.IsZero() || e.Update.Date.Before(p.MergedAt)) {
			p.MergedAt = e.Update.Date
		}
	})
	return p, err
}

// full returns the full hash of a commit, in the repository that has it.
func (b bitbucketForge) full(ctx context.Context, at bitbucketEnd) (string, error) {
	const sha1Digits = 40
	if at.Commit.Hash == "" || len(at.Commit.Hash) >= sha1Digits {
		return at.Commit.Hash, nil
	}
	in := b.base()
	if at.Repository.FullName != "" {
		in = "2.0/repositories/" + escapePath(at.Repository.FullName)
	}
	var commit bitbucketCommit
	_, err := b.get(ctx, in+"/commit/"+url.PathEscape(at.Commit.Hash), &commit)
	return commit.Hash, err
}

// reviews are the verdicts that stand, with what the activity says of when they were given, and of which head.
func (b bitbucketForge) reviews(ctx context.Context, number int) ([]Review, error) {
	var p bitbucketPull
	if _, err := b.get(ctx, b.pull(number), &p); err != nil {
		return nil, err
	}
	var pushes []push
	ends := map[string]bitbucketEnd{}
	approved, against := map[string]time.Time{}, map[string]time.Time{}
	err := bitbucketPages(ctx, b.rest, b.pull(number)+"/activity"+query("pagelen", "50"), func(e bitbucketEvent) {
		if hash := e.Update.Source.Commit.Hash; hash != "" {
			pushes = append(pushes, push{e.Update.Date, hash})
			ends[hash] = e.Update.Source
		}
		e.Approval.noteIn(approved)
		e.ChangesRequested.noteIn(against)
	})
	if err != nil {
		return nil, err
	}
	var all []Review
	for _, who := range p.Participants {
		r := Review{Author: who.User.name(), Link: p.Links.HTML.Href}
		switch who.State {
		case "approved":
			r.State, r.At = Approved, approved[r.Author]
		case "changes_requested":
			r.State, r.At = ChangesRequested, against[r.Author]
		default:
			continue
		}
		if r.Commit, err = b.full(ctx, ends[headAt(pushes, r.At)]); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func (b bitbucketForge) changes(ctx context.Context, number int) (all []string, err error) {
	type end struct {
		Path string `json:"path"`
	}
	err = bitbucketPages(ctx, b.rest, b.pull(number)+"/diffstat"+query("pagelen", "100"), func(change struct{ Old, New end }) {
		all = append(all, change.Old.Path, change.New.Path)
	})
	return all, err
}

// blob computes the hash, which Bitbucket does not tell.
func (b bitbucketForge) blob(ctx context.Context, commit, path string) (string, error) {
	file := b.base() + "/src/" + url.PathEscape(commit) + "/" + escapePath(path)
	var meta struct {
		Type       string   `json:"type"`
		Attributes []string `json:"attributes"`
	}
	if _, err := b.get(ctx, file+query("format", "meta"), &meta); err != nil {
		return "", err
	}
	if meta.Type != "commit_file" { // a folder
		return "", nil
	}
	content, err := b.raw(ctx, file)
	if err != nil {
		return "", err
	}
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	return hex.EncodeToString(sum[:]), nil
}

func (b bitbucketForge) propose(ctx context.Context, p Proposal) (PullRequest, error) {
	branch := func(name string) any { return map[string]any{"branch": map[string]string{"name": name}} }
	var opened bitbucketPull
	_, err := b.send(ctx, http.MethodPost, b.base()+"/pullrequests", map[string]any{
		"title": p.Title, "description": p.Body, "source": branch(p.Branch), "destination": branch(p.Base),
	}, &opened)
	if err != nil {
		return PullRequest{}, err
	}
	return b.pullRequest(ctx, opened)
}

func (b bitbucketForge) edit(ctx context.Context, number int, title, body string) error {
	_, err := b.send(ctx, http.MethodPut, b.pull(number), withoutEmpty(map[string]string{"title": title, "description": body}), nil)
	return err
}

func (b bitbucketForge) close(ctx context.Context, number int) error {
	_, err := b.send(ctx, http.MethodPost, b.pull(number)+"/decline", nil, nil)
	return err
}

func (b bitbucketForge) me(ctx context.Context) (string, error) {
	var user bitbucketUser
	_, err := b.get(ctx, "2.0/user", &user)
	return user.name(), err
}
