package gitsource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

// noise returns text that does not compress.
func noise(seed byte, size int) string {
	text := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(text)
	return string(text)
}

// requests returns n files as they may be in a repository, a hundred in a folder.
func requests(n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("rotations/team-%02d/app-%05d.yaml", i/100, i)] = fmt.Sprintf(
			"kind: MSSQLServerOpsRequest\nmetadata:\n  name: app-%d\nspec:\n  type: RotateAuth\n  databaseRef:\n    name: db-%d\n", i, i*7919)
	}
	return files
}

func TestChangesCostWhatChanged(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	files := requests(10_000)
	files["videos/big"] = noise(1, 500_000)
	repo.Import(gittest.Batch{Message: "first", Files: files})
	cost := func(do func()) (bytes int64, requests int) {
		before, count := server.Traffic(), server.Requests()
		do()
		sum := server.Traffic().Since(before)
		return sum.Received + sum.Sent, server.Requests() - count
	}
	snapshot := func(r *gitsource.Repository, dirs ...string) *gitsource.Snapshot {
		s, err := r.Snapshot(t.Context(), dirs...)
		require.NoError(t, err)
		return s
	}

	r := open(t, options(t, server, repo, false))
	all, _ := cost(func() { require.Len(t, snapshot(r, "rotations").Files, 10_000) })
	few, _ := cost(func() {
		require.Len(t, snapshot(open(t, options(t, server, repo, false)), "rotations/team-07").Files, 100)
	})
	require.Less(t, few*10, all, "a hundred files cost what a hundred files cost")

	t.Run("a file that changed is all that is fetched", func(t *testing.T) {
		old := snapshot(r, "rotations")
		head := repo.Import(gittest.Batch{Message: "a change", Files: map[string]string{
			"rotations/team-05/app-00501.yaml": "kind: changed", "videos/big": noise(2, 500_000),
		}})[0]
		var s *gitsource.Snapshot
		bytes, requests := cost(func() { s = snapshot(r, "rotations") })
		require.Equal(t, head, s.Revision)
		content, _ := s.Get("rotations/team-05/app-00501.yaml")
		require.Equal(t, "kind: changed", string(content))
		require.Less(t, bytes, int64(8<<10))
		require.Equal(t, 3, requests, "the tip, what is new, and the file")
		before, _ := old.Get("rotations/team-06/app-00601.yaml")
		after, _ := s.Get("rotations/team-06/app-00601.yaml")
		require.Same(t, &before[0], &after[0], "a file that did not change is in memory once")

		_, requests = cost(func() {
			found, err := r.Origins(t.Context(), head, "rotations/team-05/app-00501.yaml")
			require.NoError(t, err)
			require.Equal(t, head, found["rotations/team-05/app-00501.yaml"].Hash)
		})
		require.Zero(t, requests, "who brought it is known by then")
		_, requests = cost(func() { snapshot(r, "rotations") })
		require.Equal(t, 1, requests)
	})

	t.Run("a commit of one's own is pushed in one request and not fetched", func(t *testing.T) {
		put := func(content string) {
			_, err := r.Write(t.Context(), []string{"rotations/team-00"}, write(map[string]string{"rotations/team-00/x": content}))
			require.NoError(t, err)
		}
		put("1")
		_, requests := cost(func() { put("2") })
		require.Equal(t, 1, requests)
		_, requests = cost(func() {
			s := snapshot(r, "rotations")
			require.Equal(t, repo.Head(), s.Revision)
			content, _ := s.Get("rotations/team-00/x")
			require.Equal(t, "2", string(content))
		})
		require.Equal(t, 1, requests, "to see that the tip is known")
		_, requests = cost(func() {
			s, err := r.Write(t.Context(), []string{"rotations/team-00"}, write(map[string]string{"rotations/team-00/x": "2"}))
			require.NoError(t, err)
			require.Equal(t, repo.Head(), s.Revision)
		})
		require.Equal(t, 1, requests, "nothing to write is only said after a look")
		repo.Check()
	})

	t.Run("other folders than before are fetched as well", func(t *testing.T) {
		one := open(t, options(t, server, repo, false))
		require.Len(t, snapshot(one, "rotations/team-01").Files, 100)
		require.Len(t, snapshot(one, "rotations/team-02").Files, 100)
		_, requests := cost(func() { require.Len(t, snapshot(one, "rotations/team-01", "rotations/team-02").Files, 200) })
		require.Equal(t, 1, requests)
		require.Len(t, snapshot(one).Files, 10_002)
	})

	t.Run("a hundred thousand files are read", func(t *testing.T) {
		repo := server.NewRepo("many")
		files := map[string]string{}
		for i := range 100_000 {
			files[fmt.Sprintf("rotations/%03d/%06d", i/200, i)] = fmt.Sprint(i % 1000)
		}
		repo.Import(gittest.Batch{Message: "first", Files: files})
		r := open(t, options(t, server, repo, false))
		require.Len(t, snapshot(r).Files, 100_000)
		repo.Import(gittest.Batch{Message: "second", Files: map[string]string{"rotations/000/000000": "new"}})
		bytes, _ := cost(func() { require.Equal(t, "new", string(snapshot(r).Files[0].Content)) })
		require.Less(t, bytes, int64(16<<10))
	})
}

func TestManyAtOnce(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	first := repo.Commit(map[string]string{"rotations/a": "a"}, "first")
	r := open(t, options(t, server, repo, false))
	use := func(name, content string) error {
		if _, err := r.Write(t.Context(), []string{statusDir}, write(map[string]string{name: content})); err != nil {
			return err
		}
		s, err := r.Snapshot(t.Context(), "rotations", statusDir)
		if err != nil {
			return err
		}
		if got, _ := s.Get(name); string(got) != content {
			return fmt.Errorf("who has written %q sees %q", content, got)
		}
		found, err := r.Origins(t.Context(), s.Revision, "rotations/a")
		if err != nil || found["rotations/a"].Hash != first {
			return fmt.Errorf("brought by %s: %w", found["rotations/a"].Hash, err)
		}
		if is, err := r.Contains(t.Context(), s.Revision, first); err != nil || !is {
			return fmt.Errorf("contained: %t: %w", is, err)
		}
		return nil
	}
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		all.Go(func() {
			for n := range 3 {
				errs[i] = errors.Join(errs[i], use(fmt.Sprintf("rotation-status/%d", i), fmt.Sprint(n)))
			}
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Len(t, repo.Log(), 13)
	repo.Check()
}

// A server that stops in the middle is left when the time is up, and what was kept serves on.
func TestAServerThatStopsInTheMiddle(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	repo.Commit(map[string]string{"rotations/a": "1", "rotations/noise": noise(1, 50_000)}, "first")
	for story, bytes := range map[string]int{"a list of references": 10, "a pack": 300} {
		t.Run("in "+story, func(t *testing.T) {
			r := open(t, options(t, server, repo, false))
			_, err := r.Head(t.Context())
			require.NoError(t, err)
			server.Break(gittest.OnFetch(gittest.Within(bytes, server.Stall)))
			ctx, cancel := contextWithTimeout(t, 300*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err = r.Snapshot(ctx)
			requireError(t, err, gitsource.ErrUnreachable)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, time.Since(began), soon)

			server.Break(gittest.OnFetch(gittest.Within(bytes, gittest.Cut)))
			_, err = r.Snapshot(t.Context())
			requireError(t, err, gitsource.ErrUnreachable)

			server.Break(nil)
			s, err := r.Snapshot(t.Context())
			require.NoError(t, err)
			require.Len(t, s.Files, 2)
		})
	}
	t.Run("once, is asked again at once", func(t *testing.T) {
		r := open(t, options(t, server, repo, false))
		_, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		repo.Commit(map[string]string{"rotations/a": noise(2, 9000)}, "second")
		cuts := 0
		server.Break(gittest.OnFetch(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if cuts++; cuts == 2 {
				gittest.Within(200, gittest.Cut)(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		}))
		defer server.Break(nil)
		s, err := r.Snapshot(t.Context())
		require.NoError(t, err)
		require.Equal(t, repo.Head(), s.Revision)
		require.Greater(t, cuts, 2)
	})
}
