package schedule

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// ParseEvery reads a duration as people write it in a policy: whole days (30d), whole weeks (2w), or what Go reads
// (720h, 1h30m).
func ParseEvery(text string) (time.Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": day, "w": week} {
		number, ok := strings.CutSuffix(text, suffix)
		if !ok {
			continue
		}
		count, err := strconv.ParseUint(number, 10, 32)
		if err == nil && time.Duration(count) <= math.MaxInt64/unit {
			return time.Duration(count) * unit, nil
		}
	}
	if duration, err := time.ParseDuration(text); err == nil {
		return duration, nil
	}
	return 0, fmt.Errorf("%q is not a duration: write whole days or weeks (30d, 2w), or hours and minutes (720h, 1h30m)", text)
}

// FormatEvery writes a duration in the shortest form that [ParseEvery] reads: 30d, 36h, 1h30m.
func FormatEvery(duration time.Duration) string {
	if duration >= day && duration%day == 0 {
		return strconv.FormatInt(int64(duration/day), 10) + "d"
	}
	text := duration.String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-len("0s")]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-len("0m")]
	}
	return text
}
