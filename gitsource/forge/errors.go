package forge

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// What can go wrong. Compare with errors.Is; an [*Error] has the rest.
var (
	ErrUnavailable = errors.New("the forge cannot answer now") // 429, 5xx, no connection, or an answer that makes no sense
	ErrAuth        = errors.New("the forge refuses the credentials")
	ErrNotFound    = errors.New("the forge does not have it, or the credentials may not see it")
	ErrRefused     = errors.New("the forge refuses the request")
	ErrTooMany     = errors.New("the list is too long")
)

// Error is what a request failed with. Its text says what was being done, on which forge, what the forge answered and
// what to do, and holds no credentials.
type Error struct {
	Kind       error         // one of the sentinels above
	Op         string        // such as "listing the reviews of pull request 7"
	Repository string        // the forge and the repository
	Status     int           // of the answer; 0 when there was none
	Detail     string        // what happened and what to do
	Answer     string        // the forge's own words; "" when it said none
	RetryAfter time.Duration // for how long the forge asks to be left alone; 0 when it does not say

	ended error // context.Canceled or context.DeadlineExceeded, when that is what ended the request
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s: %v", e.Op, e.Repository, e.Kind)
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	if e.Answer != "" {
		fmt.Fprintf(&b, "; it says: %q", e.Answer)
	}
	return b.String()
}

// Unwrap returns the kind, and the context's error where the context ended the request.
func (e *Error) Unwrap() []error {
	if e.ended == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.ended}
}

// failed turns any error of a request into an [*Error] without secrets; nil stays nil.
func (c *Client) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Kind: ErrUnavailable, Detail: withoutURL(err).Error()}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			e.ended, e.Detail = context.DeadlineExceeded, "no answer in time"
		case errors.Is(err, context.Canceled):
			e.ended, e.Detail = context.Canceled, "the request was cancelled"
		}
	}
	e.Op, e.Repository = op, c.at.String()
	e.Detail, e.Answer = c.api.Scrub(e.Detail), c.api.Scrub(e.Answer)
	return e
}

// withoutURL returns an HTTP client's error without the method and URL, of which the operation says enough.
func withoutURL(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		return asked.Err
	}
	return err
}
