package audit

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitrota/gitrota/gitsource/signature"
	"github.com/gitrota/gitrota/reconcile"
)

// statusCommit judges a commit that changes something below the status path. previous is the status commit before it,
// -1 for the first.
func (v *verifier) statusCommit(n, previous int, changes []change) error {
	raw, err := v.objects.Object(plumbing.CommitObject, v.nodes[n].hash)
	if err != nil {
		return err
	}
	c, err := parseCommit(raw)
	if err != nil {
		return err
	}
	signer, err := v.Agents.Verify(raw)
	if err != nil {
		return v.foreign(n, c, changes, err)
	}
	v.agents[c.committer.email] = true
	v.clocks[n] = c.committer.when
	v.report.StatusCommits++
	v.report.Keys = appendNew(v.report.Keys, signer.Key)

	if err := v.onlyStatuses(n); err != nil {
		return err
	}
	if before, known := v.clocks[previous]; known && c.committer.when.Before(before.Add(-clockSkew)) {
		return v.broken(n, TimeWentBackwards, "", fmt.Sprintf("it is of %s, and the status commit before it, %s, of %s",
			utc(c.committer.when), v.nodes[previous].hash, utc(before)))
	}
	claims := map[string]claim{}
	for _, said := range c.claims() {
		claims[said.request] = said
	}
	for _, changed := range changes {
		if !isStatusFile(v.StatusPath, changed.path) {
			continue
		}
		before, after, err := v.change(n, c, changed)
		if err != nil {
			return err
		}
		said := claims[after.status.Request.Key()]
		delete(claims, after.status.Request.Key())
		if err := v.claimed(n, changed.path, after.status, said); err != nil {
			return err
		}
		if ran(after.status) && !isEnded(before) {
			if after.proof, err = v.prove(n, changed.path, after.status, said); err != nil {
				return err
			}
			after.proof.SignedBy, after.proof.Key = signer.Principal, signer.Key
		}
	}
	for request := range claims {
		return v.broken(n, TrailersDiffer, "", fmt.Sprintf("its trailers tell of the request %s, whose status it does not change", oneLine(request)))
	}
	return nil
}

// ran reports whether a request was taken up and has ended.
func ran(s reconcile.Status) bool {
	return s.Phase == reconcile.PhaseSuccessful || s.Phase == reconcile.PhaseFailed
}

// foreign says what a commit is that changes statuses without the agent's signature. What it did to a status that had
// ended names it better than the missing signature.
func (v *verifier) foreign(n int, c commit, changes []change, cause error) error {
	reason := ForeignWriter
	switch {
	case errors.Is(cause, signature.ErrUnsigned):
		if len(c.claims()) > 0 || v.agents[c.author.email] || v.agents[c.committer.email] {
			reason = UnsignedStatus
		}
	case errors.Is(cause, signature.ErrUntrusted):
		reason = UntrustedKey
	case errors.Is(cause, signature.ErrNotValidThen):
		reason = KeyNotValidThen
	case errors.Is(cause, signature.ErrUnsupported):
		reason = UnsupportedSignature
	case errors.Is(cause, signature.ErrBadSignature):
		reason = BadSignature
	default:
		return cause
	}
	for _, changed := range changes {
		var broken *Break
		if !isStatusFile(v.StatusPath, changed.path) {
			continue
		}
		_, _, err := v.change(n, c, changed)
		if errors.As(err, &broken) && (broken.Reason == StatusDeleted || broken.Reason == StatusRewritten || broken.Reason == StatusWentBackwards) {
			broken.Message += "; " + cause.Error()
			return broken
		}
	}
	what := "changes"
	if len(changes) > 0 && changes[0].before == (entry{}) {
		what = "adds"
	}
	return v.broken(n, reason, v.first(changes), fmt.Sprintf("%s %s it: %s", c.author, what, cause))
}

// onlyStatuses checks that a status commit leaves everything else alone.
func (v *verifier) onlyStatuses(n int) error {
	var before Hash
	if parents := v.nodes[n].parents; len(parents) > 0 {
		before = v.nodes[parents[0]].tree
	}
	same, err := v.sameOutside(before, v.nodes[n].tree, v.StatusPath)
	if err != nil {
		return err
	}
	if !same {
		return v.broken(n, ForeignFiles, "", fmt.Sprintf("it is the agent's, and changes files that are not below %s", v.StatusPath))
	}
	return nil
}

// isStatusFile tells the statuses from the overview and the list of problems.
func isStatusFile(statusPath, name string) bool {
	below, ok := strings.CutPrefix(name, statusPath+"/")
	return ok && strings.Count(below, "/") == 1 && path.Ext(below) == ".yaml"
}

// change reads what a commit did to a status, and judges it by itself.
func (v *verifier) change(n int, c commit, changed change) (before reconcile.Status, after *file, err error) {
	if changed.after == (entry{}) {
		return before, nil, v.broken(n, StatusDeleted, changed.path, "the status is gone")
	}
	if changed.before != (entry{}) {
		old, err := v.status(changed.path, changed.before)
		if err != nil {
			return before, nil, err
		}
		before = old.status
	}
	if after, err = v.status(changed.path, changed.after); err != nil {
		return before, nil, err
	}
	if after.err != nil {
		return before, nil, v.broken(n, StatusUnreadable, changed.path, after.err.Error())
	}
	if reason, message := transition(before, after.status, c.committer.when); reason != "" {
		return before, nil, v.broken(n, reason, changed.path, message)
	}
	return before, after, nil
}

// status reads a status, unless it is the one that was read last at this path.
func (v *verifier) status(name string, e entry) (*file, error) {
	known := v.files[name]
	if known != nil && known.entry == e {
		return known, nil
	}
	f := &file{entry: e}
	content, err := v.blob(e)
	switch {
	case errors.Is(err, errNoFile):
		f.err = err
	case err != nil:
		return nil, err
	default:
		f.status, f.err = parseStatus(v.StatusPath, name, content)
	}
	if known != nil && isEnded(known.status) {
		f.proof = known.proof
	}
	v.files[name] = f
	return f, nil
}

// parseStatus reads a status file, which has to be that of the request that its place says.
func parseStatus(statusPath, name string, content []byte) (reconcile.Status, error) {
	s, err := reconcile.ParseStatus(content)
	if err != nil {
		return s, err
	}
	if place := reconcile.StatusPath(statusPath, s.Request); place != name {
		return s, fmt.Errorf("it is the status of the request %s, which belongs to %s", s.Request.Key(), place)
	}
	return s, nil
}

func appendNew(list []string, one string) []string {
	for _, known := range list {
		if known == one {
			return list
		}
	}
	return append(list, one)
}
