// Package credential holds what gitrota moves around and must never show: a login's name and password.
//
// A [Password] cannot be printed. Whatever formats, logs or marshals it, gets "<secret>"; the one way to its text is
// [Password.Reveal], so that a reader can list every place that handles it with one grep. [Generate] makes passwords,
// [Check] judges those that people supply, both by [Rules]; a [History] knows those of the past, and [Scrub] takes
// passwords out of texts that others wrote.
package credential

import (
	"log/slog"
)

// redacted stands wherever a password would have been printed.
const redacted = "<secret>"

// Password is the password of a SQL Server login. The zero value is the empty password, which no login has.
// Two passwords may be compared with ==.
type Password struct{ text string }

// NewPassword wraps text, which is not checked; see [Check].
func NewPassword(text string) Password { return Password{text} }

// Reveal returns the password's text. Callers pass it on to a server or to a Secret and to nothing else.
func (p Password) Reveal() string { return p.text }

// IsZero reports whether there is no password.
func (p Password) IsZero() bool { return p.text == "" }

// String, GoString, MarshalJSON, MarshalText and LogValue keep the text out of fmt, encoding and slog.

func (Password) String() string               { return redacted }
func (Password) GoString() string             { return redacted }
func (Password) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Password) LogValue() slog.Value         { return slog.StringValue(redacted) }

// Credential is a login's name and its password. The zero value is no credential.
type Credential struct {
	Username string
	Password Password
}

// IsZero reports whether there is no credential.
func (c Credential) IsZero() bool { return c == Credential{} }
