package gitsource

import (
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/require"
)

// Commits were made by many programs over many years.
func TestCommitsAreRead(t *testing.T) {
	one, two := strings.Repeat("1", 40), strings.Repeat("2", 40)
	head := "tree " + one + "\nparent " + two + "\nparent " + one + "\n"
	for story, c := range map[string]struct {
		raw     string
		parents int
		when    int64
		author  Person
		subject string
	}{
		"as git makes them": {
			head + "author A U <a@x> 10 +0100\ncommitter C <c@x> 1700000000 -0330\n\nsubject\n\nbody\n",
			2, 1700000000, Person{"A U", "a@x"}, "subject",
		},
		"signed, where a line of the signature looks like a header": {
			head + "author A <a@x> 10 +0100\ncommitter C <c@x> 20 +0000\ngpgsig -----BEGIN\n parent " + two + "\n \n =x\n -----END\n\nsubject",
			2, 20, Person{"A", "a@x"}, "subject",
		},
		"in another encoding": {
			"tree " + one + "\nauthor J\xfcrgen <j@x> 10 +0000\ncommitter J\xfcrgen <j@x> 30 +0000\nencoding latin1\n\ngr\xfc\xdfe\n",
			0, 30, Person{"J\uFFFDrgen", "j@x"}, "gr\uFFFDe",
		},
		"with a bracket in a name":  {"tree " + one + "\nauthor a > b <a@x> 1 +0000\ncommitter a > b <a@x> 40 +0000\n\n", 0, 40, Person{"a > b", "a@x"}, ""},
		"with nothing but a tree":   {"tree " + one + "\n", 0, 0, Person{}, ""},
		"with a time that is none":  {"tree " + one + "\nauthor A <a@x>\ncommitter C <c@x> soon\n\nx", 0, 0, Person{"A", "a@x"}, "x"},
		"with a time before 1970":   {"tree " + one + "\nauthor A <a@x> 1 +0000\ncommitter C <c@x> -100 +0000\n\nx", 0, -100, Person{"A", "a@x"}, "x"},
		"with a mail that is none":  {"tree " + one + "\nauthor A\ncommitter C <> 50 +0000\n\nx", 0, 50, Person{Name: "A"}, "x"},
		"with a message that is no": {"tree " + one + "\nauthor A <a@x> 1 +0000\ncommitter C <c@x> 60 +0000\n", 0, 60, Person{"A", "a@x"}, ""},
	} {
		n, err := readNode([]byte(c.raw))
		require.NoError(t, err, story)
		require.Equal(t, one, n.tree.String(), story)
		require.Len(t, n.parents, c.parents, story)
		require.Equal(t, c.when, n.when, story)
		told := describe(plumbing.NewHash(two), []byte(c.raw))
		require.Equal(t, c.author, told.Author, story)
		require.Equal(t, c.subject, told.Subject, story)
		require.Equal(t, c.raw, string(told.Raw), story)
	}
	_, err := readNode([]byte("parent " + two + "\n\n"))
	require.Error(t, err)
	require.Equal(t, "2023-11-14T18:43:20-03:30", describe(plumbing.ZeroHash,
		[]byte("tree "+one+"\ncommitter C <c@x> 1700000000 -0330\n\n")).Time.Format(time.RFC3339))
}
