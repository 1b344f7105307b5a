package agent

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
)

func TestDelay(t *testing.T) {
	down := &gitsource.Error{Kind: gitsource.ErrUnreachable}
	busy := &gitsource.Error{Kind: gitsource.ErrUnreachable, RetryAfter: 30 * time.Minute}
	for _, test := range []struct {
		story    string
		failures int
		err      error
		interval time.Duration
		want     time.Duration
	}{
		{"the first failure is tried again soon", 1, down, time.Minute, 500 * time.Millisecond},
		{"each further one twice as late", 4, down, time.Minute, 4 * time.Second},
		{"up to the interval", 8, down, time.Minute, time.Minute},
		{"and never faster than that, however long it lasts", 100_000, down, time.Minute, time.Minute},
		{"an interval that is shorter than the first delay is none", 1, down, time.Millisecond, 500 * time.Millisecond},
		{"a server's wish counts", 1, busy, time.Minute, 30 * time.Minute},
		{"also inside another error", 1, fmt.Errorf("writing 3 statuses: %w", busy), time.Minute, 30 * time.Minute},
		{"a wish for less than we wait anyway does not", 8, &gitsource.Error{Kind: gitsource.ErrUnreachable, RetryAfter: time.Second}, time.Minute, time.Minute},
		{"a refused commit is not pushed again at once", 1, &gitsource.Error{Kind: gitsource.ErrRejected}, time.Minute, 5 * time.Second},
		{"nor hammered with", 6, &gitsource.Error{Kind: gitsource.ErrRejected}, time.Minute, 160 * time.Second},
		{"but every quarter of an hour", 40, &gitsource.Error{Kind: gitsource.ErrRejected}, time.Minute, 15 * time.Minute},
		{"a refused credential alike", 9, &gitsource.Error{Kind: gitsource.ErrAuth}, time.Minute, 15 * time.Minute},
		{"a long interval is kept for refusals, too", 40, &gitsource.Error{Kind: gitsource.ErrAuth}, time.Hour, time.Hour},
		{"an error of another kind is like a server that is down", 2, errors.New("odd"), time.Minute, time.Second},
	} {
		t.Run(test.story, func(t *testing.T) {
			require.Equal(t, test.want, delay(test.failures, test.err, test.interval))
		})
	}
}

func TestBackoff(t *testing.T) {
	t.Run("a hint hastens what waits for its interval, but for a short gap", func(t *testing.T) {
		var b backoff
		require.True(t, b.due())
		b.after(time.Hour)
		b.hasten()
		require.False(t, b.due())
		require.Less(t, time.Until(b.next), hintGap+time.Second)
	})
	t.Run("a hint hastens what was refused", func(t *testing.T) {
		var b backoff
		for range 20 {
			b.failed(&gitsource.Error{Kind: gitsource.ErrRejected}, time.Minute)
		}
		require.Greater(t, time.Until(b.next), 10*time.Minute)
		b.hasten()
		require.Less(t, time.Until(b.next), hintGap+time.Second)
	})
	t.Run("no hint disturbs a server that wants its rest", func(t *testing.T) {
		var b backoff
		b.failed(&gitsource.Error{Kind: gitsource.ErrUnreachable, RetryAfter: time.Hour}, time.Minute)
		b.hasten()
		require.Greater(t, time.Until(b.next), 50*time.Minute)
	})
	t.Run("a hint makes nothing later", func(t *testing.T) {
		var b backoff
		b.after(0)
		b.hasten()
		require.True(t, b.due())
	})
	t.Run("a success ends the doubling", func(t *testing.T) {
		var b backoff
		for range 20 {
			b.failed(errors.New("down"), time.Minute)
		}
		b.after(0)
		require.Less(t, b.failed(errors.New("down"), time.Minute), time.Second)
	})
	t.Run("the jitter is five per cent", func(t *testing.T) {
		for range 1000 {
			require.InDelta(t, float64(time.Minute), float64(jittered(time.Minute)), float64(3*time.Second))
		}
	})
}
