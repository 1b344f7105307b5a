package pace_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/gitrota/gitrota/policies/pace"
)

var inputs = rapid.Custom(func(t *rapid.T) pace.Input {
	var policies []pace.Policy
	for n := range 3 {
		policies = append(policies, pace.Policy{Name: fmt.Sprintf("policy-%d", n), Where: fmt.Sprintf("policies.yaml:%d", n), Limits: pace.Limits{
			MaxConcurrent: rapid.IntRange(0, 4).Draw(t, "per policy"), MaxPerNamespace: rapid.IntRange(0, 3).Draw(t, "per namespace"),
			AfterFailure: rapid.SampledFrom([]pace.AfterFailure{"", pace.Continue, pace.Hold}).Draw(t, "after failure"),
		}})
	}
	in := pace.Input{Max: rapid.IntRange(0, 8).Draw(t, "max"), Failed: map[string]pace.Failure{}}
	for n := range rapid.IntRange(0, 60).Draw(t, "waiting") {
		key := fmt.Sprintf("%s/%d", rapid.SampledFrom([]string{"storm", "storm", "storm", "shop", "demo"}).Draw(t, "namespace"), n)
		r := request(key, rapid.IntRange(0, 20).Draw(t, "minute"), rapid.SampledFrom(policies).Draw(t, "policy"))
		r.Resumed = rapid.IntRange(0, 20).Draw(t, "resumed") == 0
		in.Waiting = append(in.Waiting, r)
		if rapid.IntRange(0, 8).Draw(t, "failed") == 0 {
			in.Failed[r.Database] = pace.Failure{Request: key + "-before", Where: "requests.yaml:1"}
		}
	}
	return in
})

// room says whether one more rotation may run beside others, by the words of Limits.
func room(in pace.Input, running []pace.Rotation, r pace.Rotation) bool {
	policy, namespace := 0, 0
	for _, other := range running {
		if other.Policy == r.Policy {
			policy++
			if other.Namespace == r.Namespace {
				namespace++
			}
		}
	}
	limits := r.Policy.Limits
	return (in.Max == 0 || len(running) < in.Max) &&
		(limits.MaxConcurrent == 0 || policy < limits.MaxConcurrent) &&
		(limits.MaxPerNamespace == 0 || namespace < limits.MaxPerNamespace)
}

func held(in pace.Input, r pace.Rotation) bool {
	_, failed := in.Failed[r.Database]
	return failed && r.Policy.Limits.AfterFailure == pace.Hold && !r.Resumed
}

// turn lets what may begin begin, and checks what holds for every decision.
func turn(t *rapid.T, in pace.Input) pace.Input {
	byKey := map[string]pace.Rotation{}
	for _, r := range in.Waiting {
		byKey[r.Key] = r
	}
	verdicts := pace.Decide(in)
	require.Len(t, verdicts, len(in.Waiting), "each has one verdict")
	next := in
	next.Running, next.Waiting = append([]pace.Rotation(nil), in.Running...), nil
	for _, v := range verdicts {
		r, ok := byKey[v.Key]
		require.True(t, ok, "each has one verdict")
		delete(byKey, v.Key)
		if !v.Begin {
			next.Waiting = append(next.Waiting, r)
			continue
		}
		require.Empty(t, next.Waiting, "those that begin come first")
		require.False(t, held(in, r), "%s is held", v.Key)
		require.True(t, r.Resumed || room(in, next.Running, r), "%s has no room", v.Key)
		next.Running = append(next.Running, r)
	}
	for _, r := range next.Waiting {
		require.True(t, !r.Resumed && (held(in, r) || !room(in, next.Running, r)), "%s could have begun", r.Key)
	}
	return next
}

func TestLimitsHoldNobodyWaitsForNothingAndAllGetTheirTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs.Draw(t, "input")
		for len(in.Waiting) > 0 {
			in = turn(t, in)
			if len(in.Running) == 0 {
				break
			}
			ends := rapid.IntRange(0, len(in.Running)-1).Draw(t, "ends")
			in.Running = append(in.Running[:ends], in.Running[ends+1:]...)
		}
		for _, r := range in.Waiting {
			require.True(t, held(in, r), "%s never got its turn", r.Key)
		}
	})
}

func TestANamespaceGetsItsTurnWhileAnotherNeverStopsAsking(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := pace.Input{Max: rapid.IntRange(1, 4).Draw(t, "max"), Waiting: requests(100, "storm", production)}
		in.Waiting = append(in.Waiting, request("demo/late", 500, production))
		for turns := 0; ; turns++ {
			require.LessOrEqual(t, turns, 100+in.Max, "a storm that goes on starves nobody")
			in = turn(t, in)
			for _, r := range in.Running {
				if r.Namespace == "demo" {
					return
				}
			}
			ends := rapid.IntRange(0, len(in.Running)-1).Draw(t, "ends")
			in.Running = append(in.Running[:ends], in.Running[ends+1:]...)
			in.Waiting = append(in.Waiting, request(fmt.Sprintf("storm/again-%d", turns), 501+turns, production))
		}
	})
}

func TestTheOrderOfTheInputDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs.Draw(t, "input")
		in = turn(t, in)
		expected := pace.Decide(in)
		in.Waiting = rapid.Permutation(in.Waiting).Draw(t, "waiting")
		in.Running = rapid.Permutation(in.Running).Draw(t, "running")
		require.Equal(t, expected, pace.Decide(in))
	})
}

func TestDecidingAgainChangesNoMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs.Draw(t, "input")
		first := map[string]pace.Verdict{}
		for _, v := range pace.Decide(in) {
			first[v.Key] = v
		}
		for _, v := range pace.Decide(turn(t, in)) {
			require.Equal(t, first[v.Key], v, "what has begun meanwhile was known")
		}
	})
}
