package gitsource

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// What can go wrong at the remote. Compare with errors.Is; an [*Error] has the rest.
var (
	ErrBranchNotFound     = errors.New("the branch does not exist")
	ErrRepositoryNotFound = errors.New("the repository does not exist, or the credentials may not see it")
	ErrRevisionNotFound   = errors.New("the commit is not in the branch's history: it was rewritten")
	ErrFileNotFound       = errors.New("the commit does not have the file")
	ErrTooLarge           = errors.New("the repository is too large")
	ErrConflict           = errors.New("somebody else kept writing to the branch")
	ErrAuth               = errors.New("the server refused the credentials")
	ErrRejected           = errors.New("the server refused the commit")
	ErrHostKey            = errors.New("the server is not the one in known_hosts")
	ErrUnreachable        = errors.New("the server did not answer as a Git server should")
)

// Error is what an operation at the remote failed with. Its text names the repository and what to do, and holds no
// credentials.
type Error struct {
	Kind       error         // one of the sentinels above
	Op         string        // what was being done, such as "asking for the head"
	Repository string        // URL and branch
	Detail     string        // what happened, why, and what to do
	Server     string        // the server's own words, such as a hook's; "" when it said none
	RetryAfter time.Duration // how long the server asks to be left alone; 0 when it did not say

	unsure bool // of a refused push: what the server says may also mean that somebody else was quicker

	ended error // context.Canceled or context.DeadlineExceeded, when that is what ended the operation
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s: %v", e.Op, e.Repository, e.Kind)
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	if e.Server != "" {
		fmt.Fprintf(&b, "; the server says: %q", e.Server)
	}
	return b.String()
}

// Unwrap returns the kind, and the context's error where the context ended the operation.
func (e *Error) Unwrap() []error {
	if e.ended == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.ended}
}

// failed turns any error of an operation into an [*Error] without secrets. An error without a kind comes from the
// network or from an answer that makes no sense.
func (r *Repository) failed(op string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Kind: ErrUnreachable, Detail: err.Error()}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			e.ended = context.DeadlineExceeded
			e.Detail = fmt.Sprintf("no answer within %s", r.opts.Timeout)
		case errors.Is(err, context.Canceled):
			e.ended, e.Detail = context.Canceled, "the operation was cancelled"
		}
	}
	if e.Op == "" {
		e.Op, e.Repository = op, r.String()
	}
	e.Detail, e.Server = r.scrub(e.Detail), r.scrub(e.Server)
	return e
}

// ended prefers the context's own error: whatever a transport reports once its connection was closed under it is only
// a symptom.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// maxServerText bounds the words of a server in an error: enough for any hook, too little for an HTML page.
const maxServerText = 2000

// maxWords bounds what is read of them: more than is shown, so that the cut does not go through a secret that would
// then not be recognised.
const maxWords = 4 * maxServerText

// scrub makes somebody else's text fit to be shown: no secrets, one line, no control characters, not endless.
func (r *Repository) scrub(text string) string { return scrub(text, r.secrets()) }

func scrub(text string, secrets []string) string {
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "<secret>")
	}
	return oneLine(text, maxServerText)
}

// oneLine joins the lines of a text, drops control characters and cuts it to max bytes.
func oneLine(text string, max int) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return ' '
		}
		if unicode.IsControl(c) || c == '\ufeff' || (c >= '\u202a' && c <= '\u202e') || (c >= '\u2066' && c <= '\u2069') {
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > max {
		text = strings.ToValidUTF8(text[:max], "") + "…"
	}
	return text
}
