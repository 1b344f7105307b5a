package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gitrota/gitrota/reconcile"
)

// SyncPath is where the agent's HTTP listener is asked to poll at once, with POST, and how far it got, with GET.
const SyncPath = "/-/sync"

// Ticket is the answer to a POST.
type Ticket struct {
	Run  string    `json:"run"`  // names this run of the agent: a ticket is good for no other
	Poll int       `json:"poll"` // the first poll that begins after the request
	Time time.Time `json:"time"` // of the request, by the agent's clock
}

// Progress is the answer to a GET with the query of [Ticket.Query].
type Progress struct {
	Run      string `json:"run"`
	Read     bool   `json:"read"`               // the ticket's poll, or a later one, has read the repository
	Trouble  string `json:"trouble,omitempty"`  // why not, as far as it is known
	Revision string `json:"revision,omitempty"` // the commit that was read last
	// Contains says whether that revision is the commit that was asked about or has it among its ancestors. It is only
	// known when Read is set and Trouble is not.
	Contains bool                 `json:"contains"`
	Requests []reconcile.Standing `json:"requests,omitempty"` // as [reconcile.Controller.Standings] chooses them
	Problems []string             `json:"problems,omitempty"` // of manifests, that belong to no request
	// Settled says that every request of that revision has ended or waits for something from outside, and that Git has
	// all statuses.
	Settled bool `json:"settled"`
}

// Query is what to ask with, after a question mark, to follow a commit, a full hash.
func (t Ticket) Query(commit string) string {
	return fmt.Sprintf("poll=%d&since=%d&commit=%s", t.Poll, t.Time.Unix(), commit)
}

// progress is what the loop tells those who wait. It is safe for concurrent use.
type progress struct {
	run     string
	history interface {
		Contains(ctx context.Context, revision, commit string) (bool, error)
	}
	controller *reconcile.Controller
	hint       func()

	mu       sync.Mutex
	begun    int    // polls
	read     int    // the last poll that succeeded and that all below is of
	revision string // "" before the first
	unsaved  bool   // Git lacks something
	problems []string
	trouble  string

	asking   sync.Mutex // held while history is asked: one question at a time
	answered struct {
		revision, commit string
		contains         bool
	}
}

// begin notes that a poll begins, and returns its number.
func (p *progress) begin() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun++
	return p.begun
}

// failed notes that a poll did not succeed.
func (p *progress) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = err.Error()
}

// settle notes what a turn of the loop has left, after the poll of that number was the last that succeeded.
func (p *progress) settle(poll int, revision string, unsaved bool, problems []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if poll == p.begun {
		p.trouble = ""
	}
	p.read, p.revision, p.unsaved, p.problems = poll, revision, unsaved, problems
}

// register adds the endpoint.
func (p *progress) register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+SyncPath, func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		ticket := Ticket{Run: p.run, Poll: p.begun + 1, Time: time.Now()}
		p.mu.Unlock()
		p.hint()
		reply(w, http.StatusAccepted, ticket)
	})
	mux.HandleFunc("GET "+SyncPath, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		poll, err := strconv.Atoi(query.Get("poll"))
		since, sinceErr := strconv.ParseInt(query.Get("since"), 10, 64)
		if err != nil || sinceErr != nil {
			http.Error(w, "ask with the poll and since of a ticket, which POST returns", http.StatusBadRequest)
			return
		}
		reply(w, http.StatusOK, p.of(r.Context(), poll, time.Unix(since, 0), query.Get("commit")))
	})
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func (p *progress) of(ctx context.Context, poll int, since time.Time, commit string) Progress {
	p.mu.Lock()
	now := Progress{Run: p.run, Read: p.read >= poll, Trouble: p.trouble, Revision: p.revision, Problems: p.problems}
	unsaved := p.unsaved
	p.mu.Unlock()
	if !now.Read {
		return now
	}
	now.Contains = true
	if commit != "" {
		var err error
		if now.Contains, err = p.contains(ctx, now.Revision, commit); err != nil {
			now.Trouble = err.Error()
			return now
		}
	}
	now.Trouble = ""
	now.Requests = p.controller.Standings(since, commit)
	now.Settled = !unsaved
	for _, r := range now.Requests {
		now.Settled = now.Settled && r.Settled
	}
	return now
}

// askFor bounds a look into the history, so that the answer comes before the listener closes the connection.
const askFor = 20 * time.Second

// contains remembers its last answer: whoever waits asks it again and again.
func (p *progress) contains(ctx context.Context, revision, commit string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	p.asking.Lock()
	defer p.asking.Unlock()
	if p.answered.revision == revision && p.answered.commit == commit {
		return p.answered.contains, nil
	}
	contains, err := p.history.Contains(ctx, revision, commit)
	if err == nil {
		p.answered.revision, p.answered.commit, p.answered.contains = revision, commit, contains
	}
	return contains, err
}
