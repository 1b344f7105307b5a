package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
)

// Proof is what a rotation rests on.
type Proof struct {
	Request   string    `json:"request"` // namespace/name
	ID        string    `json:"rotationId"`
	Phase     string    `json:"phase"`
	Ended     time.Time `json:"ended"`
	Source    string    `json:"source"`              // the commit that brought the request
	Author    string    `json:"author"`              // of that
	Requester string    `json:"requester,omitempty"` // who signed that; empty: it was not checked
	Approvals []string  `json:"approvals,omitempty"` // as the trailers say
	Commit    string    `json:"commit"`              // the status commit
	SignedBy  string    `json:"signedBy"`            // who signed that
	Key       string    `json:"key"`                 // with which key
}

// claimed compares a status with what the commit's trailers say of it.
func (v *verifier) claimed(n int, name string, s reconcile.Status, said claim) error {
	for _, pair := range []struct{ trailer, says, is string }{
		{"Rotation-Request", said.request, s.Request.Key()},
		{"Rotation-Id", said.id, s.Request.ID},
		{"Rotation-Phase", said.phase, string(s.Phase)},
		{"Rotation-Source", said.source, s.Request.Source.Commit},
		{"Rotation-Signer", said.signer, s.Request.Source.Signer},
	} {
		if pair.says != pair.is {
			return v.broken(n, TrailersDiffer, name, fmt.Sprintf("the trailer %s says %q, and the status %q", pair.trailer, pair.says, pair.is))
		}
	}
	return nil
}

// prove looks for what a rotation that ran rests on: its request, in the commit that brought it.
func (v *verifier) prove(n int, name string, s reconcile.Status, said claim) (*Proof, error) {
	source, err := v.sourceOf(n, name, s)
	if err != nil {
		return nil, err
	}
	raw, err := v.objects.Object(plumbing.CommitObject, v.nodes[source].hash)
	if err != nil {
		return nil, err
	}
	c, err := v.commit(v.nodes[source].hash)
	if err != nil {
		return nil, err
	}
	if err := v.asked(n, name, source, s); err != nil {
		return nil, err
	}
	proof := &Proof{
		Request: s.Request.Key(), ID: s.Request.ID, Phase: string(s.Phase),
		Source: v.nodes[source].hash.String(), Author: c.author.String(), Commit: v.nodes[n].hash.String(), Approvals: said.approvals,
	}
	if end, ok := find(s, string(s.Phase)); ok {
		proof.Ended = end.LastTransitionTime.UTC()
	}
	if v.Requesters != nil {
		signer, err := v.Requesters.Verify(raw)
		if err != nil {
			return nil, v.broken(n, UntrustedRequest, name, fmt.Sprintf("the request came with the commit %s of %s: %s", v.nodes[source].hash, c.author, err))
		}
		proof.Requester = signer.Principal
	}
	for _, approval := range said.approvals {
		if err := v.approved(n, name, approval); err != nil {
			return nil, err
		}
	}
	if s.Phase == reconcile.PhaseSuccessful {
		if other, ok := v.succeeded[s.Request.ID]; ok {
			return nil, v.broken(n, RotationRepeated, name, fmt.Sprintf("the rotation %s has succeeded before, as %s", s.Request.ID, other))
		}
		v.succeeded[s.Request.ID] = name
	}
	return proof, nil
}

// sourceOf finds the commit that a status names as its source. It has to be part of the history that the status commit
// knows; where the requests are on another branch, of that branch's.
func (v *verifier) sourceOf(n int, name string, s reconcile.Status) (int, error) {
	hash := s.Request.Source.Commit
	if !plumbing.IsHash(hash) {
		return 0, v.broken(n, SourceMissing, name, fmt.Sprintf("it names no commit that brought the request, but %q", hash))
	}
	source, ok := v.numbers[plumbing.NewHash(hash)]
	switch {
	case ok && v.source == nil && v.contains(n, source), ok && v.source != nil && v.source[source]:
		return source, nil
	case v.source != nil:
		return 0, v.broken(n, SourceMissing, name, fmt.Sprintf("the commit %s, which is said to have brought the request, is not in the history of %s", hash, v.Source))
	}
	return 0, v.broken(n, SourceMissing, name, fmt.Sprintf("the commit %s, which is said to have brought the request, is not in the history behind this one", hash))
}

// asked checks that the source commit asks for exactly what ran.
func (v *verifier) asked(n int, name string, source int, s reconcile.Status) error {
	from := s.Request.Source
	content, err := v.fileAt(v.nodes[source].tree, from.Path)
	if errors.Is(err, errNoFile) {
		return v.broken(n, SourceMissing, name, fmt.Sprintf("the commit %s has no file %q, in which the request is said to be", from.Commit, from.Path))
	}
	if err != nil {
		return err
	}
	asked := requestIn(from.Path, content, s.Request)
	switch {
	case asked == nil:
		return v.broken(n, SourceMissing, name, fmt.Sprintf("%s holds no request %s at the commit %s", from.Path, s.Request.Key(), from.Commit))
	case asked.ID != s.Request.ID:
		return v.broken(n, RequestChanged, name, fmt.Sprintf("the rotation %s ran, and %s at the commit %s asks for %s: the request was changed in between", s.Request.ID, from.Path, from.Commit, asked.ID))
	case !sameSpec(asked.Raw["spec"], s.Request.Manifest["spec"]):
		return v.broken(n, RequestChanged, name, fmt.Sprintf("the request that is written down in the status is not that of the rotation %s, which %s asks for at the commit %s", s.Request.ID, from.Path, from.Commit))
	}
	return nil
}

// requestIn finds a request in the file that it is said to be in; nil if it is not.
func requestIn(path string, content []byte, wanted reconcile.Request) *manifest.Request {
	for _, r := range manifest.Join(manifest.ParseFile(path, content)).Requests {
		if r.Namespace == wanted.Namespace && r.Name == wanted.Name {
			return r
		}
	}
	return nil
}

// sameSpec compares by value what two readers of YAML have made of a spec.
func sameSpec(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// commitIn finds the commit that an approval names.
var commitIn = regexp.MustCompile(`\b[0-9a-f]{40}\b`)

// approved checks an approval as far as it can be: it names somebody, and the commit that it names is there and is
// signed by that person.
func (v *verifier) approved(n int, name, approval string) error {
	hash := commitIn.FindString(approval)
	person := strings.TrimSpace(strings.ReplaceAll(approval, hash, ""))
	if !strings.ContainsFunc(person, isLetter) {
		return v.broken(n, ApprovalMissing, name, fmt.Sprintf("the approval %q names nobody", approval))
	}
	if hash == "" {
		return nil
	}
	number, ok := v.numbers[plumbing.NewHash(hash)]
	if !ok || v.source == nil && !v.contains(n, number) {
		return v.broken(n, ApprovalMissing, name, fmt.Sprintf("the approval %q names a commit that is not in the history behind this one", approval))
	}
	if v.Requesters == nil {
		return nil
	}
	raw, err := v.objects.Object(plumbing.CommitObject, v.nodes[number].hash)
	if err != nil {
		return err
	}
	signer, err := v.Requesters.Verify(raw)
	if err != nil {
		return v.broken(n, ApprovalMissing, name, fmt.Sprintf("the approval %q: %s", approval, err))
	}
	if !strings.Contains(person, signer.Principal) {
		return v.broken(n, ApprovalMissing, name, fmt.Sprintf("the approval %q names a commit that %s has signed", approval, signer.Principal))
	}
	return nil
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c > 0x7f }
