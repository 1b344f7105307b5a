package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// secretData is what is in a Secret.
type secretData map[string]string

func dataOf(s *corev1.Secret) secretData {
	data := secretData{}
	for key, value := range s.Data {
		data[key] = string(value)
	}
	return data
}

// vault follows the Secrets of an episode's namespace, every version of them, straight from the API server, and compares
// the keepers with what the servers accept while it does.
type vault struct {
	e      *episode
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu        sync.Mutex
	now       map[string]secretData
	passwords map[string]bool                // all that were ever in one
	staged    map[string]map[string][]string // by keeper and rotation id: the passwords that were staged, each once in a row
	initial   map[string]string              // the hash of each login before any rotation, by server and login
	lost      map[string]bool                // what was found to be lost
	samples   int
}

// watchVault begins to follow; it returns when it has seen what is there.
func watchVault(ctx context.Context, e *episode) *vault {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	v := &vault{e: e, cancel: cancel, now: map[string]secretData{}, passwords: map[string]bool{}, staged: map[string]map[string][]string{},
		initial: map[string]string{}, lost: map[string]bool{}}
	for _, d := range e.databases {
		for replica, folder := range d.folders(e) {
			if server, err := readServer(d, replica, folder); err == nil {
				for login, l := range server.logins {
					v.initial[replica+" "+login] = l.hash
				}
			}
		}
	}
	seen := make(chan struct{})
	v.done.Go(func() { v.follow(ctx, seen) })
	<-seen
	v.done.Go(func() { v.compare(ctx) })
	return v
}

func (v *vault) close() error {
	v.cancel()
	v.done.Wait()
	return nil
}

// follow sees every version of every Secret, but for those that come and go while the API server is away: when it starts,
// it knows the last ones alone.
func (v *vault) follow(ctx context.Context, seen chan struct{}) {
	secrets := v.e.cluster.Client.CoreV1().Secrets(v.e.namespace)
	for ; ctx.Err() == nil; sleep(ctx, pauseBefore) {
		list, err := secrets.List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		v.mu.Lock()
		v.now = map[string]secretData{}
		v.mu.Unlock()
		for _, s := range list.Items {
			v.see(&s, false)
		}
		if seen != nil {
			close(seen)
			seen = nil
		}
		v.watch(ctx, list.ResourceVersion)
	}
}

// watch goes on from a version until that is not possible any more.
func (v *vault) watch(ctx context.Context, version string) {
	for ctx.Err() == nil {
		from := metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true}
		events, err := v.e.cluster.Client.CoreV1().Secrets(v.e.namespace).Watch(ctx, from)
		if err != nil {
			return
		}
		for event := range events.ResultChan() {
			s, ok := event.Object.(*corev1.Secret)
			if !ok {
				events.Stop()
				return // an error, such as that the version is too old
			}
			version = s.ResourceVersion
			if event.Type != watch.Bookmark {
				v.see(s, event.Type == watch.Deleted)
			}
		}
	}
}

func (v *vault) see(s *corev1.Secret, deleted bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	data := dataOf(s)
	for key, value := range data {
		if strings.Contains(key, "password") && value != "" {
			v.passwords[value] = true
		}
	}
	v.now[s.Name] = data
	if deleted {
		delete(v.now, s.Name)
		return
	}
	if id := data["next.rotation-id"]; id != "" {
		if v.staged[s.Name] == nil {
			v.staged[s.Name] = map[string][]string{}
		}
		all := v.staged[s.Name][id]
		if len(all) == 0 || all[len(all)-1] != data["next.password"] {
			v.staged[s.Name][id] = append(all, data["next.password"])
		}
	}
}

// secret is what is in a Secret now, as far as the watch has come; nil if there is none.
func (v *vault) secret(name string) secretData {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now[name]
}

// repeated lists the rotations for which more than one password was staged.
func (v *vault) repeated() (found []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for keeper, rotations := range v.staged {
		for id, passwords := range rotations {
			if len(passwords) > 1 {
				found = append(found, fmt.Sprintf("%s: %d passwords were staged for the rotation %s", keeper, len(passwords), id))
			}
		}
	}
	return found
}

// all are the passwords that were ever in a Secret.
func (v *vault) all() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.passwords)
}

// found is what was found to be lost, whenever it was.
func (v *vault) found() (lost []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for what := range v.lost {
		lost = append(lost, what)
	}
	return lost
}

// compare asks again and again whether the keepers hold what the servers accept.
func (v *vault) compare(ctx context.Context) {
	for sleep(ctx, 100*time.Millisecond) {
		for _, d := range v.e.databases {
			for replica, folder := range d.folders(v.e) {
				v.compareServer(ctx, d, replica, folder)
			}
		}
	}
}

func (v *vault) compareServer(ctx context.Context, d *database, replica, folder string) {
	server, err := readServer(d, replica, folder)
	if err != nil {
		return
	}
	v.mu.Lock()
	v.samples++
	v.mu.Unlock()
	for login, l := range server.logins {
		if v.kept(d, replica, login, l.hash, v.secret(d.keeper())) {
			continue
		}
		// The watch may be behind, so the API server is asked. If the server accepts the same before and after that, it did
		// meanwhile.
		call, cancel := context.WithTimeout(ctx, callTime)
		keeper, err := v.e.cluster.Client.CoreV1().Secrets(v.e.namespace).Get(call, d.keeper(), metav1.GetOptions{})
		cancel()
		if err != nil && !apierrors.IsNotFound(err) {
			continue
		}
		var data secretData
		if err == nil {
			data = dataOf(keeper)
		}
		again, err := readServer(d, replica, folder)
		if err != nil || again.logins[login].hash != l.hash || v.kept(d, replica, login, l.hash, data) {
			continue
		}
		v.mu.Lock()
		v.lost[fmt.Sprintf("%s accepts a password of %s that no keeper holds", replica, login)] = true
		v.mu.Unlock()
	}
}

// kept reports whether a password is where gitrota promises it to be. Before the first rotation nobody has promised
// anything, nor is the login of a pair that clients do not use known to gitrota before its turn.
func (v *vault) kept(d *database, replica, login, hash string, keeper secretData) bool {
	if v.initial[replica+" "+login] == hash && (keeper == nil || login != d.logins[0]) {
		return true
	}
	return holds(keeper, login, hash)
}

// holds reports whether a keeper holds the password of a login.
func holds(keeper secretData, login, hash string) bool {
	for _, entry := range []string{"next", "live", "previous", "retired", "dropped"} {
		if keeper[entry+".username"] == login && matches(hash, keeper[entry+".password"]) {
			return true
		}
	}
	return false
}
