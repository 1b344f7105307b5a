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
	"github.com/go-git/go-git/v5/storage/memory"
)

// errMoved says that the branch is not where a push expected it.
var errMoved = errors.New("the branch has moved")

// push sends the objects and moves the branch from base to tip; a zero base creates it. The server compares base with
// what it has when it moves the branch, so that two writers can never both succeed. The error is errMoved when the
// branch was elsewhere already; after any other error, only the remote can say whether the push landed.
func (r *Repository) push(ctx context.Context, base, tip plumbing.Hash, from *memory.Storage, objects []plumbing.Hash) error {
	talk, refs, err := r.advertise(ctx, receivePack)
	if err != nil {
		return err
	}
	defer talk.close()
	if refs.References[r.ref.String()] != base {
		return errMoved
	}
	if !refs.Capabilities.Supports(capability.ReportStatus) {
		return &Error{Kind: ErrUnreachable, Detail: "the server cannot report whether a push succeeded"}
	}
	update := packp.NewReferenceUpdateRequestFromCapabilities(refs.Capabilities)
	if refs.Capabilities.Supports(capability.Sideband64k) {
		_ = update.Capabilities.Set(capability.Sideband64k)
	}
	update.Commands = []*packp.Command{{Name: r.ref, Old: base, New: tip}}

	var request bytes.Buffer
	if err := update.Encode(&request); err != nil {
		return err
	}
	if _, err := packfile.NewEncoder(&request, from, false).Encode(objects, 0); err != nil {
		return err
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
