package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// gather reads the world.
func (r *rotation) gather(ctx context.Context) (world, error) {
	ctx, cancel := r.stepContext(ctx, step{kind: stepGather})
	defer cancel()
	request := r.status.Request
	w := world{status: r.status}
	var err error
	if w.target, err = r.Cluster.Target(ctx, request); errors.Is(err, ErrNotFound) {
		return w, targetNotFound(request)
	} else if err != nil {
		return w, err
	}
	w.pausedByUs = r.hasPaused(w.target)
	r.lastTarget = w.target
	if w.auth, err = r.readAuth(ctx, w.target); err != nil {
		return w, err
	}
	if w.keeper, err = r.gatherKeeper(ctx, w.target); err != nil {
		return w, err
	}
	if !w.keeper.Next.IsZero() && w.keeper.Next.RotationID != request.ID {
		if err := pausedByOther(w); err != nil {
			return w, err // whoever staged it is at work
		}
		return w, &otherStaged{record: *w.keeper.Record, owner: w.keeper.Owner}
	}
	if err := r.gatherAdmin(ctx, &w); err != nil {
		return w, err
	}
	if !w.keeper.Next.IsZero() {
		r.adopt(*w.keeper.Record)
		w.status = r.status
		w.fenced = r.unfenceable || w.auth.Annotations[annotationRolledBack] == w.keeper.Next.RotationID
	} else if err := r.gatherBeforeStaging(ctx, &w); err != nil {
		return w, err
	}
	if err := r.gatherReplicas(ctx, &w); err != nil {
		return w, err
	}
	if request.Consumers != nil && w.promoted() && !w.pausedByUs {
		if w.consumers, err = r.Cluster.Consumers(ctx, w.target); err != nil {
			return w, err
		}
	}
	return w, nil
}

func targetNotFound(r Request) error {
	what, hint := "MSSQLServer "+r.DatabaseKey(), "check spec.databaseRef.name and the namespace; a server that is not KubeDB's needs a SQLServer document beside the request"
	if r.Server != nil && r.Server.Workload != nil {
		what, hint = r.Server.Workload.Kind+" "+r.Namespace+"/"+r.Server.Workload.Name, "check spec.workload of the SQLServer "+r.DatabaseKey()
	}
	return fault.New(fault.Refuse, ReasonDatabaseNotFound, hint, "there is no %s", what)
}

// readAuth reads the auth Secret; one without UID is not there.
func (e *Engine) readAuth(ctx context.Context, target Target) (Secret, error) {
	secret, err := e.Cluster.Secret(ctx, target.Namespace, target.AuthSecret.Name)
	if errors.Is(err, ErrNotFound) {
		return Secret{Namespace: target.Namespace, Name: target.AuthSecret.Name}, nil
	}
	return secret, err
}

// gatherKeeper reads the keeper. Should somebody have deleted it in the middle of a rotation, this run has the only copy
// of what is staged, and puts it back.
func (r *rotation) gatherKeeper(ctx context.Context, target Target) (Keeper, error) {
	secret, err := r.keeperSecretOf(ctx, target.Namespace, target.AuthSecret.Name)
	if err != nil {
		return Keeper{}, err
	}
	keeper, err := r.parsed.read(secret)
	if err != nil {
		return keeper, err
	}
	if secret.UID == "" && !r.lastStaged.Next.IsZero() {
		if r.rewritings++; r.rewritings > maxPromotions {
			return keeper, fault.New(fault.Stop, ReasonKeeperDamaged, "find out who deletes it; it holds what opens the servers",
				"the keeper Secret %s/%s was deleted again each time that it was written", secret.Namespace, secret.Name)
		}
		r.Log.Warn("the keeper was deleted in the middle of a rotation and is written again", "secret", secret)
		r.keeperSecret = secret
		if err := r.keep(ctx, r.lastStaged); err != nil {
			return keeper, err
		}
		return keeper, fmt.Errorf("the keeper was written again: %w", ErrConflict)
	}
	r.keeperSecret = secret
	r.lastStaged = Keeper{}
	if !keeper.Next.IsZero() {
		r.lastStaged = keeper
	}
	return keeper, nil
}

// gatherAdmin reads the credential that changes the login, where it does not change itself.
func (r *rotation) gatherAdmin(ctx context.Context, w *world) error {
	keys := w.target.Admin
	if keys == nil {
		return nil
	}
	secret, err := r.Cluster.Secret(ctx, w.target.Namespace, keys.Name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if w.admin = secret.credential(*keys); err != nil || w.admin.Username == "" || w.admin.Password.IsZero() {
		return fault.New(fault.Refuse, ReasonAdminSecret, "create it with the login that may change passwords",
			"the Secret %s/%s, which spec.admin of %s names, does not exist or lacks %s or %s", w.target.Namespace, keys.Name, w.target, keys.UsernameKey, keys.PasswordKey)
	}
	return nil
}

// adopt takes over what an earlier run of the same rotation recorded: what was staged is what runs, whatever has become
// of its manifest. The longer list of conditions is the newer one; Git may have had the later word.
func (r *rotation) adopt(record Status) {
	told := r.told(record.Request)
	switch {
	case record.isEnd():
		r.status = upheld(record, r.status)
	case told.isEnd() && told.Request.ID == record.Request.ID && told.Phase != PhaseSuccessful:
		r.status = told.clone() // an end that only Git could be told, and what is staged has yet to be brought to its own
	case len(record.Conditions) > len(r.status.Conditions):
		r.status = record.clone()
	}
	r.status.Request = record.Request
}

// gatherBeforeStaging reads, once, what only a rotation that has not begun wants to know.
func (r *rotation) gatherBeforeStaging(ctx context.Context, w *world) error {
	if r.missing == nil || len(*r.missing) > 0 {
		missing, err := r.Cluster.Missing(ctx, w.target, r.status.Request.Consumers != nil)
		if err != nil {
			return err
		}
		r.missing = &missing
	}
	if r.supplied == nil && r.status.Request.SecretRef != "" {
		// A run that only finishes what was staged has no way to the Secret, and no need: it may find that another agent has
		// finished it.
		supplied := Supplied{Err: fault.New(fault.Refuse, ReasonSuppliedSecret, "add a new request", "the Secret that the request names was not looked for")}
		if r.job.Supplied != nil {
			supplied = r.job.Supplied(ctx)
		}
		if errors.Is(supplied.Err, ErrAPIUnavailable) || errors.Is(supplied.Err, ErrForbidden) {
			return supplied.Err
		}
		r.supplied = &supplied
	}
	w.missing = *r.missing
	if r.DenyList != nil {
		w.denied = r.DenyList()
	}
	if r.supplied != nil {
		w.supplied = *r.supplied
		w.reused = r.reused(w.keeper)
	}
	return nil
}

// reused reports whether the supplied password is one of the last ones. To tell that takes time, so it is found out once
// for a keeper as it stands.
func (r *rotation) reused(keeper Keeper) bool {
	if r.lookedUp == nil || r.lookedUp.version != r.keeperSecret.ResourceVersion {
		used := keeper.used(r.supplied.Credential.Password, r.status.Request.passwordRules().Reuse)
		r.lookedUp = &lookedUp{r.keeperSecret.ResourceVersion, used}
	}
	return r.lookedUp.used
}

// gatherReplicas lists the replicas, asks those to which a session is open, and brings them into the order of changes.
func (r *rotation) gatherReplicas(ctx context.Context, w *world) error {
	found, err := r.Cluster.Replicas(ctx, w.target)
	if err != nil {
		return err
	}
	for _, f := range found {
		if !f.Pod && !r.mayConnect(f.Endpoint.Address) {
			w.strangers = append(w.strangers, f.Endpoint.Address)
		}
	}
	if len(w.strangers) > 0 {
		return nil // nothing is said to a stranger
	}
	for _, f := range found {
		state, err := r.ask(ctx, w, replica{Replica: f, primary: f.Primary})
		if err != nil {
			return err
		}
		state.refused = r.waitedFor(step{kind: stepEvict, target: f.Name})
		w.replicas = append(w.replicas, state)
	}
	if w.target.Group || len(found) > 1 {
		if err := r.gatherGroup(ctx, w); err != nil {
			return err
		}
	}
	last := func(is bool) int {
		if is {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(w.replicas, func(a, b replica) int {
		return cmp.Or(cmp.Compare(last(a.contained), last(b.contained)), cmp.Compare(last(a.primary), last(b.primary)))
	})
	return nil
}

func (r *rotation) mayConnect(endpoint string) bool {
	return r.AllowHost != nil && r.AllowHost(endpoint)
}

// gatherGroup asks the servers which availability group they are, and how it is. The primary knows best: a secondary
// sees only itself.
func (r *rotation) gatherGroup(ctx context.Context, w *world) error {
	byServer := map[string]int{}
	for i, state := range w.replicas {
		s := r.servers[state.UID]
		if s == nil || s.session == nil || s.alone || state.Endpoint.Contained {
			continue // the users of a contained database are wherever the database is
		}
		byServer[s.facts.Server] = i
		group, err := r.groupOf(ctx, s)
		if err != nil {
			r.lose(state.Replica, err)
			w.replicas[i].connected, w.replicas[i].next = false, unknown
			continue
		}
		s.alone = len(group.Replicas) == 0 && !w.target.KubeDB()
		if len(group.Replicas) > len(w.group.Replicas) {
			w.group = group
		}
	}
	if len(w.group.Replicas) == 0 {
		return nil
	}
	primary := -1
	for _, member := range w.group.Replicas {
		i, known := byServer[member.Server]
		if known {
			w.replicas[i].primary = member.Primary
		} else if w.allConnected() {
			w.absent = append(w.absent, member.Server)
		}
		if known && member.Primary {
			primary = i
		}
	}
	if !w.group.Contained || w.group.Database == "" || primary < 0 {
		return nil
	}
	own := replica{Replica: w.replicas[primary].Replica, contained: true}
	own.Name, own.UID = w.group.Name, own.UID+"/"+w.group.Name
	own.Pod, own.PasswordFrom = false, nil
	own.Endpoint.Name, own.Endpoint.Database = "availability group "+w.group.Name, w.group.Database
	own, err := r.ask(ctx, w, own)
	if err != nil {
		return err
	}
	w.replicas = append(w.replicas, own)
	return nil
}

// allConnected reports whether every replica was asked for its name, so that a member without one is a stranger.
func (w world) allConnected() bool {
	return !slices.ContainsFunc(w.instances(), func(r replica) bool { return !r.connected })
}

// loginToChange is the login whose password the rotation changes.
func (w world) loginToChange() string {
	if !w.keeper.Next.IsZero() {
		return w.keeper.Next.Username
	}
	return w.nextUsername()
}

// nextUsername is the login that the next credential is of: the live one, or the other one of a pair.
func (w world) nextUsername() string {
	live := w.authUsername()
	if w.status.Request.Kind == manifest.KindRollback {
		return w.keeper.Previous.Username
	}
	for i, login := range w.target.LoginPair {
		if login == live {
			return w.target.LoginPair[1-i]
		}
	}
	return live
}
