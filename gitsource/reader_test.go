package gitsource_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

// spoiling answers every fetch in version 2 of the protocol with something that is not the protocol.
func spoiling(answer string) gittest.Fault {
	return gittest.OnFetch(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Git-Protocol") == "" {
			next.ServeHTTP(w, r)
			return
		}
		asked, _ := io.ReadAll(r.Body)
		if !bytes.Contains(asked, []byte("command=fetch")) {
			r.Body = io.NopCloser(bytes.NewReader(asked))
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		fmt.Fprint(w, answer)
	})
}

func TestWhatCannotBeReadInPartsIsReadAsAWhole(t *testing.T) {
	for story, answer := range map[string]string{
		"answers with what is not the protocol": "0010packfile\n????",
		"answers with a pack that is damaged":   "000dpackfile\n0011\x01PACK\x00\x00\x00\x09\x00\x00\x00\x010000",
		"refuses in words of its own":           "0026ERR I do not like what you ask for",
	} {
		t.Run("where the server "+story, func(t *testing.T) {
			server := gittest.NewServer(t, gittest.Options{Username: "gitrota", Password: canary})
			repo := server.NewRepo("ops")
			first := repo.Commit(map[string]string{"rotations/a": "1", "rotations/big": noise(1, 5000), "docs/x": "x"}, "bring a")
			repo.Commit(map[string]string{"docs/x": "y"}, "a later one")
			o := options(t, server, repo, false)
			o.MaxFileSize = 1000
			var log bytes.Buffer
			o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
			server.Break(spoiling(answer))

			o.Reading = gitsource.ReadPartially
			_, err := open(t, o).Snapshot(t.Context(), "rotations")
			require.Error(t, err, "there is a fault to be overcome")
			o.Reading = gitsource.ReadSomehow
			r := open(t, o)
			require.Zero(t, r.PlainReads())
			s, err := r.Snapshot(t.Context(), "rotations")
			require.NoError(t, err)
			require.Equal(t, []string{"rotations/a", "rotations/big"}, paths(s))
			require.Contains(t, s.Files[1].Problem, "more than 1000 bytes")
			require.EqualValues(t, 1, r.PlainReads())
			found, err := r.Origins(t.Context(), s.Revision, "rotations/a")
			require.NoError(t, err)
			require.Equal(t, first, found["rotations/a"].Hash)
			is, err := r.Contains(t.Context(), repo.Head(), first)
			require.NoError(t, err)
			require.True(t, is)
			_, err = r.Write(t.Context(), []string{statusDir}, write(map[string]string{"rotation-status/s": "s"}))
			require.NoError(t, err)
			repo.Commit(map[string]string{"rotations/a": "2"}, "a change")
			s, err = r.Snapshot(t.Context(), "rotations")
			require.NoError(t, err)
			content, _ := s.Get("rotations/a")
			require.Equal(t, "2", string(content))
			list, err := r.Between(t.Context(), s.Revision, first)
			require.NoError(t, err)
			require.Len(t, list, 3)
			repo.Check()

			require.Equal(t, 1, strings.Count(log.String(), "please report"), log.String())
			require.Contains(t, log.String(), "version 2: ")
			require.NotContains(t, log.String(), canary)
			before := r.PlainReads()
			server.Break(nil)
			repo.Commit(map[string]string{"rotations/a": "3"}, "when the server is well again")
			_, err = r.Snapshot(t.Context(), "rotations")
			require.NoError(t, err)
			require.Equal(t, before, r.PlainReads())
		})
	}

	t.Run("and not where the branch, the network or the credentials are the cause", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{Username: "gitrota", Password: canary})
		repo := server.NewRepo("ops")
		repo.Commit(map[string]string{"a": noise(1, 50_000)}, "first")
		r := open(t, options(t, server, repo, false))
		count := func() int {
			before := server.Requests()
			_, err := r.Snapshot(t.Context())
			require.Error(t, err)
			return server.Requests() - before
		}
		server.Break(gittest.OnFetch(gittest.Within(300, gittest.Cut)))
		require.LessOrEqual(t, count(), 4)
		server.Break(nil)
		server.ChangePassword("another")
		require.Equal(t, 1, count())
		server.ChangePassword(canary)
		repo.DeleteBranch()
		require.LessOrEqual(t, count(), 4)
		require.Zero(t, r.PlainReads())
	})
}
