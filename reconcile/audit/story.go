package audit

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitrota/gitrota/reconcile"
)

// Story is what Git tells of one database. Nothing of it is verified: that is [Verify].
type Story struct {
	Database string    `json:"database"` // namespace/name
	Tip      string    `json:"tip"`      // the commit up to which it goes
	Requests []Chapter `json:"requests"` // in the order in which they were first written down
}

// Chapter is one request: who asked, what became of it, and where that is written.
type Chapter struct {
	Request   string    `json:"request"` // namespace/name
	Kind      string    `json:"kind"`
	ID        string    `json:"rotationId,omitempty"`
	Phase     string    `json:"phase"`
	Source    Source    `json:"source"`
	Approvals []string  `json:"approvals,omitempty"` // as the trailers of the status commits say
	Began     time.Time `json:"began,omitzero"`      // when it was taken up; zero: it was not, or not yet
	Ended     time.Time `json:"ended,omitzero"`      // zero: it has not
	Remarks   []Remark  `json:"remarks,omitempty"`
	Commits   []Record  `json:"commits"`           // that wrote its status, the oldest first
	Deleted   bool      `json:"deleted,omitempty"` // somebody has removed the status file since
}

// Source is the commit that brought a request.
type Source struct {
	Commit  string    `json:"commit,omitempty"`
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time,omitzero"` // zero, with no subject: the clone does not have that commit
	Subject string    `json:"subject,omitempty"`
	Path    string    `json:"path,omitempty"`
	Line    int       `json:"line,omitempty"`
}

// Remark is a condition that says more than that a step was taken.
type Remark struct {
	Type    string    `json:"type"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message"`
	Time    time.Time `json:"time"`
}

// Record is a commit that wrote a status.
type Record struct {
	Commit string    `json:"commit"`
	Time   time.Time `json:"time"`
	Author string    `json:"author"`
	Phase  string    `json:"phase"` // empty: it removed the status
}

// version is what a commit made of one status file.
type version struct {
	commit int
	entry  entry // zero: it removed it
}

// Tell reads the story of a database up to a commit. Without a namespace it is the only database of that name.
func Tell(objects Objects, tip Hash, statusPath, namespace, name string) (*Story, error) {
	h, err := load(objects, tip)
	if err != nil {
		return nil, err
	}
	versions, err := h.versions(statusPath)
	if err != nil {
		return nil, err
	}
	isWanted := func(r reconcile.Request) bool {
		return r.Database == name && (namespace == "" || r.Namespace == namespace)
	}
	story := &Story{Tip: tip.String()}
	var found []string
	for file, written := range versions {
		last, text, err := h.newest(statusPath, file, written, name)
		if err != nil {
			return nil, err
		}
		if !isWanted(last.Request) || text == nil {
			continue
		}
		found = appendNew(found, last.Request.DatabaseKey())
		chapter, err := h.chapter(last, written)
		if err != nil {
			return nil, err
		}
		story.Requests = append(story.Requests, chapter)
	}
	switch {
	case len(found) == 0:
		return nil, h.unknown(statusPath, versions, path.Join(namespace, name))
	case len(found) > 1:
		slices.Sort(found)
		return nil, fmt.Errorf("several databases are named %s: %s; say which one as NAMESPACE/NAME", name, strings.Join(found, ", "))
	}
	story.Database = found[0]
	slices.SortFunc(story.Requests, func(a, b Chapter) int {
		first := func(c Chapter) int { return h.numbers[plumbing.NewHash(c.Commits[0].Commit)] }
		return cmp.Or(cmp.Compare(first(a), first(b)), strings.Compare(a.Request, b.Request))
	})
	return story, nil
}

// versions lists what became of each status file, the oldest first.
func (h *history) versions(statusPath string) (map[string][]version, error) {
	versions := map[string][]version{}
	statuses := make([]entry, len(h.nodes))
	for n, node := range h.nodes {
		var err error
		if statuses[n], err = h.at(node.tree, statusPath); err != nil {
			return nil, fmt.Errorf("at the commit %s: %w", node.hash, err)
		}
		before := entry{}
		if len(node.parents) > 0 {
			before = statuses[node.parents[0]]
		}
		if slices.ContainsFunc(node.parents, func(p int) bool { return statuses[p] == statuses[n] }) {
			continue
		}
		changes, err := h.diff(statusPath, before, statuses[n])
		if err != nil {
			return nil, fmt.Errorf("at the commit %s: %w", node.hash, err)
		}
		for _, c := range changes {
			if isStatusFile(statusPath, c.path) {
				versions[c.path] = append(versions[c.path], version{n, c.after})
			}
		}
	}
	return versions, nil
}

// newest returns the newest status that a file held, and its text; no text if it is not about a database of that name.
func (h *history) newest(statusPath, file string, written []version, database string) (reconcile.Status, []byte, error) {
	for _, v := range slices.Backward(written) {
		if v.entry == (entry{}) {
			continue
		}
		text, err := h.blob(v.entry)
		if err == errNoFile {
			continue
		}
		if err != nil || !bytes.Contains(text, []byte(database)) { // which is quicker than to read all of it
			return reconcile.Status{}, nil, err
		}
		if s, err := parseStatus(statusPath, file, text); err == nil {
			return s, text, nil
		}
	}
	return reconcile.Status{}, nil, nil
}

// unknown says that there is no such database, and which there are.
func (h *history) unknown(statusPath string, versions map[string][]version, name string) error {
	var others []string
	for file, written := range versions {
		if last, text, err := h.newest(statusPath, file, written, ""); err == nil && text != nil && last.Request.Database != "" {
			others = append(others, last.Request.DatabaseKey())
		}
	}
	slices.Sort(others)
	others = slices.Compact(others)
	switch {
	case len(others) == 0:
		return fmt.Errorf("no status below %s tells of any database: is it the right branch, and the right --status-path?", statusPath)
	case len(others) > 10:
		others = append(others[:10:10], fmt.Sprintf("and %d more", len(others)-10))
	}
	return fmt.Errorf("no status tells of a rotation of %s; there are some of %s; use git pull if one is missing", name, strings.Join(others, ", "))
}

// chapter tells of one request.
func (h *history) chapter(s reconcile.Status, written []version) (Chapter, error) {
	c := Chapter{
		Request: s.Request.Key(), Kind: s.Request.Kind, ID: s.Request.ID, Phase: string(s.Phase),
		Source: h.sourceOf(s.Request.Source), Remarks: remarks(s), Deleted: written[len(written)-1].entry == (entry{}),
	}
	if taken, ok := find(s, reconcile.TypeRotateAuth); ok {
		c.Began = taken.LastTransitionTime.UTC()
	}
	if end, ok := find(s, string(s.Phase)); ok && s.Phase.Finished() {
		c.Ended = end.LastTransitionTime.UTC()
	}
	for _, v := range written {
		by, err := h.commit(h.nodes[v.commit].hash)
		if err != nil {
			return Chapter{}, err
		}
		record := Record{Commit: h.nodes[v.commit].hash.String(), Time: by.committer.when, Author: by.author.String()}
		if text, err := h.blob(v.entry); err == nil {
			if then, err := reconcile.ParseStatus(text); err == nil {
				record.Phase = string(then.Phase)
			}
		}
		c.Commits = append(c.Commits, record)
		for _, said := range by.claims() {
			if said.request == c.Request && (said.id == c.ID) {
				for _, approval := range said.approvals {
					c.Approvals = appendNew(c.Approvals, oneLine(approval))
				}
			}
		}
	}
	return c, nil
}

// sourceOf tells where a request came from, from that commit itself if the clone has it.
func (h *history) sourceOf(from reconcile.Source) Source {
	s := Source{Commit: from.Commit, Author: from.Author, Path: from.Path, Line: from.Line}
	if c, err := h.commit(plumbing.NewHash(from.Commit)); err == nil {
		s.Author, s.Time, s.Subject = c.author.String(), c.committer.when, c.subject()
	}
	return s
}

// telling are the conditions that say more than that a step was taken.
var telling = map[string]bool{
	reconcile.TypeFailed: true, reconcile.TypeDenied: true, reconcile.TypeSkipped: true, reconcile.TypeVerified: true,
	reconcile.TypePreviousRejected: true, reconcile.TypeConsumersRestarted: true, reconcile.TypeRetired: true,
	reconcile.TypeRolledBack: true, reconcile.TypeOverwritten: true, reconcile.TypeRecoveryRequired: true,
	reconcile.TypeRequestChanged: true,
}

// remarks picks the conditions that matter a year later, in their order. What was waited for matters while it lasts.
func remarks(s reconcile.Status) []Remark {
	var all []Remark
	for _, c := range s.Conditions {
		if telling[c.Type] || c.Type == reconcile.TypeWaiting && c.Status == "True" {
			r := Remark{Type: c.Type, Message: c.Message, Time: c.LastTransitionTime.UTC()}
			if c.Reason != c.Type {
				r.Reason = c.Reason
			}
			all = append(all, r)
		}
	}
	return all
}
