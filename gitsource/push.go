package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

var (
	// errMoved says that the branch is not where a push expected it.
	errMoved = errors.New("the branch has moved")
	// errStale says that a push failed that leaned on a connection, or on what the server had said, from before. Both
	// are forgotten; another try may do better.
	errStale = errors.New("the server has changed")
)

// push sends the objects and moves a branch from base to tip; a zero base creates it, a zero tip deletes it. The server
// compares base with what it has when it moves the branch, so that two writers can never both succeed. The error is
// errMoved when the branch was elsewhere already; after any other error, only the remote can say whether the push landed.
func (r *Repository) push(ctx context.Context, branch plumbing.ReferenceName, base, tip plumbing.Hash, from *objects, objects []plumbing.Hash) error {
	talk, err := r.wire.open(ctx, receivePack)
	if err != nil {
		return ended(ctx, err)
	}
	err = r.pushOn(ctx, talk, &packp.Command{Name: branch, Old: base, New: tip}, from, objects)
	talk.close()
	var known *Error
	if err == nil || errors.Is(err, errMoved) || errors.As(err, &known) && known.Kind == ErrRejected {
		return err
	}
	r.wire.forget()
	if talk.warm() && known == nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	return err
}

func (r *Repository) pushOn(ctx context.Context, talk conversation, command *packp.Command, from *objects, objects []plumbing.Hash) error {
	refs := talk.greeting().refs
	if !refs.Capabilities.Supports(capability.ReportStatus) {
		return &Error{Kind: ErrUnreachable, Detail: "the server cannot report whether a push succeeded"}
	}
	update := packp.NewReferenceUpdateRequestFromCapabilities(refs.Capabilities)
	if refs.Capabilities.Supports(capability.Sideband64k) {
		_ = update.Capabilities.Set(capability.Sideband64k)
	}
	update.Commands = []*packp.Command{command}

	var request bytes.Buffer
	if err := update.Encode(&request); err != nil {
		return err
	}
	if !command.New.IsZero() {
		if _, err := packfile.NewEncoder(&request, from, false).Encode(objects, 0); err != nil {
			return err
		}
	}
	answer, err := talk.ask(ctx, request.Bytes())
	if err != nil {
		return ended(ctx, err)
	}
	said := &headOf{max: maxWords}
	report := packp.NewReportStatus()
	if err := report.Decode(demux(update.Capabilities, answer, said)); err != nil {
		if words := talk.words(); words != "" && ctx.Err() == nil {
			return refusal(words)
		}
		return ended(ctx, fmt.Errorf("reading the answer to a push: %w", err))
	}
	return verdict(report, string(said.text))
}
