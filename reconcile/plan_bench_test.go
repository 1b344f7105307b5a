package reconcile

import (
	"crypto/sha1"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
)

// fixedClock is a clock that stands still.
type fixedClock struct {
	WallClock
	now time.Time
}

func (c fixedClock) Now() time.Time { return c.now }

// BenchmarkTenThousandDatabasesWithSchedules evaluates a fleet under ten policies: when each database is due, when it
// may begin, and why.
func BenchmarkTenThousandDatabasesWithSchedules(b *testing.B) {
	const fleet = 10_000
	snapshot := &gitsource.Snapshot{Revision: "first"}
	for n := range 10 {
		content := fmt.Sprintf("apiVersion: gitrota.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: p%d}\nspec:\n  databases: [{namespace: 'team-%d*'}]\n", n, n) +
			"  schedule: {every: 30d, jitter: 12h}\n  maintenance: {windows: [{days: [Mon, Tue, Wed, Thu, Fri], start: '22:00', end: '04:00', timeZone: Europe/Berlin}]}\n" +
			"  approval: {mode: Merge}\n  limits: {maxConcurrent: 5}\n"
		snapshot.Files = append(snapshot.Files, gitsource.File{Path: fmt.Sprintf("rotations/policies/p%d.yaml", n), Blob: fmt.Sprintf("%x", sha1.Sum([]byte(content))), Content: []byte(content)})
	}
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	c := NewController(Options{Path: "rotations", StatusPath: "status", Log: slog.New(slog.DiscardHandler), Engine: &Engine{Clock: fixedClock{now: now}}, Repository: noOrigins{}})
	c.surveyed, c.recovered = true, true
	for n := range fleet {
		t := Target{Kind: manifest.KindMSSQLServer, Namespace: fmt.Sprintf("team-%d%d", n%10, n%100), Name: fmt.Sprintf("db%05d", n), Created: now.Add(-time.Duration(n%720) * time.Hour)}
		c.targets[t.Namespace+"/"+t.Name] = t
	}
	require.NoError(b, c.load(b.Context(), snapshot, snapshot))
	require.Len(b, c.Plan(), fleet)

	b.Run("evaluated anew", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.planned = nil
			c.Plan()
		}
	})
	b.Run("when nothing has changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			asked, err := c.Schedule(b.Context())
			require.NoError(b, err)
			require.False(b, asked)
		}
	})
}
