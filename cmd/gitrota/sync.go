package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitrota/gitrota/agent"
	"github.com/gitrota/gitrota/reconcile"
)

// errUnwell says that a commit was handled and that not all went well. What went wrong is printed already.
var errUnwell = fmt.Errorf("%w: not every request ended well", errInvalid)

func newSync() *cobra.Command {
	var s syncer
	var wait bool
	var dir string
	cmd := &cobra.Command{
		Use:   "sync [flags]",
		Short: "Let the agent poll now, and wait until a commit has been handled",
		Long: `Let the agent poll now, and wait until a commit has been handled.

The agent polls by itself once in an interval. sync makes it poll at once; with
--wait, it returns when the agent has read a commit, when every request in it has
ended or waits for something (such as a server that is away), and when the
statuses are in Git: git pull brings them. Every request that ends meanwhile is
printed with its phase.

The agent is asked at its --listen address, where nobody has to log in and nobody
learns a password. From outside of the cluster, open a way to it first:

  kubectl -n gitrota port-forward deploy/gitrota 8080

The exit code of sync --wait is 0 if all went well, and 1 if a request that ended
meanwhile, or that the commit has brought, failed or was denied, if manifests
have problems, or if the commit was not handled: because it is not on the branch
that the agent reads, or within --timeout.`,
		Example: `  # Push, and wait for what comes of it
  git push && gitrota sync --wait && git pull

  # In a pipeline
  gitrota sync --wait --commit "$CI_COMMIT_SHA" --timeout 30m --agent http://gitrota.gitrota:8080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.out = cmd.OutOrStdout()
			if !wait && cmd.Flags().Changed("commit") {
				return usageError{cmd.CommandPath(), errors.New("--commit is what to wait for: give --wait as well")}
			}
			at, err := url.Parse(s.agent)
			if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
				return usageError{cmd.CommandPath(), fmt.Errorf("--agent %q is not a URL such as http://127.0.0.1:8080", s.agent)}
			}
			s.agent = strings.TrimSuffix(s.agent, "/")
			if !wait {
				if _, err := s.ticket(cmd.Context()); err != nil {
					return err
				}
				fmt.Fprintln(s.out, "the agent polls now")
				return nil
			}
			if s.commit == "" {
				if s.commit, err = headOf(cmd.Context(), dir); err != nil {
					return err
				}
			}
			if !fullHash.MatchString(s.commit) {
				return usageError{cmd.CommandPath(), fmt.Errorf("--commit %q is not a full hash: git rev-parse %s prints it", s.commit, s.commit)}
			}
			return s.wait(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&wait, "wait", false, "wait until the commit has been handled")
	flags.StringVar(&s.commit, "commit", "", "full hash of the commit to wait for (default: HEAD of the clone in --repo-dir)")
	flags.StringVar(&dir, "repo-dir", ".", "clone of the repository")
	flags.DurationVar(&s.timeout, "timeout", 15*time.Minute, "how long to wait at most")
	flags.StringVar(&s.agent, "agent", "http://127.0.0.1:8080", "URL of the agent's --listen address")
	return cmd
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// headOf asks git for the commit that is checked out.
func headOf(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "rev-parse", "--verify", "HEAD").Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = errors.New(strings.TrimSpace(string(failed.Stderr)))
		}
		return "", fmt.Errorf("finding out which commit to wait for: %w; give --commit HASH, or --repo-dir", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// syncer waits for a commit.
type syncer struct {
	agent, commit string
	timeout       time.Duration
	out           io.Writer
}

// askEvery is how often the agent is asked how far it is.
const askEvery = 500 * time.Millisecond

func (s syncer) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	ticket, err := s.ticket(ctx)
	if err != nil {
		return err // it was never there: no use to wait for it
	}
	s.say("waiting for commit %s", s.commit)
	watch := watcher{said: map[string]bool{}}
	began := ticket.Time
	for {
		progress, err := s.progress(ctx, ticket, began)
		switch {
		case ctx.Err() != nil:
			return s.gaveUp(ctx, watch)
		case err != nil || progress.Run != ticket.Run:
			// The agent was started again, or the way to it is gone for a while.
			if err != nil {
				s.once(&watch, "%v; trying again", err)
			}
			if again, err := s.ticket(ctx); err == nil {
				ticket = again
			}
		case !progress.Read || progress.Trouble != "":
			watch.last = "the agent has not read the repository yet"
			if progress.Trouble != "" {
				watch.last = "the agent cannot read the repository: " + progress.Trouble
				s.once(&watch, "%s", watch.last)
			}
		case !progress.Contains:
			return fmt.Errorf("the commit %s is not on the branch that the agent reads, whose tip is %s: was it pushed, and to that branch, "+
				"and not rewritten since?", s.commit, progress.Revision)
		default:
			s.once(&watch, "the agent has read the commit")
			s.report(&watch, progress)
			if progress.Settled {
				return s.verdict(watch, progress)
			}
			watch.last = "it was read, and " + unsettled(progress.Requests)
		}
		select {
		case <-ctx.Done():
			return s.gaveUp(ctx, watch)
		case <-time.After(askEvery):
		}
	}
}

// watcher is what was told so far.
type watcher struct {
	said map[string]bool
	last string // what is waited for
	bad  bool   // a request failed or was denied
}

func (s syncer) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// once says something unless it was said before.
func (s syncer) once(w *watcher, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if !w.said[line] {
		w.said[line] = true
		s.say("%s", line)
	}
}

// report prints what has ended or waits.
func (s syncer) report(w *watcher, progress agent.Progress) {
	for _, r := range progress.Requests {
		switch r.Phase {
		case reconcile.PhaseFailed, reconcile.PhaseDenied:
			w.bad = true
			fallthrough
		case reconcile.PhaseSuccessful, reconcile.PhaseSkipped:
			s.once(w, "%s: %s: %s", r.Request, r.Phase, r.Message)
		default:
			if r.Message != "" {
				s.once(w, "%s: waits: %s", r.Request, r.Message)
			}
		}
		if r.Changed != "" {
			w.bad = true
			s.once(w, "%s: changed in vain: %s", r.Request, r.Changed)
		}
	}
}

// verdict is what comes of a commit that was handled.
func (s syncer) verdict(w watcher, progress agent.Progress) error {
	for _, problem := range progress.Problems {
		s.say("problem: %s", problem)
	}
	if w.bad || len(progress.Problems) > 0 {
		s.say("handled, and not all went well")
		return errUnwell
	}
	s.say("handled")
	return nil
}

// unsettled names what is waited for.
func unsettled(requests []reconcile.Standing) string {
	var names []string
	for _, r := range requests {
		if !r.Settled {
			names = append(names, r.Request)
		}
	}
	if len(names) == 0 {
		return "the statuses are not in Git yet"
	}
	return "these have not ended, or their statuses are not in Git yet: " + strings.Join(names, ", ")
}

func (s syncer) gaveUp(ctx context.Context, w watcher) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("interrupted; the agent goes on")
	}
	if w.last == "" {
		w.last = "the agent did not answer"
	}
	return fmt.Errorf("the commit %s was not handled within %s: %s; the agent goes on", s.commit, s.timeout, w.last)
}

// ticket lets the agent poll.
func (s syncer) ticket(ctx context.Context) (agent.Ticket, error) {
	var ticket agent.Ticket
	err := s.ask(ctx, http.MethodPost, agent.SyncPath, &ticket)
	return ticket, err
}

// progress asks how far the agent is, and about all that has ended since the beginning.
func (s syncer) progress(ctx context.Context, ticket agent.Ticket, began time.Time) (agent.Progress, error) {
	var progress agent.Progress
	ticket.Time = began
	err := s.ask(ctx, http.MethodGet, agent.SyncPath+"?"+ticket.Query(s.commit), &progress)
	return progress, err
}

// ask sends one request, which the agent answers within half a minute.
func (s syncer) ask(ctx context.Context, method, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.agent+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		var asked *url.Error
		if errors.As(err, &asked) {
			err = asked.Err
		}
		return fmt.Errorf("the agent cannot be reached at %s: %w; to reach it: kubectl -n gitrota port-forward deploy/gitrota 8080", s.agent, err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers HTTP %s: is that the --listen address of an agent of this version?", s.agent, res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return fmt.Errorf("%s does not answer as an agent: is that its --listen address?", s.agent)
	}
	return nil
}
