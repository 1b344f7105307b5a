package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/approval"
)

// The commands of manuals that need no cluster are run as they stand, and what they print is compared.

// reader is somebody who follows a manual in a folder.
type reader struct {
	*testing.T
	dir string
	env []string
}

// newReader has gitrota on his PATH, and programs that do nothing.
func newReader(t *testing.T, dir string, idle ...string) *reader {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	calls := map[string]string{"gitrota": fmt.Sprintf("%s=1 exec %q", asGitrota, self)}
	for _, name := range idle {
		calls[name] = "exec true"
	}
	return &reader{t, dir, []string{
		onPath(t, calls), "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Dana DBA", "GIT_AUTHOR_EMAIL=dana@example.com", "GIT_COMMITTER_NAME=Dana DBA", "GIT_COMMITTER_EMAIL=dana@example.com",
	}}
}

// follow runs the blocks of some kinds in a section.
func (r *reader) follow(file, title string, kinds ...string) {
	r.Helper()
	sections := markdown(readManual(r.T, file))
	i := slices.IndexFunc(sections, func(s *section) bool { return s.title == title })
	require.GreaterOrEqual(r.T, i, 0, "%s has no section %q", file, title)
	ran := 0
	for _, b := range sections[i].blocks {
		if slices.Contains(kinds, b.kind) {
			ran++
			follow(r.T, b, r.run)
		}
	}
	require.NotZero(r.T, ran, "%s: the section %q asks for nothing", file, title)
}

func (r *reader) run(script string) string {
	r.Helper()
	return bash(r.T, r.dir, r.env, script)
}

func TestTheManualOfEvidence(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	r := newReader(t, a.repo.Clone())
	keys, err := os.ReadFile(a.signers)
	require.NoError(t, err)
	writeFile(t, filepath.Join(r.dir, "gitrota.allowed_signers"), string(keys))
	const manual = "reconcile/audit/README.md"
	r.follow(manual, "Proving a history", "console")
	r.follow(manual, "The story of a database", "console")
	r.follow(manual, "A break", "sh", "console")
}

func TestTheManualOfTheCommandLine(t *testing.T) {
	t.Parallel()
	r := newReader(t, rotatedClone(t))
	const manual = "cmd/gitrota/README.md"
	writeFile(t, filepath.Join(r.dir, "rotations/shop/typo.yaml"), "apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\n"+
		"metadata:\n  name: typo\n  namespace: shop\nspec:\n  type: RotateAuth\n  databaseRef:\n    name: orders\n  timout: 5m\n")
	r.follow(manual, "gitrota validate", "console")
	r.follow(manual, "gitrota rollback", "console")
}

func TestTheManualOfSigning(t *testing.T) {
	t.Parallel()
	r := newReader(t, t.TempDir(), "kubectl")
	r.run("git init --quiet --initial-branch main")
	sections := markdown(readManual(t, "gitsource/README.md"))
	signing := sections[slices.IndexFunc(sections, func(s *section) bool { return s.title == "Signed commits" })]
	require.Len(t, signing.blocks, 2, "the key, and how to check what it has signed")

	follow(t, signing.blocks[0], r.run)
	r.run("git config user.signingKey identity && git config gpg.format ssh")
	writeFile(t, filepath.Join(r.dir, "rotations/demo/r.yaml"), "kind: Nothing\n")
	writeFile(t, filepath.Join(r.dir, "rotation-status/demo/r.yaml"), "kind: Nothing\n")
	r.run("git add rotations rotation-status && git commit --quiet -S -m 'rotate demo/db: Successful'")
	follow(t, signing.blocks[1], r.run)
	require.Contains(t, r.run("git -c gpg.ssh.allowedSignersFile=allowed_signers log -1 --format='%G? %GS'"), "G gitrota@example.com")

	r.follow("policies/README.md", "Approval", "sh")
	blob := strings.TrimSpace(r.run("git rev-parse HEAD:rotations/demo/r.yaml"))
	trailers := r.run("git log -1 --format='%(trailers:only)'")
	require.Equal(t, approval.Trailer+": "+approval.Subject("rotations/demo/r.yaml", blob), strings.TrimSpace(trailers))
}
