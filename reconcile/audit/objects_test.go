package audit_test

import (
	"fmt"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/clone"
	"github.com/gitrota/gitrota/gitsource/signature"
	"github.com/gitrota/gitrota/reconcile/audit"
)

// store holds objects that git would not write, and that somebody can push all the same.
type store map[audit.Hash][]byte

func (s store) add(kind plumbing.ObjectType, content []byte) audit.Hash {
	hash := plumbing.ComputeHash(kind, content)
	s[hash] = content
	return hash
}

func (s store) Object(_ plumbing.ObjectType, hash audit.Hash) ([]byte, error) {
	content, ok := s[hash]
	if !ok {
		return nil, clone.ErrNotFound
	}
	return content, nil
}

// commit has a tree of rows.
func (s store) commit(headers string, rows ...string) audit.Hash {
	content := ""
	for _, r := range rows {
		content += r
	}
	tree := s.add(plumbing.TreeObject, []byte(content))
	return s.add(plumbing.CommitObject, fmt.Appendf(nil, "tree %s\n%sauthor Dana <dana@example.com> 1 +0000\ncommitter Dana <dana@example.com> 1 +0000\n\nx\n", tree, headers))
}

// nobody has signed anything.
type nobody struct{}

func (nobody) Verify([]byte) (signature.Signer, error) {
	return signature.Signer{}, signature.ErrUnsigned
}

func TestObjectsThatGitDoesNotWriteAreRefuted(t *testing.T) {
	s := store{}
	blob := s.add(plumbing.BlobObject, []byte("x"))
	empty := s.add(plumbing.TreeObject, nil)
	honest := s.commit("", row("100644", "README.md", blob))
	parent := func(hash audit.Hash) string { return "parent " + hash.String() + "\n" }
	for name, tc := range map[string]struct {
		tip    audit.Hash
		reason audit.Reason
		says   string
	}{
		"two folders of one name": {s.commit(parent(honest), row("40000", statusPath, empty), row("40000", statusPath, s.add(plumbing.TreeObject, []byte(row("100644", "x", blob))))),
			audit.Malformed, `"rotation-status" is in a folder twice`},
		"a folder that is cut off": {s.commit(parent(honest), "100644 README.md\x00short"), audit.Malformed, "cut off"},
		"a folder that is not in order": {s.commit(parent(honest), row("40000", statusPath, s.add(plumbing.TreeObject, []byte(row("100644", "b", blob)+row("100644", "a", blob))))),
			audit.Malformed, "is not in git's order"},
		"a file twice": {s.commit(parent(honest), row("40000", statusPath, s.add(plumbing.TreeObject, []byte(row("100644", "a", blob)+row("100644", "a", blob))))),
			audit.Malformed, "is not in git's order"},
		"an empty folder for the statuses": {s.commit(parent(honest), row("40000", statusPath, empty)), audit.ForeignWriter, "not signed"},
		"a link for the statuses":          {s.commit(parent(honest), row("120000", statusPath, blob)), audit.ForeignWriter, "not signed"},
		"a submodule for the statuses":     {s.commit(parent(honest), row("160000", statusPath, honest)), audit.ForeignWriter, "not signed"},
		"a second tree":                    {s.commit("tree " + empty.String() + "\n"), audit.Malformed, "no author after its parents"},
		"no tree":                          {s.add(plumbing.CommitObject, []byte("author x\n\n")), audit.Malformed, "does not begin with a tree"},
		"a parent that is no hash":         {s.commit("parent HEAD\n"), audit.Malformed, "is not a hash"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := audit.Verify(s, audit.Options{StatusPath: statusPath, Tip: tc.tip, Agents: nobody{}})
			var broken *audit.Break
			require.ErrorAs(t, err, &broken)
			require.Equal(t, tc.reason, broken.Reason, broken)
			require.Equal(t, tc.tip.String(), broken.Commit)
			require.Contains(t, broken.Message, tc.says)
		})
	}
	t.Run("and a commit that is missing is an error", func(t *testing.T) {
		_, err := audit.Verify(s, audit.Options{StatusPath: statusPath, Tip: s.commit(parent(audit.Hash{1})), Agents: nobody{}})
		require.ErrorIs(t, err, clone.ErrNotFound)
	})
}
