package reconcile

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gitrota/gitrota/reconcile/fault"
)

// The journal of a keeper is what was done to its database and may not be in Git yet: the last statuses of requests that
// have ended, in the order in which they did. An entry is written with the act that it is about, in one conditional
// write of the keeper, so that there is never one without the other, however long Git is away and whenever the agent is
// killed. It leaves with the next write of the keeper after Git has it, which costs the cluster nothing; the newest one
// stays, should somebody delete its status file. The keeper is where the journal is, because every other place would
// need a write of its own, which could be lost alone.
//
// Requests that ended without any act, such as those that were denied, are not in here. Their manifests say it all, and
// they are judged anew from them; where the manifest is gone, nobody asks for anything.

// Ended is an entry of the journal.
type Ended struct {
	Owner  string    `json:"owner"` // whose repository has to hear of it; see [Engine]
	At     time.Time `json:"at"`    // when it ended, or when something was added to an earlier end
	Status Status    `json:"status"`
	Short  bool      `json:"short,omitempty"` // its details had to make room
}

// maxJournal bounds the journal of one keeper, in bytes of JSON. Together with the ids of the requests that have ended
// and the record of the one that runs it stays below the 1 MiB of a Secret. About 60 entries have room as a whole, and
// 400 without their details; of more, only [Finished] knows.
const maxJournal = 384 << 10

// maxRequest bounds a request with its status when it begins, in bytes of JSON. Its record takes this and some more of
// the keeper, twice for a moment.
const maxRequest = 64 << 10

func requestFits(w world) *fault.Error {
	text, err := json.Marshal(w.status)
	if err == nil && len(text) <= maxRequest {
		return nil
	}
	return fault.New(fault.Refuse, ReasonRequestTooLarge, "take out of its annotations what is about something else",
		"the request is too long to be kept in the cluster while it runs: %d bytes, and %d are the limit", len(text), maxRequest)
}

// journal adds an entry, or to the one of the same request what happened after its end.
func (k *Keeper) journal(owner string, s Status, now time.Time) {
	k.Journal = slices.Clone(k.Journal)
	for i, e := range k.Journal {
		if e.Status.Request.ID == s.Request.ID {
			k.Journal[i].Status = upheld(e.Status, s)
			return
		}
	}
	if before, ended := k.finished(s.Request.ID); ended && before.Phase != s.Phase {
		return // it ended in another way
	}
	k.Journal = append(k.Journal, Ended{Owner: owner, At: now.UTC(), Status: s.clone()})
}

// ended looks up the journal's entry of a rotation.
func (k *Keeper) ended(id string) (Ended, bool) {
	i := slices.IndexFunc(k.Journal, func(e Ended) bool { return e.Status.Request.ID == id })
	if i < 0 {
		return Ended{}, false
	}
	return k.Journal[i], true
}

// prune takes out what Git has, except for the newest entry. What another owner wrote is not this one's to judge.
func (k *Keeper) prune(owner string, told func(Request) Status) {
	var kept []Ended
	for i, e := range k.Journal {
		git := told(e.Status.Request)
		if i == len(k.Journal)-1 || e.Owner != owner || !covers(git, upheld(git, e.Status)) {
			kept = append(kept, e)
		}
	}
	k.Journal = kept
}

// fit makes the journal small enough: the oldest entries lose their details first, and then themselves.
func (k *Keeper) fit() error {
	size := func(e Ended) (int, error) {
		text, err := json.Marshal(e)
		if err != nil {
			return 0, fmt.Errorf("encoding the journal: %w", err)
		}
		return len(text) + 1, nil
	}
	total, sizes := 0, make([]int, len(k.Journal))
	for i, e := range k.Journal {
		n, err := size(e)
		if err != nil {
			return err
		}
		sizes[i], total = n, total+n
	}
	if total <= maxJournal {
		return nil
	}
	k.Journal = slices.Clone(k.Journal)
	for i := 0; i < len(k.Journal) && total > maxJournal; i++ {
		k.Journal[i] = k.Journal[i].shortened()
		n, err := size(k.Journal[i])
		if err != nil {
			return err
		}
		total -= sizes[i] - n
		sizes[i] = n
	}
	for len(k.Journal) > 0 && total > maxJournal {
		total -= sizes[0]
		k.Journal, sizes = k.Journal[1:], sizes[1:]
	}
	return nil
}

// shortened returns the entry with who asked for what, how it ended, why, and when it began and ended.
func (e Ended) shortened() Ended {
	if e.Short {
		return e
	}
	s := e.Status.clone()
	manifest := map[string]any{}
	for _, key := range []string{"apiVersion", "kind", "spec"} {
		if value, ok := s.Request.Manifest[key]; ok {
			manifest[key] = value
		}
	}
	s.Request.Manifest, s.Request.Password, s.Conditions = manifest, nil, nil
	for i, c := range e.Status.Conditions {
		last := c.Type == string(s.Phase)
		if i > 0 && !last {
			continue
		}
		c.Message = ""
		if last {
			c.Message = "Git was away for so long that there was no room for the details of this request"
		}
		s.Conditions = append(s.Conditions, c)
	}
	e.Status, e.Short = s, true
	return e
}

// covers reports whether a status that Git has says all that s says, or something later about it.
func covers(git, s Status) bool {
	if git.Request.ID != s.Request.ID || git.Phase != s.Phase || len(git.Escrow) == 0 && len(s.Escrow) > 0 {
		return false
	}
	for _, c := range s.Conditions {
		if !slices.ContainsFunc(git.Conditions, func(g Condition) bool {
			return g.Type == c.Type && !g.LastTransitionTime.Before(c.LastTransitionTime)
		}) {
			return false
		}
	}
	return true
}
