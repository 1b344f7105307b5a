package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// Engine rotates credentials. Its methods are safe for concurrent use as long as no two of them work on the same
// database in this process; two processes are kept apart by the conditional writes of the keeper.
type Engine struct {
	// Owner names what the engine works for, such as the repository and its branch. Engines with different owners may
	// share a cluster: each resumes only what it has paused itself, and waits for the others.
	Owner   string
	Cluster Cluster
	Servers Servers
	Clock   Clock
	Random  io.Reader // crypto/rand.Reader, outside of tests
	Log     *slog.Logger
	// Escrow encrypts a generated credential of the request namespace/name for those who keep it safe; nil, or a nil result: nobody does. What
	// it returns comes into Git. An error ends the request before anything was done.
	Escrow func(namespace, name string, c credential.Credential) ([]byte, error)
	// DigestCost is how many rounds it takes to tell whether a password was used before; 0: [credential.DigestCost].
	DigestCost int
	// AllowHost says whether a credential may be sent to an endpoint outside of the cluster, "host:port"; nil: to none.
	AllowHost func(endpoint string) bool
	// DenyList returns texts that no supplied password may contain, in upper or lower case; nil: there are none.
	DenyList func() []string
	// Told returns what Git says under a request's name, as it was read last; nil: nothing. A rotation that has ended there
	// does not begin, and what Git has of the journal need not stay in it. It is called from the goroutines of the rotations.
	Told func(Request) Status
	// Observe is told how long each step took and how it ended, for metrics and benchmarks; nil is allowed.
	Observe func(step string, took time.Duration, err error)
}

// Clock is the time as the engine sees it.
type Clock interface {
	Now() time.Time
	// Sleep returns early when the context ends.
	Sleep(ctx context.Context, d time.Duration)
}

// WallClock is the real time.
type WallClock struct{}

// Now implements [Clock].
func (WallClock) Now() time.Time { return time.Now() }

// Sleep implements [Clock].
func (WallClock) Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (e *Engine) digestCost() int { return cmp.Or(e.DigestCost, credential.DigestCost) }

// Job is a request to serve.
type Job struct {
	Status Status // what is known of it: from Git, from the keeper, or only Status.Request
	// Supplied fetches the credential that the request's Secret holds. It is called at most once, and only if the
	// request names a Secret and nothing is staged for it yet.
	Supplied func(context.Context) Supplied
	// Superseded are the requests whose place this one has taken. Once it is staged, the keeper remembers that they must
	// not run.
	Superseded []Status
	// Report is called with a copy whenever the status has changed, from one goroutine at a time. Nil is allowed.
	Report func(Status)
}

// Rotate serves a request to its end, from wherever it stands, and returns its last status. The status is unfinished
// only if ctx ended before; a later call, also in another process, then goes on.
func (e *Engine) Rotate(ctx context.Context, job Job) Status {
	for {
		r := e.rotation(job)
		err := r.run(ctx)
		var other *otherStaged
		if !errors.As(err, &other) {
			return r.status.clone()
		}
		if err := e.finishOther(ctx, other, job.Report); err != nil {
			r.fail(ctx, err)
			return r.status.clone()
		}
		job.Status = r.status
	}
}

// otherStaged says that the database's keeper holds the staged credential of another request.
type otherStaged struct {
	record Status
	owner  string
}

func (o *otherStaged) Error() string {
	return fmt.Sprintf("the rotation %s of request %s is not finished", o.record.Request.ID, o.record.Request.Key())
}

// finishOther drives another request's rotation to its end, so that a new one can begin. How it ends is reported if it
// is this owner's; a status that has ended before does not change any more, but for the escrow of what is live after all.
func (e *Engine) finishOther(ctx context.Context, other *otherStaged, report func(Status)) *fault.Error {
	record := other.record
	e.Log.Info("finishing an earlier rotation first", "request", record.Request.Key(), "rotation", record.Request.ID)
	r := e.rotation(Job{Status: record, Report: func(s Status) {
		news := !record.Phase.Finished() || len(s.Escrow) > 0
		if other.owner == e.Owner && news && report != nil {
			report(s)
		}
	}})
	if err := r.run(ctx); err != nil {
		return fault.New(fault.Refuse, TypeRecoveryRequired, "recover it as its status says, then add a new request",
			"the rotation of request %s could not be brought to an end, so a new one must not begin: %v", record.Request.Key(), err)
	}
	return nil
}

// Withdraw ends a request that has not begun as s says, and returns how it stands: so ended or, where the keeper or Git
// knows better, otherwise; unfinished if another agent has begun with it. It waits for an API server that is away. The
// error is the context's, and then nothing has ended.
func (e *Engine) Withdraw(ctx context.Context, s Status) (Status, error) {
	for r := e.rotation(Job{Status: s}); ctx.Err() == nil; e.Clock.Sleep(ctx, time.Second) {
		target, err := e.Cluster.Target(ctx, s.Request)
		if err != nil && !errors.Is(err, ErrNotFound) && !r.refusedForGood(err) {
			continue
		}
		r.lastTarget = target
		keeper, known, err := r.findKeeper(ctx)
		switch {
		case err != nil && !r.refusedForGood(err):
			continue
		case !keeper.Next.IsZero() && keeper.Next.RotationID == s.Request.ID:
			return *keeper.Record, nil
		case r.endedBefore(world{keeper: keeper}), !known:
			return r.status, nil
		}
		if err := r.keepEnd(ctx, keeper, e.Owner, s); err == nil || r.refusedForGood(err) {
			return s, nil
		}
	}
	return s, ctx.Err()
}

// Release brings a database of KubeDB's that this engine has paused in an earlier life, and for which no request runs,
// back to its users: a rotation that was cut off goes on to its end and is reported, and the pause is removed. One that
// the engine has not paused it leaves alone.
func (e *Engine) Release(ctx context.Context, target Target, report func(Status)) error {
	if !e.hasPaused(target) {
		return nil
	}
	keeper, _, err := e.readKeeper(ctx, target.Namespace, target.AuthSecret.Name)
	if err != nil {
		return err
	}
	if !keeper.Next.IsZero() && !keeper.Record.Phase.Finished() {
		e.Rotate(ctx, Job{Status: *keeper.Record, Report: report})
		return ctx.Err()
	}
	return e.Cluster.Resume(ctx, target, target.PauseReason)
}

// pauseReason is what the engine writes into a database that it pauses.
func (e *Engine) pauseReason(r Request) string {
	return fmt.Sprintf("Paused by gitrota for %s %s, rotation %s%s", r.Kind, r.Key(), r.ID, e.ownerSuffix())
}

func (e *Engine) ownerSuffix() string { return ", as " + e.Owner + " asks" }

// hasPaused tells the engine's own pauses from anybody else's.
func (e *Engine) hasPaused(target Target) bool {
	return target.Paused && strings.HasPrefix(target.PauseReason, "Paused by gitrota") && strings.HasSuffix(target.PauseReason, e.ownerSuffix())
}

// Journal returns what the engine's owner has done to the database of an auth Secret and Git may not have: the requests
// that have ended, in the order in which they did, and the one that was cut off, nil if none was. It costs one read.
func (e *Engine) Journal(ctx context.Context, namespace, authSecret string) (ended []Ended, cutOff *Status, err error) {
	keeper, _, err := e.readKeeper(ctx, namespace, authSecret)
	if err != nil {
		return nil, nil, err
	}
	if !keeper.Next.IsZero() && keeper.Owner == e.Owner && !keeper.Record.Phase.Finished() {
		cutOff = keeper.Record
	}
	return slices.DeleteFunc(keeper.Journal, func(entry Ended) bool { return entry.Owner != e.Owner }), cutOff, nil
}

// told returns what Git says under a request's name.
func (e *Engine) told(r Request) Status {
	if e.Told == nil {
		return Status{}
	}
	return e.Told(r)
}

// readKeeper reads the keeper of an auth Secret and the Secret that it is stored in.
func (e *Engine) readKeeper(ctx context.Context, namespace, authSecret string) (Keeper, Secret, error) {
	secret, err := e.keeperSecretOf(ctx, namespace, authSecret)
	if err != nil {
		return Keeper{}, Secret{}, err
	}
	keeper, err := parseKeeper(secret)
	if err != nil {
		return Keeper{}, Secret{}, err
	}
	return keeper, secret, nil
}

// keeperSecretOf reads the Secret that the keeper of an auth Secret is stored in; one without UID is not there.
func (e *Engine) keeperSecretOf(ctx context.Context, namespace, authSecret string) (Secret, error) {
	secret, err := e.Cluster.Secret(ctx, namespace, authSecret+KeeperSuffix)
	if errors.Is(err, ErrNotFound) {
		return Secret{Namespace: namespace, Name: authSecret + KeeperSuffix}, nil
	}
	return secret, err
}

func parseKeeper(secret Secret) (Keeper, error) {
	keeper, err := readKeeper(secret.Data)
	if err != nil {
		return Keeper{}, fault.New(fault.Stop, ReasonKeeperDamaged,
			"nobody but gitrota may write it; restore it, it may hold the only copy of a password",
			"the keeper Secret %s/%s is damaged: %v", secret.Namespace, secret.Name, err)
	}
	return keeper, nil
}

// parsedKeeper is a keeper as it was parsed last: a rotation reads it before each step, and it has seldom changed. What is
// read from it is shared, and not to be changed in place.
type parsedKeeper struct {
	version string
	keeper  Keeper
}

func (p *parsedKeeper) read(secret Secret) (Keeper, error) {
	if secret.UID != "" && p.version == secret.version() {
		return p.keeper, nil
	}
	keeper, err := parseKeeper(secret)
	if err == nil {
		*p = parsedKeeper{secret.version(), keeper}
	}
	return keeper, err
}

// writeKeeper writes the keeper if it is still what was read, without what its journal need not hold any more, and
// returns what was written.
func (e *Engine) writeKeeper(ctx context.Context, keeper Keeper, secret Secret) (Secret, error) {
	keeper.prune(e.Owner, e.told)
	if err := keeper.fit(); err != nil {
		return secret, err
	}
	data, err := keeper.data()
	if err != nil {
		return secret, err
	}
	secret = secret.clone()
	secret.Data = data
	if secret.UID == "" {
		secret.Type = "Opaque"
		secret.Labels = map[string]string{"app.kubernetes.io/managed-by": "gitrota"}
		secret.Annotations = map[string]string{
			"gitrota.dev/about": "gitrota's write-ahead log of password rotations: it may hold the only copy of a password. Do not edit or delete it.",
		}
		return e.Cluster.CreateSecret(ctx, secret)
	}
	return e.Cluster.UpdateSecret(ctx, secret)
}
