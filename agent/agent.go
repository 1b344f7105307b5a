// Package agent is the lifecycle of gitrota: it puts the parts together, polls, and ends cleanly.
//
// One goroutine polls the repository, starts rotations and writes statuses back; each rotation runs in a goroutine of
// its own; the HTTP listener answers from what they left behind. Reading the code from here, follow one request:
//
//	agent      polls and asks the controller to go on           agent/webhook
//	gitsource  reads the branch and writes commits               gitsource/manifest, gitsource/sopsfile
//	reconcile  queues requests, rotates, records                 reconcile/kube, reconcile/mssql
//	policies   decides without touching anything                 policies/approval, policies/schedule, policies/pace, ...
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/gitrota/gitrota/agent/webhook"
	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/mounted"
	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/hosts"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/kube"
)

// Options say what an [Agent] watches and with which rights.
type Options struct {
	Repo       string // the repository's URL
	Branch     string // default main
	Path       string // the folder with the manifests; default rotations
	StatusPath string // the folder that only gitrota writes; default rotation-status
	// StatusBranch is the branch that statuses are written to, and that is made if it is missing; empty: Branch.
	StatusBranch string
	// PlainCommits leaves "[skip ci]" out of the messages of status commits.
	PlainCommits bool
	Interval     time.Duration
	// GitAuth is a folder with the keys of a Secret, as [gitsource.LoadAuth] names them; empty: none. SOPSKeys is a folder
	// with *.agekey files; empty: none. Both are read again when they change.
	GitAuth, SOPSKeys string
	// AllowPlainHTTP lets the Git credentials travel unencrypted to a host that is not this machine.
	AllowPlainHTTP bool
	Author         gitsource.Person // of the status commits; default gitrota <gitrota@localhost>
	// SigningKey is a folder with the key that signs the status commits, as [signature.LoadKey] reads it; empty: they are
	// not signed. RequestSigners is a file or a folder with the keys that the commits of requests have to be signed with,
	// as [signature.LoadSigners] reads it; empty: any commit brings a request. Both are read again when they change.
	SigningKey     string
	RequestSigners string
	// ApprovalSigners is the same for those whose signed commits approve, where a policy asks for signatures; empty:
	// RequestSigners.
	ApprovalSigners string
	// Guardrails is the file with what no policy in Git can lower; empty: none. It is read again when it changes.
	Guardrails string
	// Forge is the kind of forge that the repository is on, ForgeAPI the address of its API and ForgeAuth the folder with
	// the credentials for it, as package forge has them; empty: known by the repository's host, and GitAuth. Without Forge
	// and ForgeAuth none is asked.
	Forge, ForgeAPI, ForgeAuth string
	Cluster                    *rest.Config
	// AllowHosts are the servers outside of the cluster that a SQLServer document may name, as [hosts.Parse] reads them;
	// empty: none.
	AllowHosts string
	// PatrolInterval is the time between two looks at the auth Secrets of databases at rest; default 5m.
	PatrolInterval time.Duration
	// Lease is the Lease, as namespace/name, under which one agent at a time serves the repository; empty: none is needed.
	Lease string
	// PolicyRecord is the Secret, as namespace/name, that remembers which policies are in force; empty: only the status path
	// does, and whoever can write there can make an agent that starts forget them.
	PolicyRecord string
	// Once ends Run when nothing is left to do, with ErrUnsuccessful if a request of this run did not end well.
	Once bool
	// Listen is the address of the HTTP listener with /healthz, /readyz, /metrics and SyncPath; empty: none.
	Listen string
	// WebhookListen is the address of the HTTP listener for the webhooks of forges, and WebhookSecret the folder with the
	// keys that [webhook.LoadSecret] reads, again when they change; empty: none. One needs the other.
	WebhookListen, WebhookSecret string
	Log                          *slog.Logger
}

// ErrUnsuccessful says that a run with Options.Once served requests that did not end well.
var ErrUnsuccessful = errors.New("not every request ended well")

// DefaultInterval is the time between two polls, DefaultPatrolInterval that between two looks at auth Secrets at rest.
const (
	DefaultInterval       = time.Minute
	DefaultPatrolInterval = 5 * time.Minute
)

// Agent serves one repository on one cluster. Run it once.
type Agent struct {
	options    Options
	log        *slog.Logger
	cluster    *kube.Cluster
	repository *gitsource.Repository
	statuses   *gitsource.Repository // the same, without Options.StatusBranch
	controller *reconcile.Controller
	metrics    *metrics
	lease      resourcelock.Interface // nil without Options.Lease
	progress   *progress
	hints      chan struct{} // that the repository has changed
	server     *server       // nil without Options.Listen
	webhooks   *server       // nil without Options.WebhookListen
}

// New checks the options, reads the keys, and opens the listener, so that whatever is wrong with them shows at once.
// It sends nothing to the cluster or the repository.
func New(options Options) (*Agent, error) {
	options = withDefaults(options)
	if err := check(options); err != nil {
		return nil, err
	}
	repository, statuses, err := openRepositories(options)
	if err != nil {
		return nil, err
	}
	keys, err := sopsKeys(options)
	if err != nil {
		return nil, fmt.Errorf("--sops-keys: %w", err)
	}
	allowed, err := hosts.Parse(options.AllowHosts)
	if err != nil {
		return nil, fmt.Errorf("--allow-hosts: %w", err)
	}
	signers, err := loadRequestSigners(options)
	if err != nil {
		return nil, err
	}
	approvers, err := loadApprovalSigners(options, signers)
	if err != nil {
		return nil, err
	}
	rails, err := followGuardrails(options)
	if err != nil {
		return nil, fmt.Errorf("--guardrails: %w", err)
	}
	host, err := openForge(options)
	if err != nil {
		return nil, fmt.Errorf("--forge: %w", err)
	}
	cluster, err := kube.New(options.Cluster, options.Log)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		options: options, log: options.Log, cluster: cluster, repository: repository, statuses: statuses,
		metrics: newMetrics(plainReads(repository, statuses)), hints: make(chan struct{}, 1),
	}
	a.controller = reconcile.NewController(reconcile.Options{
		Repository: repository, Statuses: statuses, RequestSigners: signers, ApprovalSigners: approvers, Keys: keys,
		Guardrails: rails, Forge: host, Branch: options.Branch,
		Path: options.Path, StatusPath: options.StatusPath, PolicyRecord: options.PolicyRecord, SkipCI: !options.PlainCommits, Log: options.Log,
		Engine: &reconcile.Engine{
			Owner: repository.String(), Cluster: cluster, Servers: reconcile.SQLServers{}, Clock: reconcile.WallClock{}, Random: rand.Reader,
			DenyList:  func() []string { return rails().DenyList },
			Escrow:    escrow(rails),
			AllowHost: func(endpoint string) bool { return allowed.Allows(endpoint) || rails().Hosts.Allows(endpoint) }, Log: options.Log, Observe: a.metrics.observeStep,
		},
	})
	if a.lease, err = newLease(options.Cluster, options.Lease); err != nil {
		return nil, fmt.Errorf("--lease: %w", err)
	}
	a.progress = &progress{run: rand.Text(), history: repository, controller: a.controller, hint: a.hint}
	if err := a.openListeners(); err != nil {
		return nil, err
	}
	return a, nil
}

// openRepositories opens the branch with the requests and the one for the statuses, which may be the same.
func openRepositories(options Options) (source, statuses *gitsource.Repository, err error) {
	if _, err := gitsource.LoadAuth(options.GitAuth); err != nil {
		return nil, nil, fmt.Errorf("--git-auth: %w", err) // the repository reads it for itself, but does not know its flag
	}
	signing, err := loadSigning(options)
	if err != nil {
		return nil, nil, err
	}
	opened := gitsource.Options{
		URL: options.Repo, Branch: options.Branch, AuthDir: options.GitAuth, AllowPlainHTTP: options.AllowPlainHTTP,
		Author: options.Author, Signing: signing, Log: options.Log,
	}
	if source, err = gitsource.Open(opened); err != nil {
		return nil, nil, fmt.Errorf("--repo: %w", err)
	}
	if options.StatusBranch == "" {
		return source, source, nil
	}
	opened.Branch, opened.CreateBranch = options.StatusBranch, true
	if statuses, err = gitsource.Open(opened); err != nil {
		return nil, nil, fmt.Errorf("--status-branch: %w", err)
	}
	return source, statuses, nil
}

// openListeners opens those that the options ask for.
func (a *Agent) openListeners() (err error) {
	if a.options.Listen != "" {
		if a.server, err = listen(a.options.Listen, status(a.metrics, a.progress)); err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
	}
	if a.options.WebhookListen == "" {
		return nil
	}
	secret, err := mounted.Follow(a.options.WebhookSecret, webhook.LoadSecret, a.log)
	if err != nil {
		return fmt.Errorf("--webhook-secret: %w", err)
	}
	hooks := webhook.New(webhook.Options{Secret: secret.Value, Notify: a.hint, Now: time.Now, Log: a.log})
	if a.webhooks, err = listen(a.options.WebhookListen, hooks); err != nil {
		return fmt.Errorf("--webhook-listen: %w", err)
	}
	return nil
}

// sopsKeys follows the folder with the age keys.
func sopsKeys(options Options) (func() sopsfile.Keys, error) {
	if options.SOPSKeys == "" {
		return func() sopsfile.Keys { return sopsfile.Keys{} }, nil
	}
	folder, err := mounted.Follow(options.SOPSKeys, sopsfile.LoadKeys, options.Log)
	if err != nil {
		return nil, err
	}
	return folder.Value, nil
}

func withDefaults(o Options) Options {
	defaultTo := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	defaultTo(&o.Branch, "main")
	defaultTo(&o.Path, "rotations")
	defaultTo(&o.StatusPath, "rotation-status")
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.PatrolInterval == 0 {
		o.PatrolInterval = DefaultPatrolInterval
	}
	if o.Author == (gitsource.Person{}) {
		o.Author = gitsource.Person{Name: "gitrota", Email: "gitrota@localhost"}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Addr is where the HTTP listener listens, WebhookAddr where that for webhooks does; empty without one.
func (a *Agent) Addr() string        { return a.server.addr() }
func (a *Agent) WebhookAddr() string { return a.webhooks.addr() }

// shutdownTimeout is how long the end may take after the context of Run has ended: the statuses that are known by then
// are still written, if Git answers.
const shutdownTimeout = 10 * time.Second

// Run serves until ctx ends, or with Options.Once until nothing is left to do. A rotation that is cut off by the end of
// ctx goes on at the next start. It returns nil, ErrUnsuccessful, ErrLeaseLost, or what kept it from starting.
func (a *Agent) Run(ctx context.Context) error {
	defer a.close()
	go a.server.serve()
	go a.webhooks.serve()
	a.awaitCluster(ctx)
	return a.lead(ctx, func(ctx context.Context) error {
		err := a.loop(ctx)
		a.controller.Wait()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if flushErr := a.controller.Flush(last); flushErr != nil {
			a.log.Warn("statuses are not in Git yet; the next start writes them", "error", flushErr)
		}
		return err
	})
}

// awaitCluster returns when the API server answers, or ctx has ended. One that starts, that is away or that does not know
// the agent's credential yet is waited for, as the Git server is.
func (a *Agent) awaitCluster(ctx context.Context) {
	var pings backoff
	var unreachable quiet
	for ctx.Err() == nil {
		err := a.cluster.Ping(ctx)
		if a.metrics.observeStart(err); err == nil || ctx.Err() != nil {
			return
		}
		wait := pings.failed(err, a.options.Interval)
		if unreachable.speaks(err) {
			a.log.Error("waiting for the cluster", "error", err, "retry_in", wait.String())
		}
		reconcile.WallClock{}.Sleep(ctx, time.Until(pings.next))
	}
}

func (a *Agent) close() {
	last, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	a.cluster.Close(last)
	a.server.close(last)
	a.webhooks.close(last)
	a.repository.Close()
	a.statuses.Close()
}
