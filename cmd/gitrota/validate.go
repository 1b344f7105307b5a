package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

// errInvalid says that validate found problems, which it has printed.
var errInvalid = errors.New("the manifests have problems")

func newValidate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate PATH",
		Short: "Check manifests without a cluster, for CI of pull requests",
		Long: `Check manifests without a cluster and without keys, for CI of pull requests.

PATH is a file, or a folder that is read with all its folders. What is checked are
MSSQLServerOpsRequests, RotationRollbacks, SQLServers, RotationPolicies and Secrets,
also whether they fit together: a request that names a SQLServer or a Secret that
cannot be used, two policies that say different things of one database. Other kinds
are passed over.

Each problem is one line with file, line, reason, and what to do. The exit code is 0
if there is none, 1 if there are some, 2 if PATH cannot be read.`,
		Example: `  gitrota validate rotations`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := readFiles(args[0])
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			problems := manifest.Validate(files)
			for _, p := range problems {
				fmt.Fprintln(cmd.OutOrStdout(), p)
			}
			set := manifest.Parse(files)
			fmt.Fprintln(cmd.ErrOrStderr(), summary(len(files), set, len(problems)))
			if len(problems) > 0 {
				return errInvalid
			}
			return nil
		},
	}
}

// summary counts what was read. Servers and policies, which most repositories have none of, are counted if there are any.
func summary(files int, set *manifest.Set, problems int) string {
	parts := []string{count(files, "file", "files"), count(len(set.Requests), "request", "requests"), count(len(set.Secrets), "Secret", "Secrets")}
	if n := len(set.Servers); n > 0 {
		parts = append(parts, count(n, "server", "servers"))
	}
	if n := len(set.Policies); n > 0 {
		parts = append(parts, count(n, "policy", "policies"))
	}
	return strings.Join(append(parts, count(problems, "problem", "problems")), ", ")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// readFiles reads what looks like a manifest at or below path, and does not follow links, as the agent would not.
func readFiles(path string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return filepath.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		switch strings.ToLower(filepath.Ext(name)) {
		case ".yaml", ".yml", ".json":
		default:
			return nil
		}
		content, err := os.ReadFile(name)
		files[filepath.ToSlash(name)] = content
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no .yaml, .yml or .json file at %s", path)
	}
	return files, nil
}
