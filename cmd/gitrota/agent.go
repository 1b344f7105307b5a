package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/gitrota/gitrota/agent"
)

func newAgent() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use:   "agent --repo URL [flags]",
		Short: "Poll a repository and serve its rotation requests",
		Long: `Poll a repository and serve its rotation requests.

In a cluster, the agent works as its ServiceAccount; elsewhere, as the kubeconfig
says. The folders of --git-auth and --sops-keys are mounted Secrets with the keys
that Flux uses: username and password, or bearerToken, or those of a GitHub App,
or identity, password and known_hosts for SSH; ca.crt, tls.crt and tls.key; one or
more *.agekey for SOPS. The key proxy holds the URL of a proxy, such as
http://user:password@host:port or socks5://host:port; without it, HTTPS_PROXY and
NO_PROXY count, for HTTPS only. A Secret that changes is read again.

SIGTERM ends the agent, also in the middle of a rotation; the next start goes on.`,
		Example: `  # Watch the folder rotations of a repository
  gitrota agent --repo https://git.example.com/dba/rotations.git --git-auth /etc/gitrota/git --sops-keys /etc/gitrota/sops

  # Serve what is there and exit: 0 if all requests ended well, 1 if not
  gitrota agent --repo ssh://git@git.example.com/dba/rotations.git --git-auth /etc/gitrota/git --once`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := f.open(cmd)
			if err != nil {
				return err
			}
			if a.Addr() != "" {
				f.options.Log.Info("listening", "address", a.Addr())
			}
			if a.WebhookAddr() != "" {
				f.options.Log.Info("listening for webhooks", "address", a.WebhookAddr())
			}
			return a.Run(cmd.Context())
		},
	}
	f.judging(cmd.Flags())
	f.serving(cmd.Flags())
	return cmd
}

// agentFlags are the flags of the agent, some of which other commands share.
type agentFlags struct {
	options            agent.Options
	kubeconfig, format string
	verbose, skipCI    bool
}

// open makes the agent that the flags ask for.
func (f *agentFlags) open(cmd *cobra.Command) (*agent.Agent, error) {
	if f.options.Repo == "" {
		return nil, usageError{cmd.CommandPath(), fmt.Errorf("--repo is missing: the URL of the repository with the rotation requests")}
	}
	log, err := newLog(f.format, f.verbose)
	if err != nil {
		return nil, usageError{cmd.CommandPath(), err}
	}
	klog.SetSlogLogger(log)
	f.options.Log, f.options.PlainCommits = log, !f.skipCI
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	f.options.Cluster, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster to work on: %w; give --kubeconfig FILE, or run in a cluster", err)
	}
	a, err := agent.New(f.options)
	if err != nil {
		return nil, usageError{cmd.CommandPath(), err} // nothing was asked of anybody yet: a flag is wrong
	}
	return a, nil
}

// judging are the flags that say what to read and how to judge it.
func (f *agentFlags) judging(flags *pflag.FlagSet) {
	options := &f.options
	flags.StringVar(&options.Repo, "repo", "", "URL of the repository: https://, ssh:// or git@host:path (required)")
	flags.StringVar(&options.Branch, "branch", "main", "branch to watch, and to write statuses to without --status-branch")
	flags.StringVar(&options.StatusBranch, "status-branch", "", "branch to write statuses to, where the watched one is protected; it is made if it is missing (default: the watched one)")
	flags.StringVar(&options.Path, "path", "rotations", "folder with the manifests")
	flags.StringVar(&options.StatusPath, "status-path", "rotation-status", "folder for the statuses, which nothing else may write")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, ~/.kube/config, or the ServiceAccount in a cluster)")
	flags.StringVar(&options.GitAuth, "git-auth", "", "folder with the credentials for the repository")
	flags.BoolVar(&options.AllowPlainHTTP, "allow-plain-http", false, "send the Git credentials to an http:// URL, where everybody on the way can read them")
	flags.StringVar(&options.Guardrails, "guardrails", "", "file with what no policy in the repository can lower, kind Guardrails (default: none)")
	flags.StringVar(&options.PolicyRecord, "policy-record", "", "Secret, as NAMESPACE/NAME, that remembers which policies are in force, out of reach of who can write to the repository (default: only the status path does)")
	flags.StringVar(&options.RequestSigners, "request-signers", "", "allowed_signers file, or a folder of such files and OpenPGP public keys (*.asc): whose signed commits may bring requests (default: anybody's commits)")
	flags.StringVar(&options.ApprovalSigners, "approval-signers", "", "the same: whose signed commits approve, where a policy asks for signatures (default: as --request-signers)")
	flags.StringVar(&options.Forge, "forge", "", "forge to ask for reviews and to propose changes to: github, gitlab, gitea, bitbucket or azure (default: none)")
	flags.StringVar(&options.ForgeAPI, "forge-api", "", "address of the forge's API (default: known by the repository's host)")
	flags.StringVar(&options.ForgeAuth, "forge-auth", "", "folder with the credentials for the forge's API: bearerToken, or username and password (default: as --git-auth)")
	flags.StringVar(&f.format, "log-format", "text", "format of the log on standard error: text or json")
	flags.BoolVar(&f.verbose, "verbose", false, "log details, too")
}

// serving are the flags that say how to serve.
func (f *agentFlags) serving(flags *pflag.FlagSet) {
	options := &f.options
	flags.BoolVar(&f.skipCI, "skip-ci", true, "ask the forge, by [skip ci] in their messages, to start no pipelines for status commits")
	flags.DurationVar(&options.Interval, "interval", agent.DefaultInterval, "time between two polls, such as 30s or 5m")
	flags.StringVar(&options.SOPSKeys, "sops-keys", "", "folder with the age keys for SOPS-encrypted Secrets (*.agekey)")
	flags.StringVar(&options.AllowHosts, "allow-hosts", "", "servers outside of the cluster that a SQLServer document may name, such as sql1.example.com:1433,*.db.example.com (default: none)")
	flags.DurationVar(&options.PatrolInterval, "patrol-interval", agent.DefaultPatrolInterval, "time between two looks at whether somebody has overwritten an auth Secret")
	flags.StringVar(&options.Lease, "lease", "", "Lease, as NAMESPACE/NAME, that an agent holds while it serves; others stand by (default: none)")
	flags.BoolVar(&options.Once, "once", false, "exit when nothing is left to do: 0 if every request ended well, 1 if not")
	flags.StringVar(&options.Listen, "listen", "", "address for /healthz, /readyz, /metrics and gitrota sync, such as :8080 (default: none)")
	flags.StringVar(&options.WebhookListen, "webhook-listen", "", "address for the webhooks of forges, /hook/github, gitlab, gitea, bitbucket, azure or generic, such as :8081 (default: none)")
	flags.StringVar(&options.WebhookSecret, "webhook-secret", "", "folder with the webhooks' secret: the key token; for Azure DevOps, username and password")
	flags.StringVar(&options.Author.Name, "author-name", "gitrota", "author of the status commits")
	flags.StringVar(&options.Author.Email, "author-email", "gitrota@localhost", "e-mail address of the author")
	flags.StringVar(&options.SigningKey, "signing-key", "", "folder with the key that signs the status commits: identity (SSH) and password, or git.asc (OpenPGP) and passphrase (default: not signed)")
}

func newLog(format string, verbose bool) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		options.Level = slog.LevelDebug
	}
	// Times without zone names sort; three digits of a second tell the steps of a quick rotation apart.
	options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			a.Value = slog.StringValue(a.Value.Time().UTC().Format("2006-01-02T15:04:05.000Z"))
		}
		if d, ok := a.Value.Any().(time.Duration); ok {
			a.Value = slog.StringValue(d.String())
		}
		return a
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: use text or json", format)
}
