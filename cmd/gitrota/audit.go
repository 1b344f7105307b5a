package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gitrota/gitrota/gitsource/clone"
	"github.com/gitrota/gitrota/gitsource/signature"
	"github.com/gitrota/gitrota/reconcile/audit"
)

// gitOptions say which clone to read, and where in it.
type gitOptions struct {
	repoDir      string
	branch       string
	statusBranch string // "": the same as branch
	statusPath   string
	output       string // text or json
}

func (o *gitOptions) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.repoDir, "repo-dir", ".", "folder of the clone, bare or not")
	flags.StringVar(&o.branch, "branch", "main", "branch that the agent watches, as it was fetched last")
	flags.StringVar(&o.statusBranch, "status-branch", "", "branch with the statuses (default: the same branch)")
	flags.StringVar(&o.statusPath, "status-path", "rotation-status", "folder with the statuses")
	flags.StringVarP(&o.output, "output", "o", "text", "text or json")
}

func (o *gitOptions) check(cmd *cobra.Command) error {
	if !filepath.IsLocal(o.statusPath) || path.Clean(filepath.ToSlash(o.statusPath)) == "." {
		return usageError{cmd.CommandPath(), fmt.Errorf("--status-path %q is not a folder inside the repository: use a plain relative path such as rotation-status", o.statusPath)}
	}
	o.statusPath = path.Clean(filepath.ToSlash(o.statusPath))
	if o.output != "text" && o.output != "json" {
		return usageError{cmd.CommandPath(), fmt.Errorf("--output %q: use text or json", o.output)}
	}
	return nil
}

// tips returns the last commit of the branch with the statuses and, if it is another, of that with the requests.
func (o *gitOptions) tips(from *clone.Clone) (statuses, requests audit.Hash, err error) {
	if requests, err = from.Branch(o.branch); err != nil || o.statusBranch == "" || o.statusBranch == o.branch {
		return requests, audit.Hash{}, err
	}
	statuses, err = from.Branch(o.statusBranch)
	return statuses, requests, err
}

// errBroken says that audit verify found a break, which it has printed.
var errBroken = errors.New("the history does not hold")

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Prove from Git alone what was rotated",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditVerify())
	return cmd
}

func newAuditVerify() *cobra.Command {
	var o gitOptions
	var agents, requesters, since, contains string
	cmd := &cobra.Command{
		Use:   "verify --agent-signers PATH [flags]",
		Short: "Prove that the statuses in a clone are the agent's record",
		Long: `Prove that the statuses in a clone are the agent's record, or say where they are not.

Run it in a clone with the whole history, after git fetch. It needs no cluster. It walks
from the first commit to the last and proves that

  - every commit that changes a status is signed by the agent, with a key that was valid
    then, and changes nothing else;
  - nobody else ever changed one, not in a merge either;
  - no status of a request that had ended was changed, taken back or removed, and no time
    runs backwards;
  - every rotation was asked for: the commit that brought the request is there, and what
    ran is what it asks for; approvals that are named are there.

What was cut off the end cannot be seen in what is left. Keep the tip that it prints, and
give it to the next audit as --contains.

--agent-signers is a file, or a folder of files, with the agent's public keys and no others:
*.asc are OpenPGP keys, anything else is lines of ssh-keygen's allowed_signers. The same goes
for --request-signers, the keys of those who may ask for rotations.

The exit code is 0 if everything is proven, 1 at the first break, 2 if the command was called
in the wrong way.`,
		Example: `  # In a clone
  gitrota audit verify --agent-signers gitrota.allowed_signers

  # Who asked is checked, too; and the history has to hold what an earlier audit has seen
  gitrota audit verify --agent-signers agent.keys --request-signers people.keys --contains 3f2a...

  # Statuses began unsigned: prove what came with and after that commit
  gitrota audit verify --agent-signers agent.keys --since 8c286c9`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			if agents == "" {
				return usageError{cmd.CommandPath(), errors.New("--agent-signers is missing: the file with the agent's public keys")}
			}
			demands := audit.Options{StatusPath: o.statusPath}
			keys, err := signature.LoadSigners(agents)
			if err != nil {
				return usageError{cmd.CommandPath(), fmt.Errorf("--agent-signers: %w", err)}
			}
			demands.Agents = keys
			if requesters != "" {
				keys, err := signature.LoadSigners(requesters)
				if err != nil {
					return usageError{cmd.CommandPath(), fmt.Errorf("--request-signers: %w", err)}
				}
				demands.Requesters = keys
			}
			return o.verify(cmd.OutOrStdout(), demands, since, contains)
		},
	}
	o.addTo(cmd)
	flags := cmd.Flags()
	flags.StringVar(&agents, "agent-signers", "", "file or folder with the public keys of the agent (required)")
	flags.StringVar(&requesters, "request-signers", "", "file or folder with the public keys of those who may ask for rotations (default: not checked)")
	flags.StringVar(&since, "since", "", "commit that is the first to be proven; what is before it is taken as it is")
	flags.StringVar(&contains, "contains", "", "commit that the history has to hold, such as the tip that an earlier audit has printed")
	return cmd
}

func (o *gitOptions) verify(out io.Writer, demands audit.Options, since, contains string) error {
	from, err := clone.Open(o.repoDir)
	if err != nil {
		return err
	}
	defer from.Close()
	if demands.Tip, demands.Source, err = o.tips(from); err != nil {
		return err
	}
	if since != "" {
		if demands.Since, err = from.Commit(since); err != nil {
			return fmt.Errorf("--since: %w", err)
		}
	}
	if contains != "" {
		if demands.Contains, err = from.Anchor(contains); err != nil {
			return fmt.Errorf("--contains: %w", err)
		}
	}
	report, err := audit.Verify(from, demands)
	var broken *audit.Break
	if err != nil && !errors.As(err, &broken) {
		return err
	}
	switch {
	case o.output == "json":
		err = writeJSON(out, struct {
			Proven bool          `json:"proven"`
			Break  *audit.Break  `json:"break,omitempty"`
			Report *audit.Report `json:"report,omitempty"`
		}{broken == nil, broken, report})
	case broken != nil:
		err = printBreak(out, broken)
	default:
		err = printReport(out, report)
	}
	if err == nil && broken != nil {
		return errBroken
	}
	return err
}

func writeJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func printBreak(out io.Writer, b *audit.Break) error {
	text := indent("broken  ", string(b.Reason)) + indent("commit  ", b.Commit)
	if b.Author != "" {
		text += indent("author  ", b.Author)
	}
	if b.File != "" {
		text += indent("file    ", b.File)
	}
	_, err := io.WriteString(out, text+indent("why     ", b.Message))
	return err
}

func printReport(out io.Writer, r *audit.Report) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DATABASE\tROTATIONS\tLAST\tBY\tSTATUS COMMIT\tSIGNED BY")
	for _, d := range r.Databases {
		last, by, commit, signer := "none proven", "-", "-", "-"
		if p := d.Last; p != nil {
			last, by, commit, signer = p.Ended.Format("2006-01-02 15:04:05Z"), p.Author, short(p.Commit), p.SignedBy
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\n", d.Name, d.Rotations, last, by, commit, signer)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	text := fmt.Sprintf("\nproven: %s in %s, signed with %s\n",
		count(r.StatusCommits, "status commit", "status commits"), count(r.Commits, "commit", "commits"), strings.Join(r.Keys, ", "))
	if r.Since != "" {
		text += fmt.Sprintf("not proven: what is before %s, %s of rotations\n", r.Since, count(r.Unproven, "status", "statuses"))
	}
	text += "tip: " + r.Tip + "\n"
	_, err := io.WriteString(out, text)
	return err
}

func short(hash string) string { return hash[:min(len(hash), 12)] }
