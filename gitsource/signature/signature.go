// Package signature signs commits and checks who signed one: with SSH keys, as ssh-keygen -Y does, and with OpenPGP.
//
// What is checked are the bytes of the commit object as the server sent them, never an object that was read and written
// again: a reader that forgives may drop or move a header, and the signature would then hold for a commit that nobody
// sees. The package therefore takes the header gpgsig out of the raw bytes by itself (see commit.go), and refuses a
// commit whose headers git would not have written.
//
// A good signature says nothing before its key is listed: see [LoadSigners].
package signature

import "errors"

// What can be wrong with a commit's signature. Compare with errors.Is; the text has the details.
var (
	ErrUnsigned     = errors.New("the commit is not signed")
	ErrUntrusted    = errors.New("the commit is signed with a key that is not listed")
	ErrNotValidThen = errors.New("the commit is signed with a key that was not valid when it was made")
	ErrBadSignature = errors.New("the commit's signature is bad")
	ErrUnsupported  = errors.New("the commit's signature is of a kind that is not supported")
)

// Signer is whoever made a good signature.
type Signer struct {
	// Principal is the name that the list gives to the key: the committer's e-mail address where an SSH key is listed for
	// it, otherwise the first name or pattern on the key's line; the first user id of an OpenPGP key.
	Principal string
	Key       string // as [Key.String] writes it
}

// namespace is what SSH signatures of Git objects are made for, so that one of a file cannot be passed off as one.
const namespace = "git"
