package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource"
)

// maxAnswer bounds what is read of an answer: more than any page of pull requests, too little to fill the memory.
const maxAnswer = 16 << 20

// exchange is one request to a forge and its answer, whoever asks: go-scm's drivers, whose own errors say little and
// who log what a forge answers, never see an answer that is not good.
type exchange struct {
	api     *gitsource.API
	kind    Kind
	timeout time.Duration
}

// RoundTrip returns an answer that was read to its end and is JSON, unless the request accepts something else, and an
// [*Error] for any other.
func (x *exchange) RoundTrip(asked *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeoutCause(asked.Context(), x.timeout,
		&Error{Kind: ErrUnavailable, Detail: fmt.Sprintf("no answer within %s", x.timeout)})
	defer cancel()
	req := asked.Clone(ctx)
	req.URL.Opaque = "" // go-scm sets it where a path has an escaped slash, which EscapedPath keeps as well
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	answer, err := x.api.Do(req)
	if err != nil {
		return nil, cause(ctx, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, cause(ctx, err)
	case answer.StatusCode >= 300:
		return nil, x.refused(answer, body)
	case len(body) > maxAnswer:
		return nil, &Error{Kind: ErrUnavailable, Status: answer.StatusCode, Detail: "its answer is larger than 16 MiB"}
	case len(body) > 0 && strings.HasSuffix(req.Header.Get("Accept"), "json") && !isJSON(answer.Header):
		return nil, &Error{Kind: ErrUnavailable, Status: answer.StatusCode, Detail: fmt.Sprintf(
			"it answers with %q and not with JSON: check that the API's URL is right, and the proxy", answer.Header.Get("Content-Type"))}
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// cause prefers this package's own deadline to what a connection says that was closed because of it.
func cause(ctx context.Context, err error) error {
	var late *Error
	if ctx.Err() != nil && errors.As(context.Cause(ctx), &late) {
		return late
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func isJSON(header http.Header) bool {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// refused makes an error of an answer that is not a success.
func (x *exchange) refused(answer *http.Response, body []byte) error {
	e := &Error{
		Kind: ErrRefused, Status: answer.StatusCode, Detail: "HTTP " + answer.Status,
		RetryAfter: gitsource.RetryAfter(answer.Header), Answer: words(answer.Header, body),
	}
	if reset, err := strconv.ParseInt(answer.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil && answer.Header.Get("X-RateLimit-Remaining") == "0" {
		e.RetryAfter = max(e.RetryAfter, time.Until(time.Unix(reset, 0)).Round(time.Second))
	}
	switch status := answer.StatusCode; {
	// GitHub says that somebody asks too often with 403 as well.
	case status == http.StatusTooManyRequests, status == http.StatusForbidden && e.RetryAfter > 0:
		e.Kind = ErrUnavailable
		e.Detail += ": too many requests with this token"
	case status >= 500:
		e.Kind = ErrUnavailable
	case status == http.StatusUnauthorized:
		e.Kind = ErrAuth
		e.Detail += ": check that the token in the Git credentials is right and has not expired"
	case status == http.StatusForbidden:
		e.Kind = ErrAuth
		e.Detail += ": the token needs " + scopes[x.kind]
	case status == http.StatusNotFound:
		e.Kind = ErrNotFound
		e.Detail += ": check the repository's URL, and that the token needs " + scopes[x.kind]
	}
	return e
}

// scopes are what a token has to be allowed, in each forge's own words.
var scopes = map[Kind]string{
	GitHub:    "read and write access to pull requests, and read access to contents",
	GitLab:    "the scope api, and the role Developer",
	Gitea:     "write access to repository and issue, and read access to user",
	Bitbucket: "the scopes read and write of pull requests, and read of repositories and of the account",
	Azure:     "the scope Code (read and write)",
}

// words returns what a forge says about an error: the message of its JSON, or its plain text, and nothing of a web page.
func words(header http.Header, body []byte) string {
	if !isJSON(header) {
		if strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
			return string(body)
		}
		return ""
	}
	var said struct {
		Message json.RawMessage `json:"message"` // GitHub, Gitea, Azure DevOps; of GitLab a text or an object of them
		Error   json.RawMessage `json:"error"`   // GitLab: a text; Bitbucket: an object with a message
		Errors  json.RawMessage `json:"errors"`  // GitHub
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	var all []string
	for _, part := range []json.RawMessage{said.Message, said.Error, said.Errors} {
		var text string
		var inside struct {
			Message string `json:"message"`
		}
		switch {
		case len(part) == 0 || string(part) == "null" || string(part) == "[]":
			continue
		case json.Unmarshal(part, &text) == nil:
		case json.Unmarshal(part, &inside) == nil && inside.Message != "":
			text = inside.Message
		default:
			text = string(part)
		}
		all = append(all, text)
	}
	return strings.Join(all, ": ")
}
