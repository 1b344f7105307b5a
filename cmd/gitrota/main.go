// A SQL Server that was given no certificate makes one at each start, half of them with a negative serial number, which
// crypto/x509 refuses unless it is told otherwise. This line holds for what is built and installed from here, the one in
// go.mod for the tests.
//go:debug x509negativeserial=1

// Command gitrota rotates SQL Server credentials on Kubernetes as a Git repository says, and writes what it did back
// to that repository.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gitrota/gitrota/agent"
)

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit code: 0, 1 when what was asked for did not succeed, 2 when it was asked for in the wrong way.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var wrong usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInvalid), errors.Is(err, errBroken):
		return 1 // what is wrong is printed already
	case errors.As(err, &wrong):
		fmt.Fprintf(os.Stderr, "gitrota: %v\nRun '%s --help' for usage.\n", err, wrong.command)
		return 2
	case errors.Is(err, agent.ErrUnsuccessful):
		fmt.Fprintf(os.Stderr, "gitrota: %v\n", err)
		return 1
	}
	fmt.Fprintf(os.Stderr, "gitrota: %v\n", err)
	return 1
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "gitrota",
		Short: "Rotate SQL Server credentials on Kubernetes from Git",
		Long: `gitrota rotates SQL Server credentials on Kubernetes.

It polls a Git repository for rotation requests (KubeDB's MSSQLServerOpsRequest
of type RotateAuth) and for SOPS-encrypted credentials, performs the rotation in
the cluster, and commits the status back to the repository.

Every flag can also be given as an environment variable: GITROTA_ and the flag's
name in upper case with underscores, such as GITROTA_STATUS_PATH. A flag wins.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return flagsFromEnvironment(cmd)
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd.CommandPath(), err} })
	root.AddCommand(newAgent(), newPlan(), newSync(), newValidate(), newRollback(), newAudit(), newHistory(), newVersion())
	markUsageErrors(root)
	return root
}

// markUsageErrors makes wrong arguments of a command, and of those below it, usage errors.
func markUsageErrors(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return nil
		}
	}
	for _, below := range cmd.Commands() {
		markUsageErrors(below)
	}
}

// usageError is a mistake in how a command was called.
type usageError struct {
	command string
	err     error
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// environmentName is the variable that stands for a flag.
func environmentName(flag string) string {
	return "GITROTA_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// flagsFromEnvironment sets the flags that were not given on the command line.
func flagsFromEnvironment(cmd *cobra.Command) error {
	var wrong error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := environmentName(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || f.Name == "help" || wrong != nil {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			wrong = usageError{cmd.CommandPath(), fmt.Errorf("the environment variable %s: %w", name, err)}
		}
	})
	return wrong
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), version())
		},
	}
}

// version is what the Go toolchain recorded of the build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "gitrota (unknown build)"
	}
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	return "gitrota " + info.Main.Version + revision + " " + info.GoVersion
}
