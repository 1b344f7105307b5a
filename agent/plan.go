package agent

import (
	"context"
	"time"

	"github.com/gitrota/gitrota/reconcile"
)

// Outlook is what would happen next, and why.
type Outlook struct {
	Revision  string               // the commit that was judged
	Databases []reconcile.Planned  // those that have a schedule, or whose policies cannot be followed
	Requests  []reconcile.Standing // those that have not ended
	Problems  []string             // of manifests, that belong to no request
}

// Plan reads the repository, the cluster and, where a policy asks for reviews, the forge, and judges as Run does. It
// changes nothing anywhere. Run it once, in place of Run.
func (a *Agent) Plan(ctx context.Context) (Outlook, error) {
	defer a.close()
	a.controller.Engine.Cluster = unchanging{a.cluster}
	if err := a.controller.Survey(ctx); err != nil {
		return Outlook{}, err
	}
	if err := a.controller.Poll(ctx); err != nil {
		return Outlook{}, err
	}
	a.controller.Wait() // for the forge
	state := a.controller.State()
	return Outlook{
		Revision: state.Revision, Databases: a.controller.Plan(), Problems: a.controller.Problems(),
		Requests: a.controller.Standings(time.Now(), ""),
	}, nil
}

// unchanging is a cluster whose Secrets are not written, whatever is to be recorded.
type unchanging struct{ reconcile.Cluster }

func (unchanging) CreateSecret(_ context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return s, nil
}

func (unchanging) UpdateSecret(_ context.Context, s reconcile.Secret) (reconcile.Secret, error) {
	return s, nil
}
