package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/storage/memory"
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

func newWire(to remote, auth Auth) (wire, error) {
	if to.scheme == "ssh" {
		return newSSHWire(to, auth)
	}
	return newHTTPWire(to, auth)
}

// errMoved says that the branch is not where a push expected it.
var errMoved = errors.New("the branch has moved")

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
	answer = &limited{from: answer, left: r.opts.MaxPackSize, max: r.opts.MaxPackSize}
	got := packp.NewUploadPackResponse(ask)
	if err := got.Decode(io.NopCloser(answer)); err != nil {
		return nil, ended(ctx, fmt.Errorf("reading the answer to a fetch: %w", err))
	}
	copied := &clone{head: head, objects: memory.NewStorage(), shallow: got.Shallows, filtered: filtered}
	if err := packfile.UpdateObjectStorage(copied.objects, demux(ask.Capabilities, got, nil)); err != nil {
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
	said := &headOf{max: maxServerText}
	report := packp.NewReportStatus()
	if err := report.Decode(demux(update.Capabilities, answer, said)); err != nil {
		if words := talk.words(); words != "" && ctx.Err() == nil {
			return refusal(words)
		}
		return ended(ctx, fmt.Errorf("reading the answer to a push: %w", err))
	}
	return verdict(report, string(said.text))
}

// lostInside are the words with which servers say that somebody else was quicker.
var lostInside = []string{
	"failed to update ref", "cannot lock ref", "fetch first", "non-fast-forward", "incorrect old value",
	"reference already exists",
}

// verdict reads the server's report of a push.
func verdict(report *packp.ReportStatus, said string) error {
	if report.UnpackStatus != "ok" {
		return &Error{Kind: ErrRejected, Detail: "it could not unpack the objects", Server: report.UnpackStatus + " " + said}
	}
	if len(report.CommandStatuses) == 0 {
		return errors.New("the server did not say what became of the push")
	}
	for _, status := range report.CommandStatuses {
		if status.Status == "ok" {
			continue
		}
		if slices.ContainsFunc(lostInside, func(words string) bool { return bytes.Contains([]byte(status.Status), []byte(words)) }) {
			return errMoved
		}
		return &Error{
			Kind:   ErrRejected,
			Detail: status.Status + ": let gitrota's account push to this branch, or give it a branch of its own",
			Server: said,
		}
	}
	return nil
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

// limited fails once more than max bytes were read, where io.LimitReader would pretend that the stream had ended.
type limited struct {
	from      io.Reader
	left, max int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.from.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("the repository's tip is larger than %d bytes: keep the rotations in a smaller one", l.max)
	}
	return n, err
}
