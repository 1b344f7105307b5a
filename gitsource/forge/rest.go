package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jenkins-x/go-scm/scm"
)

// maxPages bounds every list. What has more is an error, and not cut off.
const maxPages = 20

// rest makes single requests of a forge's REST API. Paths are relative to its base.
type rest struct {
	client *scm.Client
	repo   string // the path of the repository, its names escaped
}

func (r rest) get(ctx context.Context, path string, out any) (*scm.Response, error) {
	return r.send(ctx, http.MethodGet, path, nil, out)
}

// send sends in as JSON, unless it is nil, and reads the answer into out, unless that is nil.
func (r rest) send(ctx context.Context, method, path string, in, out any) (*scm.Response, error) {
	req := &scm.Request{Method: method, Path: path, Header: http.Header{}}
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		req.Body = bytes.NewReader(text)
		req.Header.Set("Content-Type", "application/json")
	}
	answer, err := r.client.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if out == nil {
		return answer, nil
	}
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		return nil, fmt.Errorf("its answer is not what its API's documentation says: %w", err)
	}
	return answer, nil
}

// raw returns a file as it is.
func (r rest) raw(ctx context.Context, path string) ([]byte, error) {
	answer, err := r.client.Do(ctx, &scm.Request{Method: http.MethodGet, Path: path, Header: http.Header{"Accept": {"*/*"}}})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

// pages reads one page after another, the first of which is 1, while there is more to be read.
func pages(read func(page int) (more bool, err error)) error {
	for page := 1; page <= maxPages; page++ {
		more, err := read(page)
		if err != nil || !more {
			return err
		}
	}
	return &Error{Kind: ErrTooMany, Detail: fmt.Sprintf("it is more than %d pages", maxPages)}
}

// query joins pairs of names and values to a URL's query.
func query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return "?" + values.Encode()
}

// escapePath escapes the names of a file's path.
func escapePath(path string) string {
	return strings.ReplaceAll(url.PathEscape(path), "%2F", "/")
}

// push is when a pull request got a head.
type push struct {
	at   time.Time
	head string
}

// headAt returns the head that was there before a time. Of a push at the same moment nobody has seen anything yet.
func headAt(pushes []push, at time.Time) string {
	var last push
	for _, p := range pushes {
		if p.at.Before(at) && !p.at.Before(last.at) {
			last = p
		}
	}
	return last.head
}

func withoutEmpty(fields map[string]string) map[string]string {
	maps.DeleteFunc(fields, func(_, value string) bool { return value == "" })
	return fields
}

// unescaped undoes the escaping of a repository's names.
func unescaped(path string) string {
	plain, _ := url.PathUnescape(path) // which escaping made, so that it cannot fail
	return plain
}
