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

	"github.com/gitrota/gitrota/gitsource/protocol"
)

// upload is a conversation with the service that sends objects.
type upload struct {
	r    *Repository
	talk conversation
	// patient reads files that are too large to their end, where what comes behind them could not be asked for.
	patient bool
	shallow []plumbing.Hash // of the last fetch: the commits whose parents the server has not sent, or not itself
}

// upload holds a conversation with the service that sends objects.
func (r *Repository) upload(ctx context.Context, hold func(u *upload, again bool) error) error {
	return r.converse(ctx, uploadPack, func(talk conversation, again bool) error {
		r.capabilities.Store(talk.greeting().abilities())
		u := &upload{r: r, talk: talk}
		err := hold(u, again)
		if u.talk != talk {
			u.talk.close()
		}
		return err
	})
}

func (u *upload) v2() protocol.Capabilities { return u.talk.greeting().v2 }

func (u *upload) tip(ctx context.Context) (plumbing.Hash, error) {
	var tip plumbing.Hash
	var any bool
	if u.v2() == nil {
		refs := u.talk.greeting().refs.References
		tip, any = refs[u.r.ref.String()], len(refs) > 0
	} else if err := u.refs(ctx, u.r.ref.String(), func(name string, hash plumbing.Hash) bool {
		if name == u.r.ref.String() {
			tip = hash
		}
		return true
	}); err != nil {
		return plumbing.ZeroHash, err
	}
	if !tip.IsZero() {
		return tip, nil
	}
	if u.v2() != nil {
		// Whether there is anything else makes the difference between an empty repository and a wrong name.
		if err := u.refs(ctx, "", func(string, plumbing.Hash) bool { any = true; return false }); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	detail := "the repository is empty: push a first commit"
	if any {
		detail = fmt.Sprintf("the repository has no branch %q: push it, or name another one", u.r.opts.Branch)
	}
	return plumbing.ZeroHash, &Error{Kind: ErrBranchNotFound, Detail: detail}
}

func (u *upload) refs(ctx context.Context, prefix string, each func(string, plumbing.Hash) bool) error {
	answer, err := u.talk.ask(ctx, u.v2().ListRefs(prefix))
	if err != nil {
		return err
	}
	return u.explain(protocol.ReadRefs(answer, each))
}

// explain prefers the server's words where the protocol broke off.
func (u *upload) explain(err error) error {
	var said *protocol.ServerError
	if errors.As(err, &said) || errors.Is(err, io.ErrUnexpectedEOF) {
		return explained(err, u.talk.words)
	}
	return err
}

// fetch asks for objects in version 2 of the protocol, and puts them into memory. The error is errOversize when a blob
// was too large; what came before it is there, and the conversation is at its end.
func (u *upload) fetch(ctx context.Context, what protocol.Fetch, into *packReader) error {
	wanted := what.Filter
	for {
		what.Filter = u.filter(wanted)
		err := u.explain(u.fetchOnce(ctx, what, into))
		if !u.refuses(what.Filter, err) {
			return err
		}
		if err := u.again(ctx); err != nil {
			return err
		}
	}
}

func (u *upload) fetchOnce(ctx context.Context, what protocol.Fetch, into *packReader) error {
	answer, err := u.talk.ask(ctx, u.v2().Fetch(what))
	if err != nil {
		return err
	}
	pack, err := protocol.ReadFetch(answer)
	if err != nil {
		return err
	}
	u.shallow = pack.Shallow
	return u.unpack(pack, into)
}

// unpack puts the objects of a pack into memory.
func (u *upload) unpack(pack io.Reader, into *packReader) error {
	return u.within(u.r.opts.MaxPackSize, pack, into.read)
}

// within reads a pack of so many bytes at most.
func (u *upload) within(most int64, pack io.Reader, read func(io.Reader) error) error {
	measured := &limited{from: pack, left: most}
	err := read(measured)
	switch {
	case measured.left < 0:
		return &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("more than %d bytes would have to be fetched: keep the rotations in a smaller one",
			most)}
	case err != nil && !errors.Is(err, errOversize):
		return fmt.Errorf("reading the pack of a fetch: %w", err)
	}
	return err
}

// again begins a new conversation, where the last answer was not read to its end.
func (u *upload) again(ctx context.Context) error {
	talk, err := u.r.wire.open(ctx, uploadPack)
	if err != nil {
		return err
	}
	older := u.v2() == nil
	u.talk.close()
	u.talk = talk
	if older != (u.v2() == nil) {
		return errors.New("the server speaks another version of the protocol than a moment ago")
	}
	return nil
}

// fetchOlder asks in the older versions of the protocol for the branch with depth commits of history, 0 for all of it.
// filter is asked again after the server has refused one. It ends the conversation.
func (u *upload) fetchOlder(ctx context.Context, tip plumbing.Hash, depth int, filter func() string, into *packReader) error {
	for {
		asked := filter()
		pack, _, err := u.askOlder(ctx, tip, depth, asked)
		if err == nil {
			return u.unpack(pack, into)
		}
		if !u.refuses(asked, err) {
			return err
		}
		if err := u.again(ctx); err != nil {
			return err
		}
	}
}

// askOlder returns the pack, and the commits at which the server's own history is cut off.
func (u *upload) askOlder(ctx context.Context, tip plumbing.Hash, depth int, filter string) (io.Reader, []plumbing.Hash, error) {
	refs := u.talk.greeting().refs
	ask := packp.NewUploadPackRequestFromCapabilities(refs.Capabilities)
	ask.Capabilities.Delete(capability.ThinPack) // a thin pack would lean on objects that are not here
	ask.Wants = []plumbing.Hash{tip}
	want(ask, refs, capability.NoProgress)
	if depth > 0 && want(ask, refs, capability.Shallow) {
		ask.Depth = packp.DepthCommits(depth)
	}
	if filter != "" && want(ask, refs, capability.Filter) {
		ask.Filter = packp.Filter(filter)
	}
	var request bytes.Buffer
	if err := encodeUpload(&request, ask); err != nil {
		return nil, nil, err
	}
	answer, err := u.talk.ask(ctx, request.Bytes())
	if err != nil {
		return nil, nil, err
	}
	got := packp.NewUploadPackResponse(ask)
	if err := got.Decode(io.NopCloser(answer)); err != nil {
		return nil, nil, fmt.Errorf("reading the answer to a fetch: %w", err)
	}
	return demux(ask.Capabilities, got, nil), refs.Shallows, nil
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
