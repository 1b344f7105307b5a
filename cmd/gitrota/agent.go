package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/gitrota/gitrota/agent"
	"github.com/gitrota/gitrota/gitsource"
)

func newAgent() *cobra.Command {
	var options agent.Options
	var author gitsource.Person
	var kubeconfig, format string
	var verbose, skipCI bool
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
			if options.Repo == "" {
				return usageError{cmd.CommandPath(), fmt.Errorf("--repo is missing: the URL of the repository with the rotation requests")}
			}
			log, err := newLog(format, verbose)
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			klog.SetSlogLogger(log)
			options.Log, options.Author, options.PlainCommits = log, author, !skipCI
			rules := clientcmd.NewDefaultClientConfigLoadingRules()
			rules.ExplicitPath = kubeconfig
			options.Cluster, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
			if err != nil {
				return fmt.Errorf("no cluster to work on: %w; give --kubeconfig FILE, or run in a cluster", err)
			}
			a, err := agent.New(options)
			if err != nil {
				return usageError{cmd.CommandPath(), err} // nothing was asked of anybody yet: a flag is wrong
			}
			if a.Addr() != "" {
				log.Info("listening", "address", a.Addr())
			}
			return a.Run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.Repo, "repo", "", "URL of the repository: https://, ssh:// or git@host:path (required)")
	flags.StringVar(&options.Branch, "branch", "main", "branch to watch, and to write statuses to without --status-branch")
	flags.StringVar(&options.StatusBranch, "status-branch", "", "branch to write statuses to, where the watched one is protected; it is made if it is missing (default: the watched one)")
	flags.BoolVar(&skipCI, "skip-ci", true, "ask the forge, by [skip ci] in their messages, to start no pipelines for status commits")
	flags.StringVar(&options.Path, "path", "rotations", "folder with the manifests")
	flags.StringVar(&options.StatusPath, "status-path", "rotation-status", "folder for the statuses, which nothing else may write")
	flags.DurationVar(&options.Interval, "interval", agent.DefaultInterval, "time between two polls, such as 30s or 5m")
	flags.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, ~/.kube/config, or the ServiceAccount in a cluster)")
	flags.StringVar(&options.GitAuth, "git-auth", "", "folder with the credentials for the repository")
	flags.BoolVar(&options.AllowPlainHTTP, "allow-plain-http", false, "send the Git credentials to an http:// URL, where everybody on the way can read them")
	flags.StringVar(&options.SOPSKeys, "sops-keys", "", "folder with the age keys for SOPS-encrypted Secrets (*.agekey)")
	flags.StringVar(&options.AllowHosts, "allow-hosts", "", "servers outside of the cluster that a SQLServer document may name, such as sql1.example.com:1433,*.db.example.com (default: none)")
	flags.DurationVar(&options.PatrolInterval, "patrol-interval", agent.DefaultPatrolInterval, "time between two looks at whether somebody has overwritten an auth Secret")
	flags.StringVar(&options.Lease, "lease", "", "Lease, as NAMESPACE/NAME, that an agent holds while it serves; others stand by (default: none)")
	flags.BoolVar(&options.Once, "once", false, "exit when nothing is left to do: 0 if every request ended well, 1 if not")
	flags.StringVar(&options.Listen, "listen", "", "address for /healthz, /readyz and /metrics, such as :8080 (default: none)")
	flags.StringVar(&author.Name, "author-name", "gitrota", "author of the status commits")
	flags.StringVar(&author.Email, "author-email", "gitrota@localhost", "e-mail address of the author")
	flags.StringVar(&options.SigningKey, "signing-key", "", "folder with the key that signs the status commits: identity (SSH) and password, or git.asc (OpenPGP) and passphrase (default: not signed)")
	flags.StringVar(&options.RequestSigners, "request-signers", "", "allowed_signers file, or a folder of such files and OpenPGP public keys (*.asc): whose signed commits may bring requests (default: anybody's commits)")
	flags.StringVar(&format, "log-format", "text", "format of the log on standard error: text or json")
	flags.BoolVar(&verbose, "verbose", false, "log details, too")
	return cmd
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
