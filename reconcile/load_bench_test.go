package reconcile

import (
	"context"
	"crypto/sha1"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
)

// BenchmarkLoadWithTenThousandFinishedRequests takes over a commit that changes one of 10,000 status files, whose
// requests are all still in the repository.
func BenchmarkLoadWithTenThousandFinishedRequests(b *testing.B) {
	const requests = 10_000
	snapshot := &gitsource.Snapshot{Revision: "first"}
	add := func(name, content string) {
		snapshot.Files = append(snapshot.Files, gitsource.File{Path: name, Blob: fmt.Sprintf("%x", sha1.Sum([]byte(content))), Content: []byte(content)})
	}
	manifests := map[string]string{}
	for n := range requests {
		name := fmt.Sprintf("r%05d", n)
		manifests[name] = "apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata: {name: " + name + ", namespace: demo}\n" +
			fmt.Sprintf("spec: {type: RotateAuth, databaseRef: {name: db%d}}\n", n%500)
		add("rotations/"+name+".yaml", manifests[name])
	}
	c := NewController(Options{Path: "rotations", StatusPath: "status", Log: slog.New(slog.DiscardHandler), Engine: &Engine{Clock: WallClock{}}, Repository: noOrigins{}})
	require.NoError(b, c.load(b.Context(), snapshot, snapshot))
	require.Len(b, c.statuses, requests)
	for _, s := range c.statuses {
		s.Phase = PhaseSuccessful
		for _, kind := range []string{TypeRotateAuth, TypeStaged, TypePaused, TypeUpdateCredential, TypeApplied + "db-0", TypePromoted, TypeUpdatePetSets, TypeRestartNodes, TypeVerified, TypePreviousRejected, TypeResumed, TypeSuccessful} {
			s.set(condition(kind, "a message of the usual length, which says what was done and found"), time.Unix(0, 0))
		}
		content, err := marshalStatus(s)
		require.NoError(b, err)
		add(StatusPath("status", s.Request), string(content))
	}
	slices.SortFunc(snapshot.Files, func(x, y gitsource.File) int { return strings.Compare(x.Path, y.Path) })
	require.NoError(b, c.load(b.Context(), snapshot, snapshot))
	changed := &snapshot.Files[len(snapshot.Files)-1]
	require.True(b, inside(changed.Path, "status"))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		changed.Blob = fmt.Sprint("changed ", n)
		require.NoError(b, c.load(b.Context(), snapshot, snapshot))
	}
	require.Empty(b, c.dirty)
}

// noOrigins is a repository that is asked for origins only.
type noOrigins struct{ Repository }

func (noOrigins) Origins(context.Context, string, ...string) (map[string]gitsource.Origin, error) {
	return nil, nil
}
