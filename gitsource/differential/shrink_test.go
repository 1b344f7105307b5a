package differential

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest/repoplan"
)

// shrink takes out of a trial what its difference does not need, for as long as it may. It returns what is left, and
// the difference that it has.
func (s *servers) shrink(ctx context.Context, t trial, found *difference, within time.Duration) (trial, error) {
	until := time.Now().Add(within)
	for from, shrunk := 0, false; ; {
		at, smaller, still := s.fails(ctx, t, found, from, until)
		switch {
		case still != nil:
			// What came before did not do, and will hardly do now.
			t, found, from, shrunk = smaller, still, at, true
		case !shrunk || from == 0 || time.Now().After(until) || ctx.Err() != nil:
			return t, found
		default:
			from, shrunk = 0, false
		}
	}
}

// fails returns the first of the smaller trials, counted from one of them on, that has the same kind of difference.
func (s *servers) fails(ctx context.Context, t trial, found *difference, from int, until time.Time) (at int, _ trial, _ *difference) {
	for smaller := range t.smaller() {
		if time.Now().After(until) || ctx.Err() != nil {
			break
		}
		if at++; at <= from || reflect.DeepEqual(smaller, t) {
			continue
		}
		var still *difference
		_, err := s.run(ctx, smaller, fmt.Sprintf("shrink-%d-%d", t.seed, time.Now().UnixNano()))
		if errors.As(err, &still) && still.kind() == found.kind() {
			return at - 1, smaller, still
		}
	}
	return 0, t, nil
}

// particular is what differences of the same kind do not have in common: paths in quotation marks, hashes, and numbers.
var particular = regexp.MustCompile(`"[^" ]*/[^"]*"|\b[0-9a-f]{40}\b|[0-9]+`)

// kind is what has to stay the same while a trial shrinks: what the two did not agree on, and if the package failed, how.
func (d *difference) kind() string {
	kind, _, _ := strings.Cut(d.about, " of \"")
	if err, failed := d.got.(error); failed {
		words := err.Error()
		if _, behind, found := strings.Cut(words, " (main): "); found {
			words = behind // what was being done, and where
		}
		kind += ": " + particular.ReplaceAllString(words, "#")
	}
	return kind
}

// smaller returns trials that do a little less.
func (t trial) smaller() iter.Seq[trial] {
	return func(yield func(trial) bool) {
		for i := len(t.steps) - 1; i >= 0; i-- {
			if t.steps[i].do == push {
				continue // with the plan's stages
			}
			c := t
			c.steps = slices.Delete(slices.Clone(t.steps), i, i+1)
			if !yield(c) {
				return
			}
		}
		for plan := range t.plan.Smaller() {
			c := t
			c.plan = plan
			c.steps = withPushes(t.steps, len(plan.Stages))
			if !yield(c) {
				return
			}
		}
		for i, step := range t.steps {
			for j := range step.paths {
				if len(step.paths) > 1 {
					c := t
					c.steps = slices.Clone(t.steps)
					c.steps[i].paths = slices.Delete(slices.Clone(step.paths), j, j+1)
					if !yield(c) {
						return
					}
				}
			}
			if step.rev != repoplan.Tip {
				c := t
				c.steps = slices.Clone(t.steps)
				c.steps[i].rev = repoplan.Tip
				if !yield(c) {
					return
				}
			}
		}
	}
}

// withPushes leaves so many pushes among the steps, the first ones.
func withPushes(steps []step, pushes int) []step {
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool {
		if s.do == push {
			pushes--
		}
		return s.do == push && pushes < 0
	})
}

var ways = map[gitsource.Reading]string{
	gitsource.ReadPartially: "in parts", gitsource.ReadPlainly: "as a whole", gitsource.ReadSomehow: "in parts, or else as a whole",
}

// String describes a trial for people.
func (t trial) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "seed %d, read %s, %q are watched, files of more than %d bytes are too large\n%s",
		t.seed, ways[t.reading], t.watched, t.maxSize, t.plan)
	for i, step := range t.steps {
		fmt.Fprintf(&s, "step %d: %s\n", i, step)
	}
	return s.String()
}
