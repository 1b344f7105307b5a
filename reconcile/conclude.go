package reconcile

// outcome is what becomes of a staged credential when its rotation cannot go on.
type outcome int

const (
	// keepStaged: somebody has to look, or a later run can tell; nothing is thrown away.
	keepStaged outcome = iota
	// settleStaged: every replica accepts it, so it is the live one, whatever failed afterwards.
	settleStaged
	// dropStaged: every replica was asked and none accepts it.
	dropStaged
	// revertStaged: some replicas accept it, and clients still read the previous one: it is put back where it was.
	revertStaged
)

// conclude decides what becomes of the staged credential of a rotation that cannot go on. Forward is the rule once it is
// published. Before that, clients read what was live, so back is the way that keeps them working; for a pair of logins
// there is no need to, since nobody uses the one that was changed.
func conclude(w world) outcome {
	complete := !w.incomplete() && len(w.replicas) > 0
	var took, refused, unasked int
	for _, r := range w.replicas {
		switch r.next {
		case yes:
			took++
		case no:
			refused++
		default:
			unasked++
		}
	}
	complete = complete && unasked == 0
	reverting := w.keeper.Failure != nil
	unpublished := w.auth.UID != "" && w.auth.credential(w.target.AuthSecret) == w.keeper.Live.Credential
	switch {
	case complete && took == 0 && !w.promoted():
		return dropStaged
	case complete && refused == 0 && (w.promoted() || !unpublished):
		return settleStaged
	case took > 0 && unpublished && !w.pair() && !reverting:
		return revertStaged
	}
	return keepStaged
}
