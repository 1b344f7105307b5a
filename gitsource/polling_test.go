package gitsource_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

func TestPolling(t *testing.T) {
	t.Run("a poll is one small request, whatever the number of references", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{Username: "gitrota", Password: canary})
		repo := server.NewRepo("ops")
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		var names []string
		for i := range 5000 {
			names = append(names, fmt.Sprintf("refs/pull/%d/head", i))
		}
		repo.OnBranch("main-2").Commit(map[string]string{"b": "b"}, "a branch with a longer name")
		repo.AddRefs(names...)
		r := open(t, options(t, server, repo, false))
		_, err := r.Head(t.Context())
		require.NoError(t, err)

		requests, before := server.Requests(), server.Traffic()
		got, err := r.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, head, got)
		cost := server.Traffic().Since(before)
		require.Equal(t, 1, server.Requests()-requests)
		require.Zero(t, cost.Connections)
		require.Less(t, cost.Received+cost.Sent, int64(1024))
	})

	t.Run("over SSH, one connection serves many polls, and a new one is made when it is gone", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{SSH: true})
		repo := server.NewRepo("ops")
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		r := open(t, options(t, server, repo, true))
		for range 5 {
			_, err := r.Head(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, 1, server.Traffic().Connections)
		server.CutSSH()
		got, err := r.Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, head, got)
		require.Equal(t, 2, server.Traffic().Connections)

		r.Close()
		_, err = r.Head(t.Context())
		require.NoError(t, err, "a repository that was closed opens again")
		require.Equal(t, 3, server.Traffic().Connections)
	})

	t.Run("a server that has changed meanwhile is met anew", func(t *testing.T) {
		server := gittest.NewServer(t, gittest.Options{})
		repo := server.NewRepo("new")
		head := repo.Commit(map[string]string{"a": "a"}, "first")
		r := open(t, options(t, server, repo, false))
		_, err := r.Head(t.Context())
		require.NoError(t, err)
		for story, fault := range map[string]gittest.Fault{
			"it speaks version 2 no more": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Header.Del("Git-Protocol")
				next.ServeHTTP(w, r)
			},
			"it asks to be called otherwise": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPost && !strings.HasPrefix(r.URL.Path, "/new.git/") {
					http.Redirect(w, r, "/new.git/git-upload-pack", http.StatusMovedPermanently)
					return
				}
				next.ServeHTTP(w, r)
			},
		} {
			server.Break(fault)
			got, err := r.Head(t.Context())
			require.NoError(t, err, story)
			require.Equal(t, head, got, story)
		}
	})
}
