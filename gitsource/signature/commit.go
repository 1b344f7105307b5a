package signature

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// commit is what a check needs of a commit object.
type commit struct {
	payload   []byte // what was signed: the object without its signature
	signature string // in its armour; "" when there is none
	email     string // the committer's
	at        time.Time
}

// The headers of a commit, in git's order. Each is written once, except that there may be any number of parents. Others
// may follow.
var headers = []string{"tree", "parent", "author", "committer"}

var (
	headerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:_-]*$`)
	person     = regexp.MustCompile(`^[^<>\n]*<([^<>\n]*)> ([0-9]{1,12}) [+-][0-9]{4}$`)
)

// split takes a commit object apart. It refuses what git does not write, since two readers could take that for two
// different commits: a second header of the same name, headers out of order, and NUL bytes, where git stops reading.
func split(raw []byte) (commit, error) {
	end := bytes.Index(raw, []byte("\n\n"))
	switch {
	case bytes.IndexByte(raw, 0) >= 0:
		return commit{}, malformed("it holds a NUL byte")
	case end < 0:
		return commit{}, malformed("its headers have no end")
	}
	var c commit
	var order []string
	for _, h := range headerLines(raw[:end+1]) {
		name, value, _ := strings.Cut(strings.TrimSuffix(string(h), "\n"), " ")
		if !headerName.MatchString(name) {
			return commit{}, malformed("%.40q is not a header", name)
		}
		if slices.Contains(order, name) && name != "parent" && name != "mergetag" {
			return commit{}, malformed("it has two headers %q", name)
		}
		order = append(order, name)
		switch name {
		case "gpgsig":
			c.signature = strings.ReplaceAll(value, "\n ", "\n")
			continue
		case "gpgsig-sha256":
			return commit{}, fmt.Errorf("%w: it has a header gpgsig-sha256, of a repository with SHA-256 names", ErrUnsupported)
		case "committer":
			p := person.FindStringSubmatch(value)
			if p == nil {
				return commit{}, malformed("its committer %.80q is not a name, an address and a time", value)
			}
			seconds, _ := strconv.ParseInt(p[2], 10, 64)
			c.email, c.at = p[1], time.Unix(seconds, 0).UTC()
		}
		c.payload = append(c.payload, h...)
	}
	if !inOrder(order) {
		return commit{}, malformed("its headers are %s, and not tree, parents, author, committer and others", strings.Join(order, ", "))
	}
	c.payload = append(c.payload, raw[end+1:]...)
	return c, nil
}

// headerLines cuts the headers apart, each with the lines that continue it and begin with a blank.
func headerLines(text []byte) [][]byte {
	var all [][]byte
	for line := range bytes.Lines(text) {
		if len(all) > 0 && line[0] == ' ' {
			last := &all[len(all)-1]
			*last = append(slices.Clip(*last), line...)
			continue
		}
		all = append(all, line)
	}
	return all
}

// inOrder reports whether the headers begin with a tree, parents, an author and a committer.
func inOrder(names []string) bool {
	names = slices.Compact(slices.Clone(names)) // parents are one
	if len(names) > 1 && names[1] != "parent" {
		names = slices.Insert(names, 1, "parent")
	}
	return len(names) >= len(headers) && slices.Equal(names[:len(headers)], headers) &&
		!slices.Contains(names[len(headers):], "parent")
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: git does not write such a commit: "+format, append([]any{ErrBadSignature}, args...)...)
}

// Insert returns an unsigned commit object with its signature, as git writes it: the last header.
func Insert(unsigned []byte, armored string) []byte {
	end := bytes.Index(unsigned, []byte("\n\n"))
	if end < 0 {
		end = len(unsigned) - 1
	}
	header := "gpgsig " + strings.ReplaceAll(strings.TrimRight(armored, "\n"), "\n", "\n ") + "\n"
	return slices.Concat(unsigned[:end+1], []byte(header), unsigned[end+1:])
}
