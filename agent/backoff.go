package agent

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gitrota/gitrota/gitsource"
)

const (
	// firstDelay is how long after a failure something is tried again; the delay doubles with each failure.
	firstDelay = 500 * time.Millisecond
	// firstRefusal and longestRefusal are the same for what a person has to mend: a refused credential, a protected
	// branch. Nothing is gained by asking again soon, and servers lock out who does.
	firstRefusal   = 5 * time.Second
	longestRefusal = 15 * time.Minute
	// hintGap is the time between two polls when hints come in without end.
	hintGap = time.Second
)

// delay is how long to wait after a failure that was the last of so many in a row: doubling from half a second to the
// interval; for a refusal, from five seconds to a quarter of an hour, or the interval where that is longer; and never
// less than the server asked for.
func delay(failures int, err error, interval time.Duration) time.Duration {
	first, longest := firstDelay, max(interval, firstDelay)
	if refused(err) {
		first, longest = firstRefusal, max(interval, longestRefusal)
	}
	d := longest
	if failures <= 16 {
		d = min(first<<(failures-1), longest)
	}
	return max(d, restOf(err))
}

// refused tells what stays wrong until a person mends it.
func refused(err error) bool {
	return errors.Is(err, gitsource.ErrAuth) || errors.Is(err, gitsource.ErrRejected)
}

// restOf is how long a server has asked to be left alone; 0 if it has not.
func restOf(err error) time.Duration {
	var remote *gitsource.Error
	if errors.As(err, &remote) {
		return remote.RetryAfter
	}
	return 0
}

// backoff says when something may be done again. The zero value: now.
type backoff struct {
	next     time.Time
	failures int       // in a row
	soonest  time.Time // no hint makes it happen earlier
}

func (b *backoff) due() bool { return !time.Now().Before(b.next) }

// after notes a success.
func (b *backoff) after(d time.Duration) {
	now := time.Now()
	*b = backoff{next: now.Add(d), soonest: now.Add(hintGap)}
}

// failed notes a failure and returns the delay.
func (b *backoff) failed(err error, interval time.Duration) time.Duration {
	b.failures++
	d := jittered(delay(b.failures, err, interval))
	now := time.Now()
	b.next, b.soonest = now.Add(d), now.Add(max(hintGap, restOf(err)))
	return d
}

// hasten makes it due as soon as a hint may: a little after the last time, but not while the server wants its rest.
func (b *backoff) hasten() { b.next = earliest(b.next, b.soonest) }

// jittered spreads many agents that started together: plus or minus five per cent.
func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.95 + 0.1*rand.Float64()))
}
