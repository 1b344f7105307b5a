package reconcile

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/fault"
)

// handClock goes on when somebody sleeps, and when the test says so.
type handClock struct{ now time.Time }

func (c *handClock) Now() time.Time                           { return c.now }
func (c *handClock) Sleep(_ context.Context, d time.Duration) { c.now = c.now.Add(d) }

func TestAStepWhoseTimeIsOverSaysWhatItsTriesMetAndNotOnlyThatTheLastWasCutShort(t *testing.T) {
	reset := &fault.Error{Class: fault.Wait, Reason: "ServerUnreachable", Message: "db-0 cannot be reached: connection reset by peer", Hint: "check its port"}
	cut := &fault.Error{Class: fault.Wait, Reason: "ServerUnreachable", Message: "db-0 cannot be reached: it gave no answer in time", Hint: "check its port", Err: context.DeadlineExceeded}
	const said = `the step "connect db-0" did not end within its timeout of 3s: db-0 cannot be reached: `
	for _, tc := range []struct {
		name    string
		tries   []error // which share the time evenly
		message string
	}{
		{"every try had an answer", []error{reset, reset, reset}, said + "connection reset by peer"},
		{"the last try had none", []error{reset, reset, cut}, said + "connection reset by peer (the last try had no answer yet when the time was over)"},
		{"the only try had none", []error{cut}, said + "it gave no answer in time"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clock := &handClock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
			engine := &Engine{Clock: clock, Log: slog.New(slog.DiscardHandler)}
			r := engine.rotation(Job{Status: Status{Request: Request{Timeout: 3 * time.Second}}})
			s := step{kind: stepConnect, target: "db-0"}
			_, cancel := r.stepContext(t.Context(), s)
			cancel()
			var final *exhausted
			for _, err := range tc.tries {
				require.Nil(t, final)
				clock.now = clock.now.Add(3 * time.Second / time.Duration(len(tc.tries)))
				final = r.judge(t.Context(), s, err)
			}
			require.NotNil(t, final)
			require.Equal(t, ReasonTimeout, final.cause.Reason)
			require.Equal(t, tc.message+"; check its port", final.Error())
		})
	}
}
