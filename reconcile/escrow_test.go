package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/gitsource/sopsfile"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
)

const escrowFile = "status/escrow.sops/demo/r.yaml"

// safe is where generated passwords are kept: it makes them readable for one key.
type safe struct {
	keys      sopsfile.Keys
	recipient string
}

func newSafe(t *testing.T) safe {
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	keys, err := sopsfile.ParseKeys([]byte(identity.String()))
	require.NoError(t, err)
	return safe{keys, identity.Recipient().String()}
}

func (k safe) seal(namespace, name string, c credential.Credential) ([]byte, error) {
	return manifest.SealCredential(namespace, name, c, []string{k.recipient})
}

// opens returns the password in a file.
func (k safe) opens(t *testing.T, file string) string {
	t.Helper()
	set := manifest.Parse(map[string][]byte{"r.yaml": []byte(file)})
	require.Empty(t, set.AllProblems())
	c, problem := manifest.ReadCredential(set.Secrets[0], k.keys)
	require.Nil(t, problem)
	require.Equal(t, "sa", c.Username)
	return c.Password.Reveal()
}

// life is one process of an agent with escrow, until it has told Git or is killed.
func (s *stage) life(escrow func(string, string, credential.Credential) ([]byte, error), at func(int) mishap) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	engine := engineOn(&incarnation{world: s.world, at: at, cancel: cancel}, uint64(s.world.calls), nil)
	engine.Escrow = escrow
	c := reconcile.NewController(reconcile.Options{Engine: engine, Repository: s.open("main"), Path: "rotations", StatusPath: "status", Log: slog.New(slog.DiscardHandler)})
	steps := []func() error{
		func() error { return c.Poll(ctx) }, func() error { return c.Recover(ctx) },
		func() error { c.Advance(ctx); c.Wait(); return nil }, func() error { return c.Flush(ctx) },
	}
	for _, step := range steps {
		err := step()
		if ctx.Err() != nil {
			return
		}
		require.NoError(s, err)
	}
}

func TestAGeneratedPasswordIsKeptSafeInTheCommitThatTellsOfIt(t *testing.T) {
	s, key := newStage(t), newSafe(t)
	s.repo.Commit(map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
	s.life(key.seal, schedule{}.at)

	live := s.world.value("db-auth", "password")
	file := s.repo.Show(escrowFile)
	require.Equal(t, live, key.opens(t, file))
	id := s.status(s.repo, "r").Request.ID
	require.True(t, strings.HasPrefix(file, "# Written by gitrota: the credential of demo/db that the rotation "+id+" made.\n"))
	require.Len(t, s.repo.Log(), 3, "the beginning, the request, and one commit of gitrota's")
	for _, name := range s.repo.Files() {
		require.NotContains(t, s.repo.Show(name), live)
	}
	require.NotContains(t, s.world.value("db-auth-keeper", "journal"), live)
	require.NotContains(t, s.repo.Show("status/demo/r.yaml"), "escrow")

	t.Run("a new process has nothing to add, nor to a file that was encrypted for others", func(t *testing.T) {
		head := s.repo.Head()
		s.life(key.seal, schedule{}.at)
		require.Equal(t, head, s.repo.Head())
		again, err := key.seal("demo", "r", credential.Credential{Username: "sa", Password: credential.NewPassword(live)})
		require.NoError(t, err)
		head = s.repo.Commit(map[string]string{escrowFile: file[:strings.Index(file, "\n")+1] + string(again)}, "Another key")
		s.life(key.seal, schedule{}.at)
		require.Equal(t, head, s.repo.Head())
	})

	t.Run("one that is gone with its status comes back with it", func(t *testing.T) {
		s.repo.Reset(s.repo.Log()[3].Hash)
		s.life(key.seal, schedule{}.at)
		require.Equal(t, live, key.opens(t, s.repo.Show(escrowFile)))
	})
}

func TestAKillAroundAnyWriteOfTheKeeperPartsNoPasswordFromItsEscrow(t *testing.T) {
	var writes []int
	s, key := newStage(t), newSafe(t)
	s.world.watch = func(reconcile.Secret) { writes = append(writes, s.world.calls) }
	s.repo.Commit(map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
	s.life(key.seal, schedule{}.at)
	require.GreaterOrEqual(t, len(writes), 3, "staged, published, settled")

	for _, call := range writes {
		for _, death := range []mishap{dieBefore, dieAfter} {
			s := newStage(t)
			s.repo.Commit(map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
			story := schedule{call: death}
			s.life(key.seal, story.at)
			require.NotContains(t, s.repo.Files(), escrowFile, story)
			s.life(key.seal, schedule{}.at)
			require.Equal(t, reconcile.PhaseSuccessful, s.status(s.repo, "r").Phase, story)
			require.Equal(t, s.world.value("db-auth", "password"), key.opens(t, s.repo.Show(escrowFile)), story)
			require.Len(t, s.world.servers[0].given["sa"], 1, story)
		}
	}
}

func TestWhatCannotBeKeptSafeIsNotBegun(t *testing.T) {
	s := newStage(t)
	s.repo.Commit(map[string]string{"rotations/r.yaml": request("r")}, "Rotate")
	s.life(func(_, _ string, c credential.Credential) ([]byte, error) {
		return nil, errors.New("no recipient for " + c.Password.Reveal())
	}, schedule{}.at)
	status := s.status(s.repo, "r")
	require.Equal(t, reconcile.PhaseFailed, status.Phase)
	last := status.Conditions[len(status.Conditions)-1]
	require.Equal(t, reconcile.ReasonEscrow, last.Reason)
	require.Contains(t, last.Message, "the new password could not be encrypted for the recipients of spec.escrow, so nothing was done: no recipient for <secret>")
	require.Equal(t, initialPassword, s.world.value("db-auth", "password"))
	require.Empty(t, s.world.value("db-auth-keeper", "next.password"))
	require.Empty(t, s.world.servers[0].given)
}

func TestOnlyWhatWasGeneratedAndIsLiveIsKept(t *testing.T) {
	asked := 0
	engine := func(world *simulation, cancel func()) *reconcile.Engine {
		e := engineOn(&incarnation{world: world, at: schedule{}.at, cancel: cancel}, 1, nil)
		e.Escrow = func(string, string, credential.Credential) ([]byte, error) {
			asked++
			return fmt.Append(nil, "sealed ", asked), nil
		}
		return e
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	t.Run("a supplied one is its owner's", func(t *testing.T) {
		m := mode{credential: "supplied", replicas: 1}
		status := engine(newSimulation(m), cancel).Rotate(ctx, job(m))
		require.Equal(t, reconcile.PhaseSuccessful, status.Phase)
		require.Empty(t, status.Escrow)
		require.Zero(t, asked)
	})

	t.Run("one that the server refuses never was", func(t *testing.T) {
		m := mode{credential: "generated", replicas: 1}
		world := newSimulation(m)
		world.servers[0].strict = true
		status := engine(world, cancel).Rotate(ctx, job(m))
		require.Equal(t, reconcile.PhaseFailed, status.Phase)
		require.Empty(t, status.Escrow)
		require.Equal(t, "null", world.value("db-auth-keeper", "escrow"))
		require.NotZero(t, asked)
	})
}
