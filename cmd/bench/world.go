package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// scale says how much is measured.
type scale struct {
	refs      []int // in the repositories that are polled
	polls     int   // of a client, as far as pollTime allows
	pollTime  time.Duration
	folders   int           // of the large repository
	perFolder int           // files
	runs      int           // of what is done a few times, for the median
	history   int           // commits since a file landed
	changes   int           // of the repository that is followed for long
	slow      int           // changes that go-git follows, which takes many times as long for each
	settled   int           // changes after which the memory of a client is taken as what it needs
	following time.Duration // for which they are followed at most
	writes    int           // statuses
	writers   int           // others who push to the same branch
	writing   time.Duration // for which a client writes at most, and waits for the others
}

var (
	full = scale{
		refs: []int{10, 5_000, 50_000}, polls: 200, pollTime: 2 * time.Second,
		folders: 100, perFolder: 100, runs: 5, history: 10_000,
		// A machine of two cores that does nothing else takes a few minutes. The limits are for one that does a lot.
		changes: 1_000, slow: 50, settled: 10, following: 40 * time.Minute,
		writes: 50, writers: 8, writing: 20 * time.Minute,
	}
	small = scale{
		refs: []int{10, 200}, polls: 10, pollTime: time.Second,
		folders: 10, perFolder: 20, runs: 1, history: 300,
		changes: 15, slow: 12, settled: 5, following: time.Minute,
		writes: 4, writers: 2, writing: time.Minute,
	}
)

// world is the server with its repositories, and the proxy through which it is reached.
type world struct {
	scale
	dir      string
	profiles string // folder for profiles; "" means none
	server   *gittest.Server
	proxy    *proxy
	large    *gittest.Repo // see largeRepo; nil until then
	made     int           // folders that were made
	changed  int           // files of the large repository
}

func newWorld(size scale, profiles string) (w *world, err error) {
	if profiles != "" {
		if profiles, err = filepath.Abs(profiles); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(profiles, 0o755); err != nil {
			return nil, err
		}
	}
	w = &world{scale: size, profiles: profiles}
	if w.dir, err = os.MkdirTemp("", "gitrota-bench-"); err != nil {
		return nil, err
	}
	served := filepath.Join(w.dir, "served")
	if err = os.Mkdir(served, 0o755); err == nil {
		w.server, err = gittest.Start(served, gittest.Options{})
	}
	if err == nil {
		w.proxy, err = newProxy(strings.TrimPrefix(w.server.URL, "http://"))
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) close() {
	if w.proxy != nil {
		w.proxy.close()
	}
	if w.server != nil {
		w.server.Close()
	}
	os.RemoveAll(w.dir)
}

// largeRepo returns the repository of many files, and makes it the first time.
func (w *world) largeRepo() *gittest.Repo {
	if w.large == nil {
		w.progress("making a repository of %d files", w.folders*w.perFolder)
		w.large = w.server.NewRepo("large")
		w.large.Import(gittest.Batch{Message: "begin", Files: secrets(w.folders, w.perFolder)})
		w.large.Repack()
	}
	return w.large
}

// url is where a repository is reached through the proxy.
func (w *world) url(repo *gittest.Repo) string {
	return strings.Replace(repo.URL(), w.server.URL, "http://"+w.proxy.address(), 1)
}

// folder makes a new empty folder.
func (w *world) folder(name string) (string, error) {
	w.made++
	dir := filepath.Join(w.dir, fmt.Sprintf("%s-%d", name, w.made))
	return dir, os.Mkdir(dir, 0o755)
}

// three are one of each kind of client, in the order of the table's columns.
type three [3]client

// The columns of the table.
const (
	ofGitrota = iota
	ofGoGit
	ofGit
)

func (w *world) three(repo *gittest.Repo) (three, error) {
	var dirs [3]string
	for i, name := range columns {
		var err error
		if dirs[i], err = w.folder(name); err != nil {
			return three{}, err
		}
	}
	url := w.url(repo)
	return three{
		&worker{name: "gitrota", url: url, dir: dirs[ofGitrota], profiles: w.profiles},
		&worker{name: "go-git", url: url, dir: dirs[ofGoGit]},
		&gitBinary{url: url, dir: dirs[ofGit]},
	}, nil
}

// close ends the clients and removes what they keep.
func (t three) close() {
	for _, c := range t {
		c.close()
		os.RemoveAll(c.folder())
	}
}

// do lets a client do something and adds what went over the wire meanwhile.
func (w *world) do(ctx context.Context, c client, s step) (result, error) {
	requests, in, out := w.server.Requests(), w.proxy.in.Load(), w.proxy.out.Load()
	r, err := c.do(ctx, s)
	r.Cost.Requests = float64(w.server.Requests() - requests)
	r.Cost.In, r.Cost.Out = float64(w.proxy.in.Load()-in), float64(w.proxy.out.Load()-out)
	return r, err
}

// progress tells whoever waits what goes on.
func (w *world) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// machine says on what it was measured.
func machine() string {
	git, _, err := runGit(context.Background(), os.TempDir(), "version")
	if err != nil {
		git = "git of an unknown version"
	}
	return fmt.Sprintf("%d cores, %s/%s, %s, %s, go-git %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), git, goGitVersion())
}
