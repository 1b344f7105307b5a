package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// server is what a run knows of one replica beyond what it reads anew each time: its session, and what only a login
// could tell.
type server struct {
	session Session // nil: none is open
	spare   Session // a second one, for the change itself; nil after its use, or if it could not be had
	login   credential.Credential
	last    credential.Credential // what the login's credential was when the server last told
	facts   mssql.Facts

	refused      map[credential.Credential]bool // never tried twice
	raced        bool                           // a refusal was put down to another agent
	expired      bool                           // the live password is right, but has to be changed
	verified     bool
	takenOver    bool // older sessions of other processes were ended
	alone        bool // it is no member of an availability group, and will not become one
	unproven     bool // that the previous credential is refused
	acknowledged bool // the server says that it has changed the password; no login has proven it yet
	// What follows is of a server that cannot compare. took is what is known of the staged credential, by a login or, if it
	// is only acknowledged, by an ALTER.
	took       answer
	tried      bool // a login with it was refused
	retired    bool // the server has acknowledged the retired password in this run
	withoutOld bool // it does not know OLD_PASSWORD
}

// of returns what is known of a replica.
func (r *rotation) of(replica Replica) *server {
	s := r.servers[replica.UID]
	if s == nil {
		s = &server{refused: map[credential.Credential]bool{}}
		r.servers[replica.UID] = s
	}
	return s
}

// hangUp ends the sessions, and keeps what is known.
func (s *server) hangUp() {
	if s.session != nil {
		s.session.Close()
	}
	if s.spare != nil {
		s.spare.Close()
	}
	s.session, s.spare = nil, nil
}

func (r *rotation) closeSessions() {
	for _, s := range r.servers {
		s.hangUp()
	}
}

// askTimeout bounds a question on an open session; a server that takes longer is as good as gone.
const askTimeout = 10 * time.Second

// ask fills in what a replica says of itself, if a session to it is open.
func (r *rotation) ask(ctx context.Context, w *world, state replica) (replica, error) {
	s := r.of(state.Replica)
	state.verified, state.unproven, state.expired = s.verified, s.unproven, s.expired
	if s.expired && s.session == nil {
		state.next, w.live = no, s.login // which it accepts, if it is changed by that
	}
	if s.session == nil {
		return state, nil
	}
	if state.Ending || state.Endpoint.Address == "" {
		s.hangUp()
		return state, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := s.compare(ctx, w.keeper, &state)
	if errors.Is(err, mssql.ErrCannotCompare) {
		s.recall(&state)
	} else if err != nil {
		r.lose(state.Replica, err)
		return state, nil
	}
	state.connected = true
	s.last = credential.Credential{}
	switch {
	case w.keeper.Next.IsZero():
	case state.next == yes:
		s.last = w.keeper.Next.Credential
	case state.next == no:
		s.last = w.keeper.Live.Credential
	}
	if w.admin.IsZero() {
		w.live = s.login
	} else if w.keeper.Next.IsZero() {
		err := r.findLive(ctx, w, s, state)
		if err != nil && fault.As(err).Class == fault.Retry {
			r.lose(state.Replica, err)
			state.connected, state.next = false, unknown
			return state, nil
		}
		return state, err
	}
	return state, nil
}

// compare asks on the open session which of the keeper's passwords are in force. The keeper was read before: what a
// server says of itself is never older than what is made of it.
func (s *server) compare(ctx context.Context, k Keeper, state *replica) (err error) {
	if state.next = no; k.Next.IsZero() {
		return nil
	}
	if state.next, state.hash, err = s.accepts(ctx, k.Next.Credential); err == nil && k.retiring() {
		state.retired, state.retiredHash, err = s.accepts(ctx, k.Retired.Credential)
	}
	state.acknowledged = s.acknowledged && state.next == yes
	return err
}

// recall fills in what is known without asking.
func (s *server) recall(state *replica) {
	state.next, state.acknowledged, state.tried = s.took, s.acknowledged, s.tried
	if state.retired = no; s.retired {
		state.retired = yes
	}
}

// accepts asks on an open session whether a credential is in force.
func (s *server) accepts(ctx context.Context, c credential.Credential) (answer, mssql.Hash, error) {
	accepted, hash, err := s.session.Accepts(ctx, c.Username, c.Password)
	switch {
	case err != nil:
		return unknown, mssql.Hash{}, err
	case accepted[0]:
		return yes, hash, nil
	}
	return no, hash, nil
}

// findLive finds out, as the administrator, which credential is the live one. Every replica has to agree.
func (r *rotation) findLive(ctx context.Context, w *world, s *server, state replica) error {
	candidates := knownLive(*w)
	for _, c := range candidates {
		is, _, err := s.accepts(ctx, c)
		if errors.Is(err, mssql.ErrCannotCompare) {
			is, err = yes, nil // the first is what clients use; whether it is right, they would know
		}
		if err != nil {
			return err
		}
		if is == yes && (w.live.IsZero() || w.live == c) {
			w.live = c
			return nil
		}
	}
	return fault.New(fault.Stop, mssql.ReasonRefusedLogin, "write the credential that the server accepts into the auth Secret, and add a new request",
		"%s has another password for %q than the Secret %s/%s holds", state.Name, w.auth.credential(w.target.AuthSecret).Username, w.target.Namespace, w.target.AuthSecret.Name)
}

// groupOf asks for the availability group.
func (r *rotation) groupOf(ctx context.Context, s *server) (mssql.Group, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return s.session.Group(ctx)
}

// lose gives a session up that does not answer any more.
func (r *rotation) lose(replica Replica, err error) {
	r.Log.Info("a session was lost", "replica", replica.Name, "error", err)
	r.of(replica).hangUp()
	a := r.attempts[sessionLost(replica.Name)]
	if a == nil {
		a = &attempt{began: r.Clock.Now()}
		r.attempts[sessionLost(replica.Name)] = a
	}
	a.last = fault.As(err)
	a.count(a.last)
}

// knownLive lists what may be the live credential before anything is staged, the likeliest first: the keeper's is what
// every replica accepted last, the auth Secret is shared ground, and another agent may have applied what was dropped. An
// administrator asks for all of that; where each has to be tried by a login, the newest is enough.
func knownLive(w world) []credential.Credential {
	list := []credential.Credential{w.keeper.Live.Credential, w.auth.credential(w.target.AuthSecret)}
	for i, e := range w.keeper.Dropped {
		if i == 0 || !w.admin.IsZero() {
			list = append(list, e.Credential)
		}
	}
	return distinct(list)
}

// candidates lists the credentials that may open a replica, the likeliest first.
func candidates(w world, replica string) []credential.Credential {
	next, live := w.keeper.Next.Credential, w.keeper.Live.Credential
	switch {
	case !w.admin.IsZero():
		return []credential.Credential{w.admin}
	case next.IsZero():
		return knownLive(w)
	case w.promoted(), w.keeper.TryFirst[replica] == keyNext:
		return []credential.Credential{next, live}
	}
	return []credential.Credential{live, next}
}

// distinct drops what is empty, and what was there before.
func distinct(list []credential.Credential) []credential.Credential {
	var kept []credential.Credential
	for _, c := range list {
		if !c.IsZero() && !slices.Contains(kept, c) {
			kept = append(kept, c)
		}
	}
	return kept
}

// connect opens a session on a replica with the first credential that it accepts. A refused credential is not tried a
// second time, so that a rotation costs a replica one failed login at most where the keeper is true.
func (r *rotation) connect(ctx context.Context, w world, s step) error {
	replica := w.replica(s.target)
	known := r.of(replica.Replica)
	logins := candidates(w, replica.Name)
	if slices.Contains(logins, known.last) {
		logins = distinct(append([]credential.Credential{known.last}, logins...))
	}
	inDoubt := len(logins) > 1 && !w.keeper.Next.IsZero() && !w.promoted()
	if inDoubt && len(known.refused) == 0 {
		// Only a login can tell which of the two it is, and it may be refused. Should this run die of it, the next one
		// begins with the other.
		if err := r.noteFirst(ctx, &w, replica.Name, logins[1]); err != nil {
			return err
		}
	}
	for _, login := range logins {
		if known.refused[login] {
			continue
		}
		session, err := r.Servers.Open(ctx, replica.Endpoint, login)
		switch reason := reasonOf(err); {
		case err == nil:
			if inDoubt {
				// The session is worth more than the note, which helps a run that has none.
				_ = r.noteFirst(ctx, &w, replica.Name, login)
			}
			return r.greet(ctx, w, replica, session, login)
		case reason == mssql.ReasonExpired && w.admin.IsZero() && login != w.keeper.Next.Credential:
			// The password is right. It can be changed by the login itself, and by nothing else.
			known.expired, known.login = true, login
			return nil
		case reason != mssql.ReasonRefusedLogin:
			return err
		}
		known.refused[login] = true
	}
	if !known.raced {
		// Another agent may have staged or changed the password since the world was read. What is known by now is looked
		// at once more; a credential that was refused is asked again only if it is one of two of which one must be right.
		known.raced = true
		if len(logins) > 1 && !w.keeper.Next.IsZero() {
			clear(known.refused)
		}
		return fmt.Errorf("%s refused every credential: %w", replica.Name, ErrConflict)
	}
	if !w.admin.IsZero() {
		return fault.New(fault.Stop, mssql.ReasonRefusedLogin, "correct it, then add a new request",
			"%s refused the administrator's login %q (error 18456): the Secret %s/%s does not hold its password; it was tried once and will not be tried again",
			replica.Name, w.admin.Username, w.target.Namespace, w.target.Admin.Name)
	}
	return fault.New(fault.Stop, mssql.ReasonRefusedLogin,
		"find the password that the server accepts, put it into the auth Secret, and add a new request",
		"%s refused the login of %q with every credential that gitrota knows (error 18456): the Secret %s/%s does not hold the password that the server has; it was tried once and will not be tried again",
		replica.Name, w.auth.credential(w.target.AuthSecret).Username, w.target.Namespace, w.target.AuthSecret.Name)
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.As(err).Reason
}

// noteFirst remembers which of two credentials a replica is to be tried with first, by a run that finds no session.
func (r *rotation) noteFirst(ctx context.Context, w *world, replica string, first credential.Credential) error {
	key := keyLive
	if first == w.keeper.Next.Credential {
		key = keyNext
	}
	if w.keeper.TryFirst[replica] == key {
		return nil
	}
	keeper := w.keeper
	keeper.TryFirst = maps.Clone(keeper.TryFirst)
	if keeper.TryFirst == nil {
		keeper.TryFirst = map[string]string{}
	}
	keeper.TryFirst[replica] = key
	if err := r.keep(ctx, keeper); err != nil {
		return err
	}
	w.keeper = keeper
	return nil
}

// greet takes a new session over: it asks what the server is and can.
func (r *rotation) greet(ctx context.Context, w world, replica replica, session Session, login credential.Credential) error {
	facts, err := session.Facts(ctx, w.loginToChange())
	if err != nil {
		session.Close()
		return err
	}
	s := r.of(replica.Replica)
	s.hangUp()
	s.session, s.login, s.facts, s.expired = session, login, facts, false
	if !w.keeper.Next.IsZero() && w.keeper.Next.Credential != r.staged && !s.takenOver {
		// Another process has staged this, and may still be there, stopped, with a session open. Once is enough: two agents
		// that are both awake would end each other's sessions in turn.
		s.takenOver = true
		if ended, err := session.EndOlder(ctx); ended > 0 || err != nil {
			r.Log.Info("older sessions of gitrota were ended", "replica", replica.Name, "sessions", ended, "error", err)
		}
	}
	if w.admin.IsZero() && login != w.keeper.Next.Credential {
		// The change will want a session of its own. Opened now, it cannot be refused because somebody was quicker.
		s.spare, _ = r.Servers.Open(ctx, replica.Endpoint, login)
	}
	if w.admin.IsZero() {
		s.proved(login == w.keeper.Next.Credential)
	}
	return nil
}

// proved notes what a login has told of the staged credential, for a server that cannot compare.
func (s *server) proved(took bool) {
	s.acknowledged, s.took = false, no
	if took {
		s.took, s.tried = yes, false
	}
}
