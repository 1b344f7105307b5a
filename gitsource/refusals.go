package gitsource

import (
	"errors"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// lostInside are the words with which servers say that somebody else was quicker: git's own first, as GitHub, Gitea and
// Bitbucket pass them on ("cannot lock ref 'refs/heads/main': is at 1234 but expected 5678"), then Gitaly's (GitLab),
// Azure DevOps', JGit's (Gerrit) and go-git's.
var lostInside = []string{
	"failed to update ref", "cannot lock ref", "unable to lock", "fetch first", "non-fast-forward", "incorrect old value",
	"reference already exists", "but expected",
	"already locked", "cannot lock references",
	"has already been updated by another client", "tf401028",
	"lock failure", "failed to lock",
	"reference has changed concurrently",
}

// refusals are the words with which servers refuse a push for good, and what to do then. The first that fits is the
// most special one.
var refusals = []struct {
	words  []string
	advice string
}{
	{[]string{"verified signature", "must be signed", "signed commit", "unsigned commit", "not signed"},
		"the server takes signed commits only: give the agent --signing-key, and the server its public key"},
	{[]string{"verified email", "committer", "you cannot push commits for", "author email", "author's email"},
		"the server checks in whose name commits are made: set --author-name and --author-email to those of gitrota's account"},
	{[]string{"archived"},
		"the repository is archived: nobody can write to it before that is undone"},
	{[]string{"quota", "storage limit", "size limit", "no space left", "disk full", "exceed"},
		"the server has no room for it: free some, or raise the limit"},
	{[]string{"gh006", "gh013", "protected", "rule violation", "tf402455", "pull request", "merge request",
		"reserved or restricted", "permission denied to update branch"},
		"the branch is protected: let gitrota's account push to it, or give the statuses a branch of their own with --status-branch"},
	{[]string{"read only", "read-only", "does not have write access", "not authorized to write", "write access to",
		"tf401027", "genericcontribute", "not allowed to push", "not allowed to upload", "denied to"},
		"the key or token may only read: give it the right to write to this repository"},
	{[]string{"hook declined"},
		"a hook on the server refuses it: whoever runs it has to let gitrota's account push to this branch, or give the " +
			"statuses a branch of their own with --status-branch"},
}

// advice returns what to do about a refusal, "" if nobody knows these words.
func advice(words string) string {
	for _, r := range refusals {
		if containsAny(words, r.words) {
			return r.advice
		}
	}
	return ""
}

func containsAny(text string, words []string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// verdict reads the server's report of a push. said is what the server, or a hook of it, has said beside the report.
// Whether a race was lost is for the report alone to say: a hook may use any words.
func verdict(report *packp.ReportStatus, said string) error {
	if report.UnpackStatus != "ok" {
		return rejected("it could not unpack the objects ("+report.UnpackStatus+")", report.UnpackStatus, said)
	}
	if len(report.CommandStatuses) == 0 {
		return errors.New("the server did not say what became of the push")
	}
	for _, status := range report.CommandStatuses {
		switch {
		case status.Status == "ok":
		case containsAny(status.Status, lostInside):
			return errMoved
		default:
			return rejected(status.Status, status.Status, said)
		}
	}
	return nil
}

func rejected(what, status, said string) error {
	refused := &Error{Kind: ErrRejected, Detail: what, Server: said}
	todo := advice(status + " " + said)
	if todo == "" {
		// A server of a make that nobody has met may call a lost race so.
		refused.unsure = true
		todo = "let gitrota's account push to this branch, or give the statuses a branch of their own with --status-branch"
	}
	refused.Detail += ": " + todo
	return refused
}

// final reports whether a push that failed has surely not landed, and trying again would only be a nuisance. Otherwise
// only the remote can tell.
func final(pushed error) bool {
	var e *Error
	if !errors.As(pushed, &e) {
		return false
	}
	switch e.Kind {
	case ErrRejected:
		return !e.unsure
	case ErrAuth, ErrHostKey, ErrRepositoryNotFound:
		return true
	}
	return e.RetryAfter > 0
}

// refusal sorts what a server says instead of speaking Git.
func refusal(words string) error {
	switch {
	case containsAny(words, []string{"not found", "does not exist", "not appear to be a git repository", "could not be found", "no such"}):
		return &Error{Kind: ErrRepositoryNotFound, Server: words}
	case containsAny(words, []string{"denied", "not allowed", "read only", "read-only", "unauthorized", "not permitted", "not authorized", "write access"}):
		return &Error{Kind: ErrAuth, Detail: advice(words), Server: words}
	}
	return &Error{Kind: ErrRejected, Detail: advice(words), Server: words}
}
