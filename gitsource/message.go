package gitsource

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// maxLine bounds a subject or a trailer.
const maxLine = 1000

var trailerKey = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

// message returns the commit's message. Texts that came from elsewhere cannot add a trailer: subject and trailers are
// one line each, and Git reads trailers from the last paragraph only, which is ours as long as there are any.
func (c *Change) message() (string, error) {
	subject := oneLine(c.Subject, maxLine)
	if subject == "" {
		return "", errors.New("the commit has no subject")
	}
	paragraphs := []string{subject}
	if body := cleanBody(c.Body); body != "" {
		paragraphs = append(paragraphs, body)
	}
	var trailers []string
	for _, t := range c.Trailers {
		if !trailerKey.MatchString(t.Key) {
			return "", fmt.Errorf("%q is not the key of a trailer", t.Key)
		}
		if value := oneLine(t.Value, maxLine); value != "" {
			trailers = append(trailers, t.Key+": "+value)
		}
	}
	if len(trailers) > 0 {
		paragraphs = append(paragraphs, strings.Join(trailers, "\n"))
	}
	return strings.Join(paragraphs, "\n\n") + "\n", nil
}

// likeTrailer matches the beginning of a line that Git, or a reader, could take for a trailer.
var likeTrailer = regexp.MustCompile(`(?m)^[A-Za-z][A-Za-z0-9-]*[ \t]*:`)

// cleanBody keeps the lines of a body, indents those that look like trailers, and drops what a terminal could take for a
// command.
func cleanBody(body string) string {
	body = strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' {
			return -1
		}
		return c
	}, strings.ToValidUTF8(body, "\uFFFD")))
	return likeTrailer.ReplaceAllString(body, " $0")
}
