package audit

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Hash is the name of a Git object.
type Hash = plumbing.Hash

// commit is what its raw object says.
type commit struct {
	tree      Hash
	parents   []Hash
	author    person
	committer person
	message   string
}

// person is who did something and when.
type person struct {
	name, email string
	when        time.Time
}

func (p person) String() string { return fmt.Sprintf("%s <%s>", p.name, p.email) }

var stamp = regexp.MustCompile(`^(.*)<([^<>\n]*)> ([0-9]{1,11}) [+-][0-9]{4}$`)

// parseCommit reads a commit the way git does and is as strict: a tree, parents, an author, a committer, in this order.
// A reader that forgives might see another tree or other parents than git shows to people.
func parseCommit(raw []byte) (commit, error) {
	head, message, found := bytes.Cut(raw, []byte("\n\n"))
	if !found {
		head = bytes.TrimSuffix(raw, []byte("\n")) // a commit without a message
	}
	lines := strings.Split(string(head), "\n")
	c := commit{message: string(message)}
	next := func(header string) (string, bool) {
		if len(lines) == 0 {
			return "", false
		}
		value, ok := strings.CutPrefix(lines[0], header+" ")
		if ok {
			lines = lines[1:]
		}
		return value, ok
	}
	tree, ok := next("tree")
	if !ok || !plumbing.IsHash(tree) {
		return commit{}, malformed("the commit does not begin with a tree")
	}
	c.tree = plumbing.NewHash(tree)
	for {
		parent, ok := next("parent")
		if !ok {
			break
		}
		if !plumbing.IsHash(parent) {
			return commit{}, malformed("the commit's parent %.40q is not a hash", parent)
		}
		c.parents = append(c.parents, plumbing.NewHash(parent))
	}
	for _, header := range []struct {
		name string
		into *person
	}{{"author", &c.author}, {"committer", &c.committer}} {
		value, ok := next(header.name)
		if !ok {
			return commit{}, malformed("the commit has no %s after its parents", header.name)
		}
		*header.into = parsePerson(value)
	}
	return c, nil
}

// parsePerson reads a name, an address and a time. Old commits with a broken one are still commits: what cannot be read
// is left out.
func parsePerson(text string) person {
	parts := stamp.FindStringSubmatch(text)
	if parts == nil {
		return person{name: oneLine(text)}
	}
	seconds, _ := strconv.ParseInt(parts[3], 10, 64)
	return person{name: oneLine(parts[1]), email: oneLine(parts[2]), when: time.Unix(seconds, 0).UTC()}
}

// oneLine makes a text that somebody else wrote safe to print.
func oneLine(text string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "\uFFFD")))
}

// subject is the first line of the message.
func (c commit) subject() string {
	subject, _, _ := strings.Cut(strings.TrimLeft(c.message, "\n"), "\n")
	return oneLine(subject)
}

// claim is what the trailers of a status commit say about one request.
type claim struct {
	request, id, phase, source, signer string
	approvals                          []string
}

// claims reads the trailers of a status commit: the last paragraph of its message, one group for each request, which
// begins with Rotation-Request.
func (c commit) claims() []claim {
	paragraphs := strings.Split(strings.TrimRight(c.message, "\n"), "\n\n")
	if len(paragraphs) < 2 {
		return nil
	}
	var all []claim
	for line := range strings.SplitSeq(paragraphs[len(paragraphs)-1], "\n") {
		key, value, _ := strings.Cut(line, ": ")
		if key == "Rotation-Request" {
			all = append(all, claim{request: value})
			continue
		}
		if len(all) == 0 {
			continue
		}
		last := &all[len(all)-1]
		switch key {
		case "Rotation-Id":
			last.id = value
		case "Rotation-Phase":
			last.phase = value
		case "Rotation-Source":
			last.source = value
		case "Rotation-Signer":
			last.signer = value
		case "Approved-By":
			last.approvals = append(last.approvals, value)
		}
	}
	return all
}
