package reconcile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/gitsource/signature"
)

// Signers say whose signed commits may bring requests; [signature.Signers] has it.
type Signers interface {
	// Verify takes a commit as the server sent it and returns who signed it, or one of package signature's errors.
	Verify(raw []byte) (signature.Signer, error)
}

// Where RequestSigners are set, a request runs only if each file that it rests on was brought by a commit that one of
// them has signed: its own, the Secret with the credential, the SQLServer that says where the servers are, and the
// policies about the database. Whoever may push, but not sign, can then neither ask for a rotation nor choose the
// password or the place that it goes to. A status file is no word to act on either: see trusted.

// signedBy returns who signed the commit that brought a request, or what is wrong with one of the commits that it rests
// on. Nothing is wrong, and nobody named, where signatures are not asked for.
func (c *Controller) signedBy(r *manifest.Request, blobs map[string]string) (string, []manifest.Problem) {
	if c.RequestSigners == nil {
		return "", nil
	}
	signer := ""
	var problems []manifest.Problem
	for _, path := range c.set.Basis(r) {
		if blobs[path] == "" {
			continue // a policy that was removed, and is still in force
		}
		commit := c.origins[blobs[path]].Commit
		who, err := c.RequestSigners.Verify(commit.Raw)
		if err != nil {
			c.doubted[blobs[path]] = true
			problems = append(problems, unsigned(r, path, commit, err))
		} else if path == r.Path {
			signer = who.Principal + " " + who.Key
		}
	}
	return signer, problems
}

// unsigned says which commit is not signed as it has to be, and what to do.
func unsigned(r *manifest.Request, path string, commit gitsource.Commit, err error) manifest.Problem {
	p := manifest.Problem{
		Path: r.Path, Line: r.Line, Namespace: r.Namespace, Name: r.Name, Reason: ReasonSignatureInvalid,
		Message: fmt.Sprintf("%s was brought by the commit %s of %s <%s>, which does not count: %v", path, commit.Hash, commit.Author.Name, commit.Author.Email, err),
		Hint: "nothing was done; let an allowed signer bring it in a new commit, which has to change the file or to add it under another name: " +
			"of content that stays the same, the commit that brought it first counts",
	}
	switch {
	case errors.Is(err, signature.ErrUnsigned):
		p.Reason = ReasonSignatureMissing
	case errors.Is(err, signature.ErrUntrusted), errors.Is(err, signature.ErrNotValidThen):
		p.Reason = ReasonSignatureUntrusted
	}
	return p
}

// basis are the files whose commits are to be known for a request.
func (c *Controller) basis(set *manifest.Set, r *manifest.Request, blobs map[string]string) []string {
	if c.RequestSigners != nil {
		return slices.DeleteFunc(set.Basis(r), func(path string) bool { return blobs[path] == "" })
	}
	if _, asked := c.approvalRules(set, r); asked {
		return set.Sources(r)
	}
	return []string{r.Path}
}

func isUnsigned(err error) bool { return errors.Is(err, signature.ErrUnsigned) }

// trusted reports whether a status from Git may be acted on. Where requests have to be signed or approved, one that says
// that a request is under way is somebody's word and no more: the manifest and the keeper tell whether it is. The caller
// holds the lock.
func (c *Controller) trusted(s Status) bool {
	return c.RequestSigners == nil && !c.strict || s.Phase.Finished()
}
