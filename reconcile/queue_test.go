package reconcile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOfSeveralPendingRequestsTheNewestRunsAndTheOthersAreSkipped(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	request := func(name string, minutes int, phase Phase) Status {
		return Status{Phase: phase, Request: Request{Namespace: "demo", Name: name, Database: "db", Source: Source{Time: now.Add(time.Duration(minutes) * time.Minute), Path: "rotations/" + name + ".yaml", Line: 1}}}
	}
	names := func(list []Status) (out []string) {
		for _, s := range list {
			out = append(out, s.Request.Name+" "+string(s.Phase))
		}
		return out
	}

	t.Run("the newest by commit survives", func(t *testing.T) {
		q := arrange([]Status{request("b", 2, ""), request("a", 3, PhasePending), request("c", 1, "")}, now)
		require.Equal(t, "a", q.run.Request.Name)
		require.Equal(t, []string{"c Skipped", "b Skipped"}, names(q.skipped))
		require.Equal(t, "skipped as demo/a is the most updated MSSQLServerOpsRequest of type RotateAuth at 2026-11-23T12:03:00Z", q.skipped[0].Conditions[0].Message)
		require.Empty(t, q.waiting)
	})
	t.Run("requests of one commit are ordered by name", func(t *testing.T) {
		q := arrange([]Status{request("user", 0, ""), request("generated", 0, "")}, now)
		require.Equal(t, "user", q.run.Request.Name)
	})
	t.Run("one that has begun is not interrupted, and newer ones wait", func(t *testing.T) {
		q := arrange([]Status{request("new", 5, ""), request("begun", 1, PhaseProgressing)}, now)
		require.Equal(t, "begun", q.run.Request.Name)
		require.Equal(t, []string{"new Pending"}, names(q.waiting))
		require.Equal(t, "rotations/new.yaml:1: waits until demo/begun has ended: one rotation of a database runs at a time", q.waiting[0].Conditions[0].Message)
		require.Empty(t, q.skipped)
	})
	t.Run("no request, nothing to do", func(t *testing.T) {
		require.Equal(t, queue{}, arrange(nil, now))
	})
}
