package gitsource

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// node is what history is made of: a commit without its words.
type node struct {
	tree    plumbing.Hash
	parents []plumbing.Hash
	when    int64 // of the committer, in seconds since 1970
	open    bool  // nobody knows yet whether the server has its parents
}

// readNode reads a commit as far as history needs it. Whatever else is in it, and however old the program is that made
// it, does not matter.
func readNode(commit []byte) (n node, err error) {
	for key, value := range headers(commit) {
		switch key {
		case "tree":
			n.tree = plumbing.NewHash(value)
		case "parent":
			n.parents = append(n.parents, plumbing.NewHash(value))
		case "committer":
			_, at := readPerson(value)
			n.when = at.Unix()
		}
	}
	if n.tree.IsZero() {
		return node{}, fmt.Errorf("a commit has no tree")
	}
	return n, nil
}

// describe tells a commit in words.
func describe(hash plumbing.Hash, raw []byte) Commit {
	c := Commit{Hash: hash.String(), Raw: bytes.Clone(raw)}
	for key, value := range headers(raw) {
		switch key {
		case "author":
			c.Author, _ = readPerson(value)
		case "committer":
			c.Committer, c.Time = readPerson(value)
		}
	}
	_, message, _ := bytes.Cut(raw, []byte("\n\n"))
	subject, _, _ := bytes.Cut(message, []byte("\n"))
	c.Subject = oneLine(string(subject), 200)
	return c
}

// headers calls yield with what a commit begins with. A line that goes on another one, as those of a signature do, is
// left out.
func headers(commit []byte) func(yield func(key, value string) bool) {
	return func(yield func(string, string) bool) {
		for line := range bytes.Lines(commit) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			if len(line) == 0 {
				return
			}
			key, value, _ := bytes.Cut(line, []byte(" "))
			if len(key) > 0 && !yield(string(key), string(value)) {
				return
			}
		}
	}
}

// readPerson reads "Name <mail> seconds zone". What is not so is empty, or 1970.
func readPerson(line string) (Person, time.Time) {
	var who Person
	from, to := bytes.IndexByte([]byte(line), '<'), bytes.LastIndexByte([]byte(line), '>')
	if from < 0 || to < from {
		return Person{Name: oneLine(line, 200)}, time.Unix(0, 0)
	}
	who.Name, who.Email = oneLine(line[:from], 200), oneLine(line[from+1:to], 200)
	var seconds int64
	var zone string
	_, _ = fmt.Sscan(line[to+1:], &seconds, &zone)
	at := time.Unix(seconds, 0)
	if hours, err := strconv.Atoi(zone); err == nil {
		at = at.In(time.FixedZone("", (hours/100*60+hours%100)*60))
	}
	return who, at
}
