package differential

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/gittest/repoplan"
)

// servers are the Git servers that repositories are read from, all of them from one folder.
type servers struct {
	dir            string
	current, older *gittest.Server
	auth           map[*gittest.Server]gitsource.Auth

	tipOnly sync.Map // by the name of a repository: the *repoplan.Built of which nothing but tips is sent by name
}

func startServers(t *testing.T) *servers {
	dir := t.TempDir()
	if inMemory, err := os.MkdirTemp("/dev/shm", "gitrota-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(inMemory) })
		dir = inMemory
	}
	s := &servers{dir: dir, auth: map[*gittest.Server]gitsource.Auth{}}
	for _, to := range []**gittest.Server{&s.current, &s.older} {
		server, err := gittest.Start(dir, gittest.Options{SSH: true})
		require.NoError(t, err)
		t.Cleanup(server.Close)
		s.auth[server], err = gitsource.LoadAuth(server.AuthDir(true))
		require.NoError(t, err)
		*to = server
	}
	s.older.SpeakOlder()
	s.current.Break(gittest.OnFetch(s.refuse))
	return s
}

// refuse turns down what is asked for by name and is not a tip, where the repository is to be served so.
func (s *servers) refuse(w http.ResponseWriter, req *http.Request, next http.Handler) {
	name, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), ".git/")
	if built, there := s.tipOnly.Load(name); there {
		body, err := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		tips, failed := built.(*repoplan.Built).Git("for-each-ref", "--format=%(objectname)")
		for line := range strings.Lines(string(body)) {
			_, hash, asks := strings.Cut(line, "want ")
			if err != nil || failed != nil || asks && !slices.Contains(strings.Fields(tips), strings.Fields(hash)[0]) {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				_, _ = io.WriteString(w, "0021ERR upload-pack: not our ref\n")
				return
			}
		}
	}
	next.ServeHTTP(w, req)
}

// outcome is what became of a trial.
type outcome struct {
	calls     int    // to the package, as far as they agreed
	fallbacks uint64 // readings as a whole, where parts had to do
}

// run builds a trial's repository and takes its steps. The error is a *difference where the two do not agree.
func (s *servers) run(ctx context.Context, t trial, name string) (outcome, error) {
	dir := filepath.Join(s.dir, name+".git")
	defer os.RemoveAll(dir)
	built, err := t.plan.Init(dir)
	if err != nil {
		return outcome{}, err
	}
	server := s.current
	if t.plan.Server.Older {
		server = s.older
	}
	if t.plan.Server.TipOnly {
		s.tipOnly.Store(name, built)
		defer s.tipOnly.Delete(name)
	}
	opts := t.options(server.URL + "/" + name + ".git")
	if t.plan.Server.SSH {
		opts.URL, opts.Auth = "ssh://git@"+server.SSHAddress()+"/"+name+".git", s.auth[server]
	}
	oracle := &clone{dir: dir}
	if t.cloned {
		oracle = &clone{dir: filepath.Join(s.dir, name+"-clone"), from: server.URL + "/" + name + ".git"}
		defer os.RemoveAll(oracle.dir)
	}
	return take(ctx, &reader{trial: t, built: built, oracle: oracle, opts: opts})
}

// options are those with which a trial's repository is read.
func (t trial) options(url string) gitsource.Options {
	now := time.Unix(1_750_000_000, 0)
	return gitsource.Options{
		URL: url, Branch: "main", MaxFileSize: t.limit, CreateBranch: t.create, Reading: t.reading,
		Author: gitsource.Person{Name: "gitrota", Email: "gitrota@example.com"},
		Now:    func() time.Time { now = now.Add(time.Second); return now },
	}
}

// take takes the steps of a reader's trial.
func take(ctx context.Context, r *reader) (o outcome, err error) {
	defer r.oracle.close()
	if r.git, err = gitsource.Open(r.opts); err != nil {
		return o, err
	}
	defer func() { r.git.Close() }()
	for i, step := range r.trial.steps {
		err := r.do(ctx, step)
		if whole := r.git.PlainReads(); err == nil && whole > 0 && !r.trial.plan.Server.TipOnly {
			o.fallbacks += whole
			err = differs("the readings as a whole", whole, "none")
		}
		var found *difference
		if errors.As(err, &found) {
			found.step = i
		}
		if err != nil {
			return o, err
		}
		if step.do != push && step.do != restart {
			o.calls++
		}
	}
	return o, nil
}
