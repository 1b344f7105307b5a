package gitsource

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"

	"github.com/gitrota/gitrota/gitsource/protocol"
)

// service is a program at the server.
type service struct {
	program string
	v2      bool // it is asked to speak version 2 of the protocol
}

var (
	uploadPack      = service{"git-upload-pack", true}
	olderUploadPack = service{"git-upload-pack", false}
	receivePack     = service{"git-receive-pack", false}
)

// wire reaches the services of one remote. Everything it does ends with the context. It is safe for concurrent use.
type wire interface {
	// open begins a conversation with a service, on a connection that is there already, if there is one.
	open(ctx context.Context, of service) (conversation, error)
	// forget drops what is kept between conversations: connections, and what the server has said of itself.
	forget()
}

// conversation is one exchange with a service: what the server can do, then a request and its answer. With version 2
// of the protocol there may be more of them, each after the answer before it was read to its end.
type conversation interface {
	greeting() *greeting
	ask(ctx context.Context, request []byte) (io.Reader, error)
	// warm reports whether it leans on something that was kept from before, and may have become wrong.
	warm() bool
	// words is what the server said beside the protocol, "" when it said nothing. It waits until the server has ended
	// the conversation.
	words() string
	close()
}

// greeting is what a server can do.
type greeting struct {
	v2 protocol.Capabilities // nil where it speaks an older version of the protocol, as every one does for a push
	// refs has the capabilities and the references of a server that speaks an older version. The references are gone
	// when the greeting is remembered from an earlier conversation.
	refs *packp.AdvRefs
}

// remembered returns the greeting as a later conversation may use it, nil if it cannot: where the references are what
// it is read for, they have to be new.
func (g *greeting) remembered(of service) *greeting {
	switch {
	case g.v2 != nil:
		return g
	case of == receivePack:
		return &greeting{refs: &packp.AdvRefs{Capabilities: g.refs.Capabilities}}
	}
	return nil
}

func errSHA256() error {
	return &Error{Kind: ErrUnreachable, Detail: "the repository uses SHA-256 object names, which gitrota " +
		"does not read yet: use a repository made with --object-format=sha1"}
}

// brokenOff is an error for which the network is to blame, and not what the two sides say to one another.
type brokenOff struct{ error }

func (b brokenOff) Unwrap() error { return b.error }

// arriving is what comes over the network.
type arriving struct{ io.Reader }

func (a arriving) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = brokenOff{err}
	}
	return n, err
}

// readGreeting reads what a server begins with. words is called when that is not Git's protocol.
func readGreeting(from io.Reader, of service, words func() string) (*greeting, error) {
	// The beginning is kept to look for what go-git's parser does not understand.
	start := &headOf{max: 4096}
	reader := bufio.NewReader(io.TeeReader(from, start))
	v2, err := protocol.ReadCapabilities(reader)
	if err == nil && !v2.SHA1() {
		return nil, errSHA256()
	}
	if err == nil {
		return &greeting{v2: v2}, nil
	}
	refs := packp.NewAdvRefs()
	if errors.Is(err, protocol.ErrOlder) {
		err = refs.Decode(reader)
	}
	if err == nil || errors.Is(err, packp.ErrEmptyAdvRefs) {
		return &greeting{refs: refs}, nil
	}
	if bytes.Contains(start.text, []byte("object-format=sha256")) {
		return nil, errSHA256()
	}
	return nil, explained(fmt.Errorf("the answer to %s is not Git's: %w", of.program, err), words)
}

// explained prefers a server's words to what the protocol makes of them.
func explained(err error, words func() string) error {
	var said *protocol.ServerError
	if errors.As(err, &said) {
		return refusal(said.Words)
	}
	if text := words(); text != "" {
		return refusal(text)
	}
	return err
}

// converse opens a service and holds a conversation. When that fails for no good reason, and leaned on something that
// was kept from before, it is held once more on a new connection: a server may have been renamed, upgraded or
// restarted meanwhile. again tells hold which of the two it is.
func (r *Repository) converse(ctx context.Context, with service, hold func(talk conversation, again bool) error) error {
	for again := false; ; again = true {
		talk, err := r.wire.open(ctx, with)
		if err != nil {
			return ended(ctx, err)
		}
		err = hold(talk, again)
		talk.close()
		if err == nil {
			return nil
		}
		var known *Error
		if ctx.Err() != nil || again || errors.As(err, &known) {
			r.forgetAfter(known)
			return ended(ctx, err)
		}
		r.wire.forget()
		if !talk.warm() {
			return err
		}
		r.opts.Log.Debug("asking the server anew", "repository", r.String(), "error", r.scrub(err.Error()))
	}
}

// forgetAfter forgets what is known of the server, unless the error is about the branch and not about the server.
func (r *Repository) forgetAfter(known *Error) {
	if known == nil || known.Kind != ErrBranchNotFound && known.Kind != ErrRevisionNotFound {
		r.wire.forget()
	}
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
