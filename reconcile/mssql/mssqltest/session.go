package mssqltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// firstSessionID is that of the first user session; those below belong to the server.
const firstSessionID = 51

// A session is a login that was let in. It stays who it is whatever becomes of its password.
type session struct {
	server  *Server
	realm   // where its login is kept
	conn    *tds.Conn
	id      int
	hello   tds.Login // what it said when it came in
	client  client
	loginID int
	login   string // the login's name when it came in
	home    string // the database it came in to
	since   time.Time

	ctx    context.Context // ends when the connection does, or with KILL
	cancel context.CancelFunc

	tx *transaction // nil outside of one

	mu        sync.Mutex // guards what other sessions look at
	database  string
	running   bool
	lastBegin time.Time
	inTx      bool
}

// A transaction keeps what a session has changed since BEGIN TRANSACTION.
type transaction struct {
	id     uint64
	depth  int
	change *change // nil as long as nothing was written
}

// errDropped ends a session without an answer.
var errDropped = errors.New("the connection is dropped")

// begin opens a session for l, in the database that it asked for.
func (s *Server) begin(conn *tds.Conn, request tds.Login, from client, where realm, l *login) (*session, *refusal) {
	name := request.Database
	if name == "" {
		name = l.DefaultDatabase
	}
	if refused := s.closed(name); refused != nil {
		return nil, refused
	}
	id, database := where.master.read().database(name)
	if id == 0 {
		return nil, &refusal{18456, 38, fmt.Sprintf("Failed to open the explicitly specified database '%s'.", name),
			tsql.Errorf(4060, 11, "Cannot open database \"%s\" requested by the login. The login failed.", name)}
	}
	request.Password, request.NewPassword = "", "" // they have done what they are for
	session := &session{server: s, realm: where, conn: conn, hello: request, client: from, loginID: l.ID, login: l.Name,
		home: database, database: database, since: s.now(), lastBegin: s.now()}
	session.ctx, session.cancel = context.WithCancel(s.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	session.id = firstSessionID
	for s.sessions[session.id] != nil {
		session.id++
	}
	s.sessions[session.id] = session
	conn.SetSPID(uint16(session.id))
	return session, nil
}

// end closes a session and undoes what it has not committed.
func (s *Server) end(session *session) {
	session.cancel()
	session.rollback()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session.id)
}

func (s *Server) openSessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// run executes the session's requests, one after the other, until the connection ends.
func (s *session) run(raw net.Conn) {
	stop := context.AfterFunc(s.ctx, func() { raw.Close() }) // KILL
	defer stop()
	requests := make(chan request)
	s.server.running.Go(func() { s.read(requests) })
	for r := range requests {
		if err := s.handle(r); err != nil {
			s.server.options.Log.Debug("session ended", "session", s.id, "login", s.login, "err", err)
			s.cancel()
			return
		}
	}
}

// A request is a message, in a context that ends when the client cancels it.
type request struct {
	tds.Message
	ctx context.Context
}

// read passes on what the client sends. It is a goroutine of its own, so that a client can cancel what is running.
func (s *session) read(requests chan<- request) {
	defer close(requests)
	defer s.cancel()
	cancelLast := func() {}
	for {
		m, err := s.conn.Read()
		if err != nil {
			return
		}
		if m.Type == tds.PacketAttention {
			cancelLast()
		}
		ctx, cancel := context.WithCancel(s.ctx)
		select {
		case requests <- request{m, ctx}: // the one before has been answered
			cancelLast()
			cancelLast = cancel
		case <-s.ctx.Done():
			cancel()
			return
		}
	}
}

// handle executes a request and answers it; after an error the session ends.
func (s *session) handle(r request) error {
	if r.Type == tds.PacketAttention {
		return s.conn.Reply(tds.Attention())
	}
	s.busy(true)
	defer s.busy(false)

	var answer tds.Response
	if r.Reset {
		s.reset(&answer)
	}
	if err := s.respond(r, &answer); err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	if r.ctx.Err() != nil {
		return nil // cancelled by the client: the attention that comes next has the answer
	}
	answer.Finish()
	return s.conn.Reply(answer.Bytes())
}

// busy notes for other sessions whether a request runs.
func (s *session) busy(running bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = running
	if running {
		s.lastBegin = s.server.now()
	}
}

// respond writes the answer to r.
func (s *session) respond(r request, answer *tds.Response) error {
	switch r.Type {
	case tds.PacketBatch:
		text, err := tds.ParseBatch(r.Data)
		if err != nil {
			return err
		}
		return s.execution(r.ctx, answer).batch(text)
	case tds.PacketRPC:
		call, err := tds.ParseRPC(r.Data)
		if err != nil {
			return s.badStream(err)
		}
		return s.execution(r.ctx, answer).call(call)
	case tds.PacketTransaction:
		asked, err := tds.ParseTransaction(r.Data)
		if err != nil {
			return err
		}
		return s.transact(r.ctx, asked, answer)
	default:
		return fmt.Errorf("message of type %#x is not served", r.Type)
	}
}

// badStream tells the client that its request cannot be read, and ends the session.
func (s *session) badStream(err error) error {
	var answer tds.Response
	e := tsql.Errorf(8009, severe, "The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is incorrect: %s.", err)
	answer.Notice(s.server.notice(e))
	answer.Done(true)
	answer.Finish()
	return errors.Join(err, s.conn.Reply(answer.Bytes()))
}

// reset makes the session as it was after its login, for a pool that hands the connection out again.
func (s *session) reset(answer *tds.Response) {
	s.rollback()
	s.use(s.home)
	answer.WasReset()
}

func (s *session) use(database string) (old string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, s.database = s.database, database
	return old
}

// currentDatabase is read by other sessions, too.
func (s *session) currentDatabase() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.database
}

func (s *session) changedDatabase() tds.Notice {
	return tds.Notice{Number: 5701, State: 2, Class: 0, Server: s.server.options.ServerName, Line: 1,
		Text: fmt.Sprintf("Changed database context to '%s'.", s.currentDatabase())}
}

// catalog is what the session sees: what is committed, and what it has changed itself.
func (s *session) catalog() *catalog {
	if s.tx != nil && s.tx.change != nil {
		return s.tx.change.catalog
	}
	return s.master.read()
}

// self is the session's login as it is now; nil where it was dropped.
func (s *session) self() *login { return s.principalIn(s.catalog()) }

// principalIn is who the session is in a catalog, which may be about to be changed.
func (s *session) principalIn(c *catalog) *login {
	if d := c.find(s.userOf); d != nil {
		return byID(d.Users, s.loginID)
	}
	return c.loginByID(s.loginID)
}
