package credential

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// Scrub replaces every trace of the passwords in a text that others wrote (a server's, driver's or library's error):
// plain, quote-doubled as in SQL, URL-escaped, and base64 in both alphabets. Empty passwords are passed over.
func Scrub(text string, passwords ...Password) string {
	for _, p := range passwords {
		for _, form := range Forms(p) {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	return text
}

// Forms lists the spellings under which a password could appear in a text, the longest first, none for the empty
// password. Tests that look for leaks use the same list.
func Forms(p Password) []string {
	text := p.Reveal()
	if text == "" {
		return nil
	}
	return []string{
		base64.StdEncoding.EncodeToString([]byte(text)),
		base64.URLEncoding.EncodeToString([]byte(text)),
		base64.RawStdEncoding.EncodeToString([]byte(text)),
		base64.RawURLEncoding.EncodeToString([]byte(text)),
		url.QueryEscape(text),
		url.PathEscape(text),
		strings.ReplaceAll(text, "'", "''"),
		strings.ReplaceAll(text, "]", "]]"),
		text,
	}
}
