package audit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/clone"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/gitsource/signature"
	"github.com/gitrota/gitrota/reconcile/audit"
)

const (
	statusPath = "rotation-status"
	agentName  = "gitrota"
	agentEmail = "gitrota@localhost"
)

// noon is when the stories begin. Every commit is a minute after the one before it.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// world is a repository, people who ask for rotations, and an agent that signs and writes as the real one does.
type world struct {
	*testing.T
	server *gittest.Server
	repo   *gittest.Repo // with the requests
	branch string        // with the statuses
	agent  *gittest.SigningKey
	person *gittest.SigningKey
	now    *time.Time
	marks  map[string]string // commits by what they were
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server := gittest.NewServer(t, gittest.Options{})
	now := noon
	w := &world{
		T: t, server: server, repo: server.NewRepo("rotations"), branch: "main",
		agent: server.NewSSHKey("ed25519", ""), person: server.NewSSHKey("ed25519", ""), now: &now, marks: map[string]string{},
	}
	w.repo.SignWith(w.person)
	w.commit(map[string]string{"README.md": "Our rotations.\n"}, "Begin")
	return w
}

// fork is the same world with a repository of its own, to do harm to. It begins where the person's clone is, which
// [gittest.Repo.Pull] puts at the tip.
func (w *world) fork(t *testing.T) *world {
	t.Helper()
	other := *w
	now := *w.now
	other.T, other.now, other.repo = t, &now, w.repo.Fork(regexp.MustCompile(`[^a-zA-Z]+`).ReplaceAllString(t.Name(), "-"))
	other.repo.SignWith(nil)
	return &other
}

// tick lets a minute pass.
func (w *world) tick() time.Time {
	*w.now = w.now.Add(time.Minute)
	return *w.now
}

// someone is a person who works on the branch now.
func (w *world) someone() *gittest.Repo { return w.repo.At(w.tick()) }

// agentHands are somebody who says that he is the agent.
func (w *world) agentHands() *gittest.Repo { return w.someone().As(agentName, agentEmail) }

func (w *world) commit(files map[string]string, message string) string {
	return w.someone().Commit(files, message)
}

// request is the manifest of a rotation, request(name) is in shop/<database>.
func request(name, database string, lines ...string) string {
	text := fmt.Sprintf("apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata:\n  name: %s\n  namespace: shop\nspec:\n  type: RotateAuth\n  databaseRef:\n    name: %s\n", name, database)
	for _, line := range lines {
		text += "  " + line + "\n"
	}
	return text
}

// asked is a request that somebody has committed.
type asked struct{ name, database, path, commit, text string }

func (a asked) id() string {
	return manifest.Join(manifest.ParseFile(a.path, []byte(a.text))).Requests[0].ID
}

// ask commits a request.
func (w *world) ask(name, database string) asked {
	a := asked{name: name, database: database, path: "rotations/shop/" + name + ".yaml", text: request(name, database)}
	a.commit = w.commit(map[string]string{a.path: a.text}, "shop: rotate "+database)
	w.marks["asked "+name] = a.commit
	return a
}

// condition is one in a status file.
func condition(kind, reason, message string, at time.Time) string {
	return fmt.Sprintf("  - lastTransitionTime: %q\n    message: %q\n    observedGeneration: 1\n    reason: %s\n    status: \"True\"\n    type: %s\n",
		at.UTC().Format(time.RFC3339), message, reason, kind)
}

// status is what the agent writes down.
type status struct {
	asked
	phase      string
	conditions []string
	unbound    bool // to no rotation id
	approvals  []string
}

func (s status) path() string { return statusPath + "/shop/" + s.name + ".yaml" }

// content is a status file as the agent writes it.
func (s status) content() string {
	id := fmt.Sprintf("    gitrota.dev/rotation-id: %q\n", s.id())
	if s.unbound {
		id = ""
	}
	head, spec, _ := strings.Cut(s.text, "spec:\n")
	return "# Written by gitrota: the request and how it went. Do not edit or apply it.\n" +
		strings.Replace(head, "metadata:\n", "metadata:\n  annotations:\n"+id+
			"    gitrota.dev/source-author: Dana DBA <dana@example.com>\n"+
			fmt.Sprintf("    gitrota.dev/source-commit: %q\n    gitrota.dev/source-path: %s:1\n", s.commit, s.asked.path), 1) +
		"spec:\n" + spec + "status:\n  conditions:\n" + strings.Join(s.conditions, "") +
		"  observedGeneration: 1\n  phase: " + s.phase + "\n"
}

// change is the commit that brings statuses, with the trailers that the agent writes.
func change(statuses ...status) *gitsource.Change {
	c := &gitsource.Change{Files: map[string][]byte{}, Subject: "rotate shop/" + statuses[0].database + ": " + statuses[0].phase}
	for _, s := range statuses {
		c.Files[s.path()] = []byte(s.content())
		id := s.id()
		if s.unbound {
			id = ""
		}
		c.Trailers = append(c.Trailers,
			gitsource.Trailer{Key: "Rotation-Request", Value: "shop/" + s.name},
			gitsource.Trailer{Key: "Rotation-Id", Value: id},
			gitsource.Trailer{Key: "Rotation-Phase", Value: s.phase},
			gitsource.Trailer{Key: "Rotation-Source", Value: s.commit})
		for _, by := range s.approvals {
			c.Trailers = append(c.Trailers, gitsource.Trailer{Key: "Approved-By", Value: by})
		}
		c.Body += fmt.Sprintf("Request shop/%s is %s.\n\n", s.name, s.phase)
	}
	c.Files[statusPath+"/README.md"] = fmt.Appendf(nil, "# Rotations\n\n%s is %s\n", statuses[0].name, statuses[0].phase)
	return c
}

// write commits and signs a change as the agent does, with the real code, and returns the commit.
func (w *world) write(c *gitsource.Change) string {
	w.Helper()
	now := w.tick()
	key, err := signature.LoadKey(w.agent.Dir)
	require.NoError(w, err)
	r, err := gitsource.Open(gitsource.Options{
		URL: w.repo.URL(), Branch: w.branch, CreateBranch: true, Signing: key,
		Author: gitsource.Person{Name: agentName, Email: agentEmail}, Now: func() time.Time { return now },
	})
	require.NoError(w, err)
	snapshot, err := r.Write(w.Context(), []string{statusPath}, func(*gitsource.Snapshot) (*gitsource.Change, error) { return c, nil })
	require.NoError(w, err)
	return snapshot.Revision
}

// record writes statuses and remembers the commit.
func (w *world) record(statuses ...status) string {
	w.Helper()
	hash := w.write(change(statuses...))
	for _, s := range statuses {
		w.marks[s.name+" "+s.phase] = hash
	}
	return hash
}

// begun and ended are the statuses of a request as it goes along.
func (w *world) begun(a asked) status {
	return status{asked: a, phase: "Progressing", conditions: []string{condition("RotateAuth", "RotateAuth", "it has started", *w.now)}}
}

func (w *world) ended(s status, phase, reason, message string) status {
	s.phase = phase
	s.conditions = append(append([]string(nil), s.conditions...), condition(phase, reason, message, *w.now))
	return s
}

// rotate asks for a rotation, and the agent does it: two commits, if it is slow.
func (w *world) rotate(name, database string) status {
	w.Helper()
	s := w.begun(w.ask(name, database))
	w.record(s)
	s = w.ended(s, "Successful", "Successful", "Successfully completed mssqlserver auth rotate")
	w.record(s)
	return s
}

// signers writes a file of allowed signers.
func (w *world) signers(lines ...string) *signature.Signers {
	w.Helper()
	file := filepath.Join(w.TempDir(), "allowed_signers")
	require.NoError(w, os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	list, err := signature.LoadSigners(file)
	require.NoError(w, err)
	return list
}

// verify audits the repository.
func (w *world) verify(changes ...func(*audit.Options)) (*audit.Report, error) {
	w.Helper()
	from, err := clone.Open(w.repo.Folder())
	require.NoError(w, err)
	w.Cleanup(func() { require.NoError(w, from.Close()) })
	o := audit.Options{StatusPath: statusPath, Agents: w.signers(agentEmail + " " + w.agent.Public)}
	o.Tip, err = from.Branch("main")
	require.NoError(w, err)
	if w.branch != "main" {
		o.Source = o.Tip
		o.Tip, err = from.Branch(w.branch)
		require.NoError(w, err)
	}
	for _, change := range changes {
		change(&o)
	}
	return audit.Verify(from, o)
}

// proven audits and expects no break.
func (w *world) proven(changes ...func(*audit.Options)) *audit.Report {
	w.Helper()
	report, err := w.verify(changes...)
	require.NoError(w, err)
	return report
}

// refuted audits and expects a break of that kind at that commit.
func (w *world) refuted(reason audit.Reason, commit, file string, changes ...func(*audit.Options)) *audit.Break {
	w.Helper()
	_, err := w.verify(changes...)
	var broken *audit.Break
	require.ErrorAs(w, err, &broken)
	require.Equal(w, reason, broken.Reason, broken)
	require.Equal(w, commit, broken.Commit, broken)
	require.Equal(w, file, broken.File, broken)
	require.NotEmpty(w, broken.Message)
	switch reason {
	case audit.UnsignedStatus, audit.UntrustedKey, audit.BadSignature:
		words, err := w.repo.VerifyCommit(commit, w.agent, agentEmail+" "+w.agent.Public)
		require.Error(w, err, "git itself calls the signature good: %s", words)
	}
	return broken
}

// asRequester adds the keys of those who may ask.
func (w *world) asRequester(lines ...string) func(*audit.Options) {
	return func(o *audit.Options) { o.Requesters = w.signers(lines...) }
}

func hash(text string) audit.Hash { return plumbing.NewHash(text) }
