package repoplan

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// store puts what is there into the form that the stage asks for.
func (b *Built) store(stage Stage) error {
	if stage.Alternates || stage.Partial > 0 {
		if err := b.lend(stage.Partial); err != nil {
			return err
		}
	}
	var shallow strings.Builder
	for _, id := range stage.Shallow {
		if hash, there := b.Hashes[id]; there {
			shallow.WriteString(hash + "\n")
		}
	}
	if shallow.Len() > 0 {
		if err := os.WriteFile(filepath.Join(b.Dir, "shallow"), []byte(shallow.String()), 0o644); err != nil {
			return err
		}
	}
	for _, line := range stage.Maintenance {
		packs, err := filepath.Glob(filepath.Join(b.Dir, "objects/pack/*.pack"))
		if err != nil {
			return err
		}
		if len(packs) == 0 && strings.HasPrefix(line, "multi-pack-index") {
			continue // which is an error to git
		}
		if _, err := b.Git(strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// lend moves all objects into another repository. This one borrows from there, or fetches all but large files.
func (b *Built) lend(partial int) error {
	lender := filepath.Join(b.Dir, "lenders", fmt.Sprint(b.Stages))
	if err := os.MkdirAll(filepath.Join(lender, "refs"), 0o755); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(b.Dir, "objects"), filepath.Join(lender, "objects")); err != nil {
		return err
	}
	for _, folder := range []string{"info", "pack"} {
		if err := os.MkdirAll(filepath.Join(b.Dir, "objects", folder), 0o755); err != nil {
			return err
		}
	}
	if partial == 0 {
		return os.WriteFile(filepath.Join(b.Dir, "objects/info/alternates"), []byte(lender+"/objects\n"), 0o644)
	}
	config := "[core]\nrepositoryformatversion = 0\nbare = true\n[uploadpack]\nallowFilter = true\nallowAnySHA1InWant = true\n"
	for name, text := range map[string]string{"HEAD": "ref: refs/heads/main\n", "config": config} {
		if err := os.WriteFile(filepath.Join(lender, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	refs, err := b.refs()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(lender, "packed-refs"), []byte(refs), 0o644); err != nil {
		return err
	}
	filter := fmt.Sprintf("--filter=blob:limit=%d", partial)
	for _, args := range [][]string{
		{"config", "remote.origin.url", "file://" + lender},
		{"config", "remote.origin.promisor", "true"},
		{"config", "remote.origin.partialclonefilter", strings.TrimPrefix(filter, "--filter=")},
		{"config", "core.repositoryFormatVersion", "1"},
		{"config", "extensions.partialClone", "origin"},
	} {
		if _, err := b.Git(args...); err != nil {
			return err
		}
	}
	// Not with git fetch --refetch, which hangs for some histories: both sides wait for each other.
	pack, err := gittest.Command(lender, "pack-objects", "--quiet", "--all", filter, "--stdout").Output()
	if err != nil {
		return fmt.Errorf("git pack-objects: %w", err)
	}
	take := gittest.Command(b.Dir, "index-pack", "--stdin", "--promisor")
	take.Stdin = bytes.NewReader(pack)
	if out, err := take.CombinedOutput(); err != nil {
		return fmt.Errorf("git index-pack: %w\n%s", err, out)
	}
	return nil
}

// refs returns all references in the form of packed-refs.
func (b *Built) refs() (string, error) {
	out, err := b.Git("for-each-ref", "--format=%(objectname) %(refname)")
	return "# pack-refs with: sorted\n" + out, err
}
