package reconcile

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
)

// Escrow is for the day on which the cluster is gone: a generated password, encrypted for whoever installed gitrota, in
// Git. It is encrypted before the password is staged, so that nothing can go wrong with it once the password is on its
// way; it waits in the keeper and comes into the status with the write that makes the password the live one. The commit
// that brings the status brings it in a file of its own.

// escrowFolder is below the status path. Like the other names there, it is that of no namespace.
const escrowFolder = "escrow.sops"

// EscrowPath is the path of the encrypted Secret with the password that a request made, below the status path.
func EscrowPath(statusPath string, r Request) string {
	return path.Join(statusPath, escrowFolder, r.Namespace, r.Name+".yaml")
}

// escrowHeader tells a reader what the file is, and the agent of which rotation.
func escrowHeader(r Request) string {
	return fmt.Sprintf("# Written by gitrota: the credential of %s that the rotation %s made.\n", r.DatabaseKey(), r.ID)
}

// escrow encrypts a credential that was generated; nil where nobody asks for it.
func (r *rotation) escrow(c credential.Credential) ([]byte, error) {
	if r.Escrow == nil {
		return nil, nil
	}
	request := r.status.Request
	sealed, err := r.Escrow(request.Namespace, request.Name, c)
	if err != nil {
		return nil, fault.New(fault.Refuse, ReasonEscrow, "let whoever runs gitrota correct spec.escrow of the guardrails, then add a new request",
			"the new password could not be encrypted for the recipients of spec.escrow, so nothing was done: %s", credential.Scrub(err.Error(), c.Password))
	}
	if sealed == nil {
		return nil, nil
	}
	return append([]byte(escrowHeader(request)), sealed...), nil
}

// missingEscrow returns what a status has to bring to Git beside itself, nil if it is there. A file that somebody has
// encrypted again, for other recipients, is left as it is.
func missingEscrow(snapshot *gitsource.Snapshot, statusPath string, s Status) []byte {
	if !s.Phase.Finished() || len(s.Escrow) == 0 {
		return nil
	}
	if there, ok := snapshot.Get(EscrowPath(statusPath, s.Request)); ok && isEscrowOf(s.Request, there) {
		return nil
	}
	return s.Escrow
}

func isEscrowOf(r Request, content []byte) bool {
	return bytes.HasPrefix(content, []byte(escrowHeader(r)))
}

// readEscrows gives the statuses of a snapshot what is kept beside them.
func readEscrows(written *gitsource.Snapshot, statusPath string, statuses map[string]Status) {
	for _, f := range written.Files {
		below, ok := strings.CutPrefix(f.Path, path.Join(statusPath, escrowFolder)+"/")
		key := strings.TrimSuffix(below, ".yaml")
		if s, known := statuses[key]; ok && known && isEscrowOf(s.Request, f.Content) {
			s.Escrow = f.Content
			statuses[key] = s
		}
	}
}
