package gitsource

import (
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/gitrota/gitrota/gitsource/signature"
)

// storeCommit encodes a commit and signs the very bytes that it encoded, where there is a key to sign with.
func (r *Repository) storeCommit(edit *treeEdit, c *object.Commit) (plumbing.Hash, error) {
	if r.opts.Signing == nil {
		return edit.store(c)
	}
	plain := &plumbing.MemoryObject{}
	if err := c.EncodeWithoutSignature(plain); err != nil {
		return plumbing.ZeroHash, err
	}
	reader, err := plain.Reader()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	unsigned, err := io.ReadAll(reader)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	armored, err := r.opts.Signing.Sign(unsigned)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	signed := edit.objects.NewEncodedObject()
	signed.SetType(plumbing.CommitObject)
	w, err := signed.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if _, err := w.Write(signature.Insert(unsigned, armored)); err != nil {
		return plumbing.ZeroHash, err
	}
	return edit.add(signed)
}
