package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// The two services of a Git server.
const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// wire reaches the services of one remote. Everything it does ends with the context.
type wire interface {
	open(ctx context.Context, service string) (conversation, error)
}

// conversation is one exchange with a service: what the server advertises, then at most one request and its answer.
type conversation interface {
	advertisement() io.Reader
	ask(ctx context.Context, request []byte) (io.Reader, error)
	// words is what the server said beside the protocol, "" when it said nothing.
	words() string
	close()
}

// advertise opens a service and reads the references that the server has. The caller closes the conversation.
func (r *Repository) advertise(ctx context.Context, service string) (conversation, *packp.AdvRefs, error) {
	talk, err := r.wire.open(ctx, service)
	if err != nil {
		return nil, nil, ended(ctx, err)
	}
	refs := packp.NewAdvRefs()
	start := &headOf{max: 4096}
	err = refs.Decode(io.TeeReader(talk.advertisement(), start))
	if err == nil || errors.Is(err, packp.ErrEmptyAdvRefs) {
		return talk, refs, nil
	}
	words := talk.words()
	talk.close()
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case bytes.Contains(start.text, []byte("object-format=sha256")):
		return nil, nil, &Error{Kind: ErrUnreachable, Detail: "the repository uses SHA-256 object names, which gitrota " +
			"does not read yet: use a repository made with --object-format=sha1"}
	case words != "":
		return nil, nil, refusal(words)
	}
	return nil, nil, fmt.Errorf("the answer to %s is not Git's: %w", service, err)
}

// tip returns the hash of the branch at the remote. It is the one place that knows how a poll is made.
func (r *Repository) tip(ctx context.Context) (plumbing.Hash, error) {
	talk, refs, err := r.advertise(ctx, uploadPack)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer talk.close()
	return r.tipIn(refs)
}

func (r *Repository) tipIn(refs *packp.AdvRefs) (plumbing.Hash, error) {
	if head, ok := refs.References[r.ref.String()]; ok {
		return head, nil
	}
	detail := "the repository is empty: push a first commit"
	if len(refs.References) > 0 {
		detail = fmt.Sprintf("the repository has no branch %q: push it, or name another one", r.opts.Branch)
	}
	return plumbing.ZeroHash, &Error{Kind: ErrBranchNotFound, Detail: detail}
}

// headOf keeps the first bytes that are written to it.
type headOf struct {
	text []byte
	max  int
}

func (h *headOf) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), h.max-len(h.text))]...)
	return len(p), nil
}

// demux takes the stream of data out of a side-band, if there is one, and hands the server's words to progress.
func demux(agreed *capability.List, answer io.Reader, progress io.Writer) io.Reader {
	kind := sideband.Sideband64k
	switch {
	case agreed.Supports(capability.Sideband64k):
	case agreed.Supports(capability.Sideband):
		kind = sideband.Sideband
	default:
		return answer
	}
	d := sideband.NewDemuxer(kind, answer)
	d.Progress = progress
	return d
}
