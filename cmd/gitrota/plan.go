package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitrota/gitrota/agent"
	"github.com/gitrota/gitrota/policies/schedule"
)

func newPlan() *cobra.Command {
	var f agentFlags
	var output string
	cmd := &cobra.Command{
		Use:   "plan --repo URL [flags]",
		Short: "Show when each database is rotated next, and what requests wait for",
		Long: `Show when each database is rotated next and why, and what the requests that have
not ended wait for.

It reads the repository, the databases of the cluster and, where a policy asks for
reviews, the forge, and judges as the agent does. It changes nothing anywhere. The
flags and environment variables are the agent's, so that in its pod no flag is
needed.`,
		Example: `  # In the agent's pod, with its own settings
  kubectl -n gitrota exec deploy/gitrota -- gitrota plan

  # From elsewhere, for a program
  gitrota plan --repo https://git.example.com/dba/rotations.git --git-auth ./git-auth --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usageError{cmd.CommandPath(), fmt.Errorf("--output %q: use text or json", output)}
			}
			a, err := f.open(cmd)
			if err != nil {
				return err
			}
			outlook, err := a.Plan(cmd.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(outlook)
			}
			return printOutlook(cmd.OutOrStdout(), outlook)
		},
	}
	f.judging(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "text", "format: text or json")
	return cmd
}

// printOutlook writes the outlook for people.
func printOutlook(out io.Writer, o agent.Outlook) error {
	fmt.Fprintf(out, "As of commit %s.\n\n", o.Revision)
	if len(o.Databases) == 0 {
		fmt.Fprintln(out, "No database has a schedule: neither a RotationPolicy nor spec.authSecret.rotateAfter of a MSSQLServer gives one.")
	} else {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "DATABASE\tLAST ROTATION\tNEXT DUE\tWHY")
		for _, p := range o.Databases {
			why := p.Message
			if p.From != "" {
				why += " (" + p.From + ")"
			}
			if p.Held != "" && p.Reason != schedule.NotDue {
				why = p.Held
			}
			fmt.Fprintf(table, "%s %s/%s\t%s\t%s\t%s\n", p.Database.Kind, p.Database.Namespace, p.Database.Name, day(p.Rotated, "never"), day(p.Drawn, "unknown"), why)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(o.Requests) > 0 {
		fmt.Fprintln(out, "\nRequests that have not ended:")
		for _, r := range o.Requests {
			fmt.Fprintf(out, "  %s is %s", r.Request, r.Phase)
			if r.Message != "" {
				fmt.Fprintf(out, ": %s", r.Message)
			}
			fmt.Fprintln(out)
		}
	}
	if len(o.Problems) > 0 {
		fmt.Fprintln(out, "\nProblems of manifests:")
		for _, p := range o.Problems {
			fmt.Fprintln(out, "  "+p)
		}
	}
	return nil
}

// day writes a time for people.
func day(t time.Time, otherwise string) string {
	if t.IsZero() {
		return otherwise
	}
	return t.UTC().Format(time.RFC3339)
}
