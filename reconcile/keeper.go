package reconcile

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
)

// KeeperSuffix follows the auth Secret's name in the name of its keeper.
const KeeperSuffix = "-keeper"

// Keeper is gitrota's own memory of one auth Secret: the write-ahead log of its rotations, stored as a Secret beside
// it which nobody else writes. At every instant, the password that a replica accepts is in here, whatever happens to
// the auth Secret. The zero value is the keeper of a database that was never rotated.
type Keeper struct {
	// Next is the credential that is being rotated to. It is here before any server knows it, and leaves only when it
	// has become Live or when every replica was asked and none accepts it.
	Next Entry
	// Live is the credential that every replica accepted when the last rotation ended; Previous the one before.
	Live     Entry
	Previous Entry
	// Retired is, of a pair of logins, the one that was switched away from, with the password that it was given for the
	// time in which nobody uses it. Dropped are the last credentials that no replica accepted when they were dropped, the
	// newest first: an agent that was stopped right before it set one of them can still do so where nothing else was set.
	Retired Entry
	Dropped [maxDropped]Entry
	// Record is the status of the request that Next belongs to; nil without a Next. It tells a restarted agent what it
	// was doing. Owner is whose request it is; see [Engine].
	Record *Status
	Owner  string
	// Journal holds the requests that have ended and that Git may not have; see journal.go.
	Journal []Ended
	// Restart lists the pods that ran with the old password when the new one was promoted, as name and UID. Nil: not
	// listed yet, and maybe not published.
	Restart map[string]string
	// Escrow is Next, encrypted for those who keep it; nil: nobody does. With the settling it comes into the status.
	Escrow []byte
	// Published is when Next was published.
	Published time.Time
	// Failure is why Next is being rolled back; nil: it is not.
	Failure *Failure
	// Repaired is what was found in the auth Secret in place of the credential that gitrota had published, and who wrote
	// it. It is published once more, and once only.
	Repaired *Overwrite
	// TryFirst names for a replica which of next and live a run begins with that does not know what the replica accepts.
	// It is written before such a login, as the one that is not tried: two runs in a row do not fail with the same.
	TryFirst map[string]string
	// History is the passwords that were live, Live's as the newest, as far back as the policy of the last rotation looks;
	// empty where it does not.
	History credential.History
	// Finished remembers which rotations ended, the newest last: none of them runs again, whatever becomes of Git.
	Finished []Finished
}

// Entry is a credential and the rotation that made it. The rotation id is empty for one that gitrota found.
type Entry struct {
	credential.Credential
	RotationID string
}

// Failure is why a rotation cannot go on.
type Failure struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Overwrite is a foreign write to an auth Secret.
type Overwrite struct {
	Version string `json:"version"` // of the Secret, as [Secret.version] gives it
	Writer  string `json:"writer"`
	// Mended: at rest, the credential that gitrota had published is published again. Again: that had been done before.
	Mended bool `json:"mended,omitempty"`
	Again  bool `json:"again,omitempty"`
}

// Finished is one ended rotation.
type Finished struct {
	ID      string    `json:"id"`
	Request string    `json:"request"` // namespace/name
	Phase   Phase     `json:"phase"`
	At      time.Time `json:"at"`
}

// maxDropped is how many dropped credentials are kept. An agent would have to sleep through as many failed rotations, none
// of which has set anything on a replica, before it could set there what the keeper has forgotten.
const maxDropped = 8

// maxFinished bounds Finished: at 150 bytes an entry, 2,000 of them stay well below the 1 MiB of a Secret.
const maxFinished = 2000

// finished looks a rotation id up.
func (k *Keeper) finished(id string) (Finished, bool) {
	for _, f := range k.Finished {
		if f.ID == id {
			return f, true
		}
	}
	return Finished{}, false
}

// retiring reports whether the password that the previous login of a pair is to be given has been made.
func (k *Keeper) retiring() bool {
	return k.Retired.Username == k.Live.Username && k.Retired.RotationID == k.Next.RotationID && k.Next.RotationID != ""
}

// settle makes the staged credential the live one. What was live goes into the history with it, in the same write: so
// every password that was live is there, also those from before there was a policy, and none that was not.
func (k *Keeper) settle(digestCost int, random io.Reader) error {
	history, err := k.history(k.Record.Request.passwordRules().Reuse, digestCost, random)
	if err != nil {
		return err
	}
	k.History = history
	k.Previous, k.Live = k.Live, k.Next
	k.clear()
	return nil
}

// history returns the history as it will be when the staged credential is live.
func (k *Keeper) history(keep, digestCost int, random io.Reader) (credential.History, error) {
	if keep == 0 {
		return nil, nil
	}
	history, behind := k.History, false
	for _, e := range []Entry{k.Previous, k.Live} {
		if e.IsZero() || !behind && history.Contains(e.Password) {
			continue
		}
		var err error
		if history, err = history.Add(e.Password, digestCost, random, keep); err != nil {
			return nil, err
		}
		behind = true // and what came later has to follow it
	}
	return history.Add(k.Next.Password, digestCost, random, keep)
}

// used reports whether a password is one of the last so many that were live. The two that the keeper holds itself are
// among them, should no policy have asked for a history until now.
func (k *Keeper) used(p credential.Password, last int) bool {
	for _, e := range []Entry{k.Live, k.Previous}[:min(last, 2)] {
		if e.Password == p && !p.IsZero() {
			return true
		}
	}
	return k.History.Last(last).Contains(p)
}

// drop puts the staged credential aside.
func (k *Keeper) drop() {
	copy(k.Dropped[1:], k.Dropped[:])
	k.Dropped[0] = k.Next
	k.clear()
}

func (k *Keeper) clear() {
	k.Owner, k.Escrow = "", nil
	k.Next, k.Record, k.Restart, k.TryFirst, k.Published, k.Failure, k.Repaired = Entry{}, nil, nil, nil, time.Time{}, nil, nil
}

// end puts a request that has ended into the keeper, and what its owner has to tell Git of it.
func (k *Keeper) end(owner string, s Status, now time.Time) {
	if !k.Next.IsZero() && k.Next.RotationID == s.Request.ID {
		record := s.clone() // it has failed, and left its credential staged
		k.Record = &record
	}
	_, before := k.finished(s.Request.ID)
	if _, kept := k.ended(s.Request.ID); kept || !before || len(s.Escrow) > 0 { // or Git has it, and how it ended is no news
		k.journal(owner, s, now)
	}
	k.remember(s, now)
}

// remember notes that a request has ended, once. Where there are too many, those that never began are forgotten first.
func (k *Keeper) remember(s Status, now time.Time) {
	if _, ok := k.finished(s.Request.ID); ok {
		return
	}
	k.Finished = append(slices.Clip(k.Finished), Finished{
		ID: s.Request.ID, Request: s.Request.Key(), Phase: s.Phase, At: now.UTC().Truncate(time.Second),
	})
	if len(k.Finished) > maxFinished {
		oldest := max(0, slices.IndexFunc(k.Finished, func(f Finished) bool { return f.Phase == PhaseDenied || f.Phase == PhaseSkipped }))
		k.Finished = slices.Delete(slices.Clone(k.Finished), oldest, oldest+1)
	}
}

// The keys of the keeper Secret. A person who has to recover by hand reads next.password, live.password and
// previous.password, so they are kept plain and few.
const (
	keyNext     = "next"
	keyLive     = "live"
	keyPrevious = "previous"
	keyRetired  = "retired"
	keyDropped  = "dropped"
	keyRecord   = "record"
	keyOwner    = "owner"
	keyJournal  = "journal"
	keyRestart  = "restart"
	keyTryFirst = "try-first"
	keyFinished = "finished"
	keyHistory  = "history"
	keyEscrow   = "escrow"

	keyPublished = "published"
	keyFailure   = "failure"
	keyRepaired  = "repaired"
)

// entries and values are where each key of the Secret is kept.
func (k *Keeper) entries() map[string]*Entry {
	all := map[string]*Entry{keyNext: &k.Next, keyLive: &k.Live, keyPrevious: &k.Previous, keyRetired: &k.Retired}
	for i := range k.Dropped {
		all[keyOfDropped(i)] = &k.Dropped[i]
	}
	return all
}

// keyOfDropped names the credentials that were dropped: dropped, dropped-2 and so on.
func keyOfDropped(i int) string {
	if i == 0 {
		return keyDropped
	}
	return fmt.Sprintf("%s-%d", keyDropped, i+1)
}

func (k *Keeper) values() map[string]any {
	return map[string]any{
		keyRecord: &k.Record, keyOwner: &k.Owner, keyJournal: &k.Journal, keyRestart: &k.Restart, keyTryFirst: &k.TryFirst, keyFinished: &k.Finished, keyHistory: &k.History, keyEscrow: &k.Escrow,
		keyPublished: &k.Published, keyFailure: &k.Failure, keyRepaired: &k.Repaired,
	}
}

// data writes the keeper as the data of a Secret.
func (k *Keeper) data() (map[string]credential.Password, error) {
	data := map[string]credential.Password{}
	for name, e := range k.entries() {
		if e.IsZero() {
			continue
		}
		data[name+".username"] = credential.NewPassword(e.Username)
		data[name+".password"] = e.Password
		data[name+".rotation-id"] = credential.NewPassword(e.RotationID)
	}
	for name, value := range k.values() {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encoding the keeper's %s: %w", name, err)
		}
		data[name] = credential.NewPassword(string(text))
	}
	return data, nil
}

// readKeeper is the inverse of data. It refuses what it does not understand rather than start from nothing, for what
// looks empty might hold the only copy of a password.
func readKeeper(data map[string]credential.Password) (Keeper, error) {
	var k Keeper
	for name, e := range k.entries() {
		e.Username = data[name+".username"].Reveal()
		e.Password = data[name+".password"]
		e.RotationID = data[name+".rotation-id"].Reveal()
		if (e.Username == "") != e.Password.IsZero() {
			return Keeper{}, fmt.Errorf("it holds half a credential: %s.username and %s.password belong together", name, name)
		}
	}
	for name, value := range k.values() {
		text := data[name].Reveal()
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), value); err != nil {
			return Keeper{}, fmt.Errorf("its key %s cannot be read: %w", name, err)
		}
	}
	if !k.Next.IsZero() && (k.Record == nil || k.Record.Request.ID != k.Next.RotationID) {
		return Keeper{}, fmt.Errorf("its staged credential has no record of the request that it belongs to")
	}
	return k, nil
}
