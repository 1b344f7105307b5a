package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"filippo.io/age"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
)

// episode is one plan, played in a namespace and with a repository of its own.
type episode struct {
	plan      Plan
	cluster   *cluster
	namespace string
	folder    string
	began     time.Time

	git       *gittest.Server
	repo      *gittest.Repo
	signers   string // the file with the agents' public key
	recipient string // whom people encrypt for
	databases map[string]*database
	agents    []*agent
	people    people
	vault     *vault

	mu      sync.Mutex
	secrets []credential.Password // that were made here
	log     []string              // what was done, and when
	last    []func() error        // run at the end, the newest first
}

// newEpisode makes the world of a plan: its databases are ready when it returns, and no agent runs yet.
func newEpisode(ctx context.Context, c *cluster, plan Plan) (_ *episode, err error) {
	e := &episode{plan: plan, cluster: c, databases: map[string]*database{}}
	e.folder = filepath.Join(c.folder, fmt.Sprintf("seed-%d", plan.Seed))
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("seed %d: %w", plan.Seed, err), e.close())
		}
	}()
	if err := errors.Join(os.RemoveAll(e.folder), os.MkdirAll(filepath.Join(e.folder, "git"), 0o700)); err != nil {
		return nil, err
	}
	if err := e.makeNamespace(ctx); err != nil {
		return nil, err
	}
	documents := map[string]string{"README.md": "Our rotations.\n"}
	for _, kind := range plan.Databases {
		d, err := e.makeDatabase(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("making the database %s: %w", kind, err)
		}
		e.databases[kind] = d
		if d.document != "" {
			documents["rotations/servers/"+kind+".yaml"] = d.document
		}
	}
	if err := e.startGit(documents); err != nil {
		return nil, err
	}
	for _, kind := range plan.Databases {
		if err := e.ready(ctx, e.databases[kind]); err != nil {
			return nil, err
		}
	}
	e.vault = watchVault(ctx, e)
	e.atEnd(e.vault.close)
	return e, nil
}

func (e *episode) makeNamespace(ctx context.Context) error {
	namespaces := e.cluster.Client.CoreV1().Namespaces()
	err := until(ctx, setupTime, "there is a namespace", func() (bool, error) {
		name := metav1.ObjectMeta{GenerateName: fmt.Sprintf("torture-%d-", e.plan.Seed)}
		made, err := namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: name}, metav1.CreateOptions{})
		if err == nil {
			e.namespace = made.Name
		}
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	e.atEnd(func() error {
		return until(context.Background(), endTime, "the namespace is being deleted", func() (bool, error) {
			return namespaces.Delete(context.Background(), e.namespace, metav1.DeleteOptions{}) == nil, nil
		})
	})
	return until(ctx, setupTime, "the namespace has a service account, which pods need", func() (bool, error) {
		_, err := e.cluster.Client.CoreV1().ServiceAccounts(e.namespace).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
}

// startGit starts a Git server with a repository that holds some files.
func (e *episode) startGit(files map[string]string) (err error) {
	login := gittest.Options{Username: "gitrota", Password: e.newPassword().Reveal()}
	if e.git, err = gittest.Start(filepath.Join(e.folder, "git"), login); err != nil {
		return err
	}
	e.atEnd(func() error { e.git.Close(); return nil })
	e.repo = e.git.NewRepo("rotations")
	e.repo.Configure("core.logAllRefUpdates", "always")
	e.people = people{e: e, base: e.repo.Commit(files, "Begin"), requests: map[string]string{}}
	return nil
}

// startAgents starts the agents, who know the repository and the cluster as they would in a Deployment.
func (e *episode) startAgents() error {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	e.recipient = identity.Recipient().String()
	key := e.git.NewSSHKey("ed25519", "")
	e.signers = filepath.Join(e.folder, "agent.allowed_signers")
	keys := filepath.Join(e.folder, "sops")
	err = errors.Join(os.MkdirAll(keys, 0o700),
		os.WriteFile(filepath.Join(keys, "test.agekey"), []byte(identity.String()+"\n"), 0o600),
		os.WriteFile(e.signers, []byte("gitrota@localhost "+key.Public+"\n"), 0o600))
	if err != nil {
		return err
	}
	command := []string{e.cluster.agent, "agent", "--repo", e.repo.URL(), "--git-auth", e.git.AuthDir(false), "--sops-keys", keys,
		"--signing-key", key.Dir, "--kubeconfig", e.cluster.agentKubeconfig, "--allow-hosts", "127.0.0.1",
		"--interval", "1s", "--patrol-interval", "2s", "--verbose"}
	if e.plan.Lease {
		command = append(command, "--lease", "gitrota/"+e.namespace)
	}
	for n := range e.plan.Agents {
		a, err := startAgent(filepath.Join(e.folder, fmt.Sprintf("agent-%d.log", n)), command...)
		if err != nil {
			return err
		}
		e.agents = append(e.agents, a)
		e.atEnd(func() error { a.close(); return nil })
	}
	return nil
}

// play does what the plan says, heals everything, and returns what it found to be wrong.
func (e *episode) play(ctx context.Context) (violations []string, f facts, err error) {
	defer func() {
		// The Git server of the tests panics where a test would fail.
		if p := recover(); p != nil {
			err = fmt.Errorf("seed %d: %v", e.plan.Seed, p)
		}
	}()
	if err := e.startAgents(); err != nil {
		return nil, f, err
	}
	e.began = time.Now()
	var over sync.WaitGroup
	for _, step := range e.plan.Steps {
		if !sleep(ctx, time.Until(e.began.Add(step.At))) {
			break
		}
		if step.Do.byPeople() {
			e.do(ctx, step)
			continue
		}
		over.Go(func() {
			if end := e.do(ctx, step); end != nil {
				sleep(ctx, step.For)
				end()
			}
		})
	}
	over.Wait()
	if ctx.Err() != nil {
		return nil, f, ctx.Err()
	}
	e.heal(ctx)
	return e.judge(ctx)
}

// judge waits until everything is at rest, ends the agents and says what is wrong.
func (e *episode) judge(ctx context.Context) (violations []string, f facts, err error) {
	calm := 0
	err = until(ctx, restTime, "everything is at rest", func() (bool, error) {
		if f, err = e.lookAround(ctx); err != nil {
			return false, nil // the API server is not back yet
		}
		calm++
		if len(f.unsettled()) > 0 {
			calm = 0
		}
		sleep(ctx, calmTime/calmLooks)
		return calm > calmLooks, nil
	})
	if ctx.Err() != nil {
		return nil, f, ctx.Err()
	}
	e.note("at rest: %v", err)
	for _, a := range e.agents {
		a.close()
	}
	if err := e.lookBack(ctx, &f); err != nil {
		return nil, f, err
	}
	return f.violations(), f, nil
}

const (
	endTime   = 20 * time.Second
	restTime  = 150 * time.Second // patience: mostly some seconds; a disruption budget remembers an eviction for two minutes
	calmTime  = 2 * time.Second   // in which every agent has polled and patrolled
	calmLooks = 5
)

// note keeps what was done.
func (e *episode) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, now()+" "+fmt.Sprintf(format, args...))
}

func (e *episode) atEnd(do func() error) { e.last = append(e.last, do) }

// close ends everything that belongs to the episode. Its folder stays.
func (e *episode) close() (err error) {
	for _, do := range slices.Backward(e.last) {
		err = errors.Join(err, do())
	}
	e.last = nil
	return err
}

// newPassword makes a password that nobody may find anywhere.
func (e *episode) newPassword() credential.Password {
	const letters = "ABCDEFGHJKLMNQRSTUVWXYZabcdefghjkmnqrstuvwxyz23456789"
	text := []byte("To-1")
	for range 20 {
		text = append(text, letters[rand.IntN(len(letters))])
	}
	p := credential.NewPassword(string(text))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.secrets = append(e.secrets, p)
	return p
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
