package sopsfile

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
)

// Keys are the age identities that gitrota may decrypt with. They do not print. The zero value is no keys.
type Keys struct{ identities []age.Identity }

const hidden = "<age keys>"

// String, GoString, MarshalJSON, MarshalText and LogValue keep the keys out of fmt, encoding and slog.

func (Keys) String() string               { return hidden }
func (Keys) GoString() string             { return hidden }
func (Keys) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (Keys) MarshalText() ([]byte, error) { return []byte(hidden), nil }
func (Keys) LogValue() slog.Value         { return slog.StringValue(hidden) }

// IsZero reports whether there are no keys.
func (k Keys) IsZero() bool { return len(k.identities) == 0 }

// LoadKeys reads the age identities of every file *.agekey in dir, as age-keygen writes them: one on a line, with
// comments. An empty dir means no keys. Identities that would run a plugin are refused.
func LoadKeys(dir string) (Keys, error) {
	if dir == "" {
		return Keys{}, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Keys{}, fmt.Errorf("reading the age keys: %w", err)
	}
	var keys Keys
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".agekey") {
			continue
		}
		file := filepath.Join(dir, entry.Name())
		text, err := os.ReadFile(file)
		if err != nil {
			return Keys{}, fmt.Errorf("reading the age keys: %w", err)
		}
		more, err := ParseKeys(text)
		if err != nil {
			return Keys{}, fmt.Errorf("reading the age keys: %s: %w", file, err)
		}
		keys.identities = slices.Concat(keys.identities, more.identities)
	}
	if keys.IsZero() {
		return Keys{}, fmt.Errorf("reading the age keys: %s holds no file whose name ends in .agekey", dir)
	}
	return keys, nil
}

// ParseKeys reads age identities, one on a line. Its errors name the line and never quote it.
func ParseKeys(text []byte) (Keys, error) {
	var keys Keys
	lines := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		identities, err := age.ParseIdentities(strings.NewReader(line))
		if err != nil {
			return Keys{}, fmt.Errorf("line %d is not an age identity (AGE-SECRET-KEY-…)", number)
		}
		keys.identities = append(keys.identities, identities...)
	}
	if lines.Err() != nil {
		return Keys{}, fmt.Errorf("a line is too long for an age identity")
	}
	if keys.IsZero() {
		return Keys{}, fmt.Errorf("there is no age identity (AGE-SECRET-KEY-…) in it")
	}
	return keys, nil
}
