package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

// rollbackOptions say where to look and where to write.
type rollbackOptions struct {
	repoDir    string // a clone of the repository
	statusDir  string // a clone or worktree with the statuses; "": the same
	path       string // of the manifests in it
	statusPath string // of the statuses in it
	namespace  string // of the database; "": whichever has one of that name
	dryRun     bool
}

func newRollback() *cobra.Command {
	var o rollbackOptions
	cmd := &cobra.Command{
		Use:   "rollback [flags] DATABASE | STATUS-FILE",
		Short: "Write the manifest that undoes a database's last rotation",
		Long: `Write the manifest that undoes a database's last rotation.

Run it in a clone of the repository, after git pull. It finds the last rotation that
succeeded among the status files, and writes a RotationRollback that names it. Nothing
happens to the database before you have committed and pushed the file, or had it
merged: the agent then puts back the password that was replaced, which it has kept.

DATABASE is a name, or namespace/name. STATUS-FILE is the status file of the rotation
to undo. Only the last one can be undone, since only the password before it is kept.
The rollback is a rotation, too: undone in turn, it brings the newer password back.

Where the agent writes statuses to a branch of their own (--status-branch), check that
branch out beside the clone, and name the folder with --status-dir.

The exit code is 0 if the file was written, 1 if there is nothing to undo, 2 if the
command was called in the wrong way.`,
		Example: `  # The database orders in the only namespace that has one of that name
  gitrota rollback orders

  # Say which, and look at the manifest first
  gitrota rollback -n shop orders --dry-run

  # Statuses are on the branch gitrota-status
  git worktree add ../statuses gitrota-status
  gitrota rollback orders --status-dir ../statuses

  # The rotation of a status file
  gitrota rollback rotation-status/shop/rotate-orders-2026-11.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for flag, folder := range map[string]string{"--path": o.path, "--status-path": o.statusPath} {
				if !filepath.IsLocal(folder) {
					return usageError{cmd.CommandPath(), fmt.Errorf("%s %q is not a folder inside the repository: use a plain relative path such as rotations/production", flag, folder)}
				}
			}
			o.path, o.statusPath = path.Clean(filepath.ToSlash(o.path)), path.Clean(filepath.ToSlash(o.statusPath))
			return o.run(cmd.OutOrStdout(), args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.repoDir, "repo-dir", ".", "folder of the clone")
	flags.StringVar(&o.statusDir, "status-dir", "", "folder of the clone or worktree with the statuses (default: that of --repo-dir)")
	flags.StringVar(&o.path, "path", "rotations", "folder with the manifests, in the clone")
	flags.StringVar(&o.statusPath, "status-path", "rotation-status", "folder with the statuses, in the clone")
	flags.StringVarP(&o.namespace, "namespace", "n", "", "namespace of the database (default: the only one with such a database)")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print the manifest and write nothing")
	return cmd
}

func (o rollbackOptions) run(out io.Writer, target string) error {
	if o.statusDir == "" {
		o.statusDir = o.repoDir
	}
	all, err := readStatuses(o.statusDir, o.statusPath)
	if err != nil {
		return err
	}
	last, err := o.find(all, target)
	if err != nil {
		return err
	}
	rollback, text, err := rollbackOf(last)
	if err != nil {
		return err
	}
	file := path.Join(o.path, rollback.Namespace, rollback.Name+".yaml")
	if known := all.request(rollback.Namespace, rollback.Name); known != nil {
		return fmt.Errorf("there is a rollback of %s already, which is %s; see %s, and to try once more, push its manifest under another name",
			last.Request.Key(), known.Phase, known.path)
	}
	if o.dryRun {
		_, err := io.WriteString(out, text)
		return err
	}
	if err := writeNew(filepath.Join(o.repoDir, filepath.FromSlash(file)), text); errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already; commit and push it, or remove it to have it written again", file)
	} else if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	git := "git"
	if o.repoDir != "." {
		git += " -C " + shell(o.repoDir)
	}
	_, err = fmt.Fprintf(out, `wrote %[1]s
It puts back the password that %[2]s had before %[3]s, which ended at %[4]s.
Look at it, then hand it to the agent:

  %[5]s add %[6]s
  %[5]s commit -m %[7]s
  %[5]s push
`, file, last.Request.DatabaseKey(), last.Request.Key(), last.succeeded().UTC().Format("2006-01-02 15:04:05Z"),
		git, shell(file), shell("roll back "+last.Request.DatabaseKey()+" to the password before "+last.Request.Name))
	return err
}

// rollbackOf returns the manifest that undoes a rotation, as it will be read.
func rollbackOf(last *rotationStatus) (*manifest.Request, string, error) {
	id := last.Request.ID
	if len(id) < 8 {
		return nil, "", fmt.Errorf("%s has no annotation gitrota.dev/rotation-id, so its rotation cannot be named; restore the file from Git", last.path)
	}
	// The id is in quotes because some are numbers to YAML.
	text := fmt.Sprintf(`# Puts back the password that %[1]s had before %[2]s.
apiVersion: gitrota.dev/v1alpha1
kind: %[3]s
metadata:
  name: %[4]s-rollback-%[5]s
  namespace: %[6]s
spec:
  databaseRef:
    name: %[4]s
  rotationId: %[7]q
`, last.Request.DatabaseKey(), last.Request.Key(), manifest.KindRollback, last.Request.Database, id[:8], last.Request.Namespace, id)
	set := manifest.Parse(map[string][]byte{"rollback.yaml": []byte(text)})
	if problems := set.AllProblems(); len(problems) > 0 || len(set.Requests) != 1 {
		return nil, "", fmt.Errorf("%s does not hold what a rollback needs: %s; restore the file from Git", last.path, problems[0].Message)
	}
	return set.Requests[0], text, nil
}

// writeNew writes a file that is not there yet.
func writeNew(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Close())
}

var plainWord = regexp.MustCompile(`^[-./_a-zA-Z0-9]+$`)

// shell puts a word in quotes where a shell would not take it as it stands.
func shell(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
