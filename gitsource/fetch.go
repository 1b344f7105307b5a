package gitsource

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/storage/memory"
)

// clone is a fresh copy of the branch in memory.
type clone struct {
	head     plumbing.Hash
	objects  *memory.Storage
	shallow  []plumbing.Hash // commits whose parents were left out
	filtered bool            // blobs may have been left out too
}

// clone fetches the branch with depth commits of history, 0 for all of it, and leaves out blobs of without bytes and
// more, where the server can do so. Every clone is a new one: a repository that was fetched with one depth and then
// another can lose objects for good.
func (r *Repository) clone(ctx context.Context, depth int, without int64) (*clone, error) {
	talk, refs, err := r.advertise(ctx, uploadPack)
	if err != nil {
		return nil, err
	}
	defer talk.close()
	head, err := r.tipIn(refs)
	if err != nil {
		return nil, err
	}
	ask := packp.NewUploadPackRequestFromCapabilities(refs.Capabilities)
	ask.Capabilities.Delete(capability.ThinPack) // a thin pack would lean on objects that we do not have
	ask.Wants = []plumbing.Hash{head}
	want(ask, refs, capability.NoProgress)
	if depth > 0 && want(ask, refs, capability.Shallow) {
		ask.Depth = packp.DepthCommits(depth)
	}
	filtered := want(ask, refs, capability.Filter)
	if filtered {
		ask.Filter = packp.FilterBlobLimit(uint64(without), packp.BlobLimitPrefixNone)
	}
	var request bytes.Buffer
	if err := encodeUpload(&request, ask); err != nil {
		return nil, err
	}
	answer, err := talk.ask(ctx, request.Bytes())
	if err != nil {
		return nil, ended(ctx, err)
	}
	measured := &limited{from: answer, left: r.opts.MaxPackSize}
	got := packp.NewUploadPackResponse(ask)
	if err := got.Decode(io.NopCloser(measured)); err != nil {
		return nil, ended(ctx, fmt.Errorf("reading the answer to a fetch: %w", err))
	}
	copied := &clone{head: head, objects: memory.NewStorage(), shallow: got.Shallows, filtered: filtered}
	err = packfile.UpdateObjectStorage(copied.objects, demux(ask.Capabilities, got, nil))
	if measured.left < 0 {
		return nil, &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("its tip is more than %d bytes: keep the rotations in a smaller one", r.opts.MaxPackSize)}
	}
	if err != nil {
		return nil, ended(ctx, fmt.Errorf("reading the pack of a fetch: %w", err))
	}
	return copied, nil
}

// want adds a capability to the request if the server has it, and reports whether it has.
func want(ask *packp.UploadPackRequest, refs *packp.AdvRefs, c capability.Capability) bool {
	return refs.Capabilities.Supports(c) && ask.Capabilities.Set(c) == nil
}

func encodeUpload(to *bytes.Buffer, ask *packp.UploadPackRequest) error {
	if err := ask.Validate(); err != nil {
		return err
	}
	if err := ask.UploadRequest.Encode(to); err != nil {
		return err
	}
	to.WriteString("0009done\n")
	return nil
}

// limited fails once more than left bytes were read, where io.LimitReader would pretend that the stream had ended.
type limited struct {
	from io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.from.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}
