package gitsource_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
)

// Flux's image automation gives up after one lost race, and its next try is minutes away.
func TestWritingAgainstACrowd(t *testing.T) {
	server := gittest.NewServer(t, gittest.Options{})
	repo := server.NewRepo("ops")
	o := options(t, server, repo, false)
	t.Run("with 8 others who push all the time, every status gets in, and once", func(t *testing.T) {
		const statuses = 8
		repo.Commit(map[string]string{"rotations/a.yaml": "a"}, "first")
		r := open(t, o)
		crowd := repo.NewCrowd(8)
		tries := 0
		began := time.Now()
		for i := range statuses {
			path := fmt.Sprintf("rotation-status/%d.yaml", i)
			_, err := r.Write(t.Context(), []string{statusDir}, func(tip *gitsource.Snapshot) (*gitsource.Change, error) {
				tries++
				if _, in := tip.Get(path); in {
					return nil, nil
				}
				return &gitsource.Change{
					Files: map[string][]byte{path: []byte("phase: Successful\n")}, Subject: path,
					Trailers: []gitsource.Trailer{{Key: "Rotation-Id", Value: fmt.Sprint(i)}},
				}, nil
			})
			require.NoError(t, err)
		}
		took := time.Since(began)
		theirs := crowd.Leave()
		t.Logf("%d statuses in %s, with %d tries, while others pushed %d commits", statuses, took.Round(time.Millisecond), tries, len(theirs))
		require.NotEmpty(t, theirs)

		written := map[string]int{}
		for _, entry := range repo.Log() {
			written[entry.Subject]++
		}
		want := map[string]int{"first": 1}
		for i := range statuses {
			want[fmt.Sprintf("rotation-status/%d.yaml", i)] = 1
		}
		for _, subject := range theirs {
			want[subject] = 1
		}
		require.Equal(t, want, written, "nobody's commit is lost or there twice")
		require.Len(t, repo.Files(), 1+statuses)
		repo.Check()
	})
}
