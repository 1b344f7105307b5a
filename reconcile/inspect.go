package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// TypeDrifted says that a server had another password for the login than everybody reads, and what was done about it.
// False, once it has the right one again.
const TypeDrifted = "ServerPasswordDrifted"

// ReasonDrifted is its reason.
const ReasonDrifted = "ServerPasswordDrifted"

// inspection is what one server says of the live credential.
type inspection struct {
	replica Replica
	session Session // an administrator's, who may put the live password back; nil: there is none
	hash    mssql.Hash
	found   string // the keeper's key of the password that it has instead; empty: none that the keeper holds, as far as is known
}

// inspect asks every server, at rest, whether it accepts the live credential. What cannot be asked now is asked another
// time. A login that an administrator changes, and of which a server has an older password that the keeper holds, is
// given the live one: everybody reads that. Any other password is somebody's own doing and is reported. A login that
// changes itself and is refused is not tried again as long as the status says so: nobody is locked out by asking.
func (r *rotation) inspect(ctx context.Context, w world) error {
	known := r.status.Has(TypeDrifted)
	replicas, err := r.patrolled(ctx, &w)
	if err != nil || known && w.admin.IsZero() {
		return err
	}
	var drifted []inspection
	for _, replica := range replicas {
		found, err := r.inspectReplica(ctx, w, replica)
		if err != nil {
			r.Log.Debug("a server could not be asked for its password", "replica", replica.Name, "error", err)
			continue
		}
		if found != nil {
			drifted = append(drifted, *found)
		}
	}
	defer func() {
		for _, d := range drifted {
			if d.session != nil {
				d.session.Close()
			}
		}
	}()
	if len(drifted) == 0 {
		if known {
			r.status.set(Condition{Type: TypeDrifted, Status: "False", Reason: ReasonDrifted, Message: "every server that could be asked accepts the live credential"}, r.Clock.Now())
		}
		return nil
	}
	var said []string
	for _, d := range drifted {
		said = append(said, d.message(w))
	}
	mendable := slices.ContainsFunc(drifted, inspection.mendable)
	if known && !mendable {
		return nil // it has been said
	}
	r.status.set(Condition{Type: TypeDrifted, Status: "True", Reason: ReasonDrifted, Message: strings.Join(said, "; ")}, r.Clock.Now())
	keeper := w.keeper
	keeper.journal(r.Owner, r.status, r.Clock.Now())
	if err := r.keep(ctx, keeper); err != nil { // what is done is on record before
		return err
	}
	for _, d := range drifted {
		if !d.mendable() {
			continue
		}
		if err := r.confirm(ctx); err != nil {
			return err
		}
		if err := d.session.SetPassword(ctx, mssql.Change{Login: w.keeper.Live.Username, Next: w.keeper.Live.Password, If: d.hash}); err != nil {
			return err
		}
	}
	r.Log.Warn("a server had another password than the auth Secret", "secret", w.auth, "what", strings.Join(said, "; "))
	return nil
}

// inspectReplica asks one server; nil: it accepts the live credential.
func (r *rotation) inspectReplica(ctx context.Context, w world, replica Replica) (*inspection, error) {
	live := w.keeper.Live.Credential
	found := &inspection{replica: replica}
	if w.admin.IsZero() {
		session, err := r.Servers.Open(ctx, replica.Endpoint, live)
		if reasonOf(err) == mssql.ReasonRefusedLogin {
			return found, nil
		}
		if err == nil {
			session.Close()
		}
		return nil, err
	}
	session, err := r.Servers.Open(ctx, replica.Endpoint, w.admin)
	if err != nil {
		return nil, err
	}
	keys, passwords := w.keeper.passwordsOf(live.Username)
	accepted, hash, err := session.Accepts(ctx, live.Username, passwords...)
	if err != nil || accepted[0] {
		session.Close()
		if errors.Is(err, mssql.ErrCannotCompare) {
			err = nil // a login would tell, and count as a failed one where it is refused
		}
		return nil, err
	}
	found.session, found.hash = session, hash
	for i, is := range accepted {
		if is {
			found.found = keys[i]
		}
	}
	return found, nil
}

// passwordsOf returns the passwords of a login that the keeper holds, with their keys; the live one comes first.
func (k *Keeper) passwordsOf(login string) (keys []string, passwords []credential.Password) {
	entries := k.entries()
	names := []string{keyLive, keyPrevious, keyRetired}
	for i := range k.Dropped {
		names = append(names, keyOfDropped(i))
	}
	for _, key := range names {
		if e := entries[key]; e.Username == login {
			keys, passwords = append(keys, key), append(passwords, e.Password)
		}
	}
	return keys, passwords
}

func (i inspection) mendable() bool { return i.found != "" && !i.hash.IsZero() }

func (i inspection) message(w world) string {
	name := i.replica.Name + " refuses the live password of " + fmt.Sprintf("%q", w.keeper.Live.Username)
	switch {
	case i.mendable():
		return fmt.Sprintf("%s and had %s.password of the Secret %s/%s%s; gitrota puts the live one back", name, i.found, w.auth.Namespace, w.auth.Name, KeeperSuffix)
	case i.session == nil:
		return fmt.Sprintf("%s: see whether it accepts another password of the Secret %s/%s%s, and set the live one there; it is not asked again until the next rotation", name, w.auth.Namespace, w.auth.Name, KeeperSuffix)
	}
	return fmt.Sprintf("%s, and none that gitrota knows: somebody has changed it there; write what it accepts into the auth Secret, or set the live one there", name)
}
