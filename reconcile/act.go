package reconcile

import (
	"context"
	"time"
)

// act takes one step. Each step may be taken again: it leads to the same state, or finds itself refused by a
// conditional write.
func (r *rotation) act(ctx context.Context, w world, s step) error {
	ctx, cancel := r.stepContext(ctx, s)
	defer cancel()
	began := r.Clock.Now()
	err := r.steps()[s.kind](ctx, w, s)
	r.observeStep(s, began, err)
	if err == nil {
		r.Log.Info("step done", "request", r.status.Request.Key(), "database", r.status.Request.Database, "step", s)
	}
	return err
}

// observeStep tells how long a step took.
func (r *rotation) observeStep(s step, began time.Time, err error) {
	if r.Observe != nil {
		r.Observe(string(s.kind), r.Clock.Now().Sub(began), err)
	}
}

func (r *rotation) steps() map[stepKind]func(context.Context, world, step) error {
	return map[stepKind]func(context.Context, world, step) error{
		stepReject:     func(_ context.Context, _ world, s step) error { return s.err },
		stepWait:       func(_ context.Context, _ world, s step) error { return s.err },
		stepConnect:    r.connect,
		stepRestore:    r.restore,
		stepStage:      r.stage,
		stepPause:      r.pause,
		stepApply:      r.apply,
		stepProve:      r.prove,
		stepPromote:    r.promote,
		stepRepair:     r.repair,
		stepRestarts:   r.listRestarts,
		stepEvict:      r.evict,
		stepAwaitPod:   r.awaitPod,
		stepAwaitGroup: r.awaitGroup,
		stepVerify:     r.verify,
		stepResume:     r.resume,
		stepConsumers:  r.restartConsumers,
		stepGrace:      r.grace,
		stepRetire:     r.retire,
		stepSettle:     r.settle,
		stepFence:      r.fence,
		stepRevert:     r.revert,
		stepDiscard:    r.discard,
	}
}
